# Podium with the pipelines of this repository: every service of docker-compose.yml that runs Python.
FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/podium
ENV PATH=/opt/podium/bin:$PATH
WORKDIR /src

# What Podium needs, before its code and texts: a change of those keeps this layer, the large one. pip installs no
# dependencies alone, so an empty package stands for the real one.
COPY pyproject.toml constraints.txt ./
RUN mkdir -p platform/podium && touch README.md LICENSE platform/podium/__init__.py \
 && pip install --constraint constraints.txt '.[postgres,demo]' \
 && pip uninstall --yes podium

COPY README.md LICENSE ./
COPY platform/ platform/
RUN pip install --no-deps .


FROM python:3.11.14-slim-bookworm

# A new volume takes over the owner of the folder it is mounted on. No package of the system is needed: OpenMP comes
# with scikit-learn's wheel, libpq with psycopg's.
RUN useradd --uid 10001 --create-home podium \
 && install --directory --owner=podium --group=podium /var/lib/podium /var/lib/mlflow/artifacts
COPY --from=build /opt/podium /opt/podium
WORKDIR /app
COPY podium.toml ./
COPY pipelines/ pipelines/

ENV PATH=/opt/podium/bin:$PATH PYTHONUNBUFFERED=1 PODIUM_HOME=/var/lib/podium
USER podium
CMD ["podium", "--help"]
