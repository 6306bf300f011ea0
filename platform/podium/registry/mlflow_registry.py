"""The registry in MLflow: it and the signature beside it alone import mlflow, and only when first used."""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from podium.errors import ConfigurationError, NotFound
from podium.registry import mlflow_attachments as attachments
from podium.registry import model_files, packaging
from podium.registry.entities import LoggedModel, RegisteredVersion, Removal
from podium.registry.load_report import Limits, LoadReport
from podium.registry.loading import CheckedLoads
from podium.registry.mlflow_errors import explained, without_password
from podium.registry.mlflow_folders import local_folder
from podium.registry.mlflow_removals import removals_of
from podium.registry.mlflow_search import all_pages, literal
from podium.registry.mlflow_signature import signature_of
from podium.registry.mlflow_tables import make_sqlite_tables
from podium.registry.model_scan import ModelScan
from podium.registry.port import DIGEST_TAG, KEY_TAG, SERIALIZATION_TAG
from podium.registry.serialization import serialization_of
from podium.registry.stored_model import SHEET, InputColumn, StoredModel, columns_in, describe_folder
from podium.registry.trust import PicklePolicy, Trust

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd

# MLflow reads these at import or at a call. By default it phones home, prints, and retries for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_SQLITE_BUSY_TIMEOUT_SECONDS = 30
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


@dataclass(frozen=True)
class _Session:
    """MLflow's modules, a client of one tracking URI, and the experiment that models are logged to."""

    mlflow: Any
    client: Any
    experiment_id: str


class MlflowRegistry:
    """Keeps models in MLflow 3, at any tracking URI.

    `artifact_root` is where a *new* experiment keeps its files: an absolute path or URI, so that nothing
    lands in the current folder; None leaves it to the tracking server. `loads_folder` remembers which models loaded;
    without one this process does. `first_use` guards the creation of
    MLflow's own tables, which two processes must not do at once.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: str | None,
        *,
        trusted_types: Sequence[str],
        pickle: PicklePolicy = "scan",
        reviewed_packages: Sequence[str] = (),
        limits: Limits | None = None,
        loads_folder: Path | None = None,
        experiment: str = "podium",
        first_use: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._trust = Trust(tuple(trusted_types), pickle, tuple(reviewed_packages))
        self._loads = CheckedLoads(self._trust, limits, loads_folder)
        self._experiment = experiment
        self._first_use = first_use
        self._opening = threading.Lock()
        self._session: _Session | None = None

    def prepare(self) -> None:
        """Make MLflow's tables and the experiment, so that processes without `first_use` may share them."""
        with self._translated("open its store"):
            pass

    def log_model(
        self,
        estimator: Any,
        sample: "pd.DataFrame",
        *,
        model: str,
        key: str,
        requirements: Sequence[str],
        tags: Mapping[str, str],
    ) -> LoggedModel:
        """Upload the estimator as an MLflow LoggedModel under an MLflow run of its own, once per `key`."""
        packaging.check_loggable(estimator, sample, requirements, model=model)
        with self._translated(f"log a model for {model}") as session:
            earlier = self._uploaded(session, key)
            if earlier is not None:
                return earlier
        # What may fail for the estimator's own sake fails before MLflow hears of it.
        signature = signature_of(estimator, sample)
        serialization = serialization_of(estimator, self._trust, model=model)
        everything = {**tags, KEY_TAG: key, SERIALIZATION_TAG: serialization}
        with self._translated(f"log a model for {model}") as session:
            client = session.client
            run_id = client.create_run(session.experiment_id, tags=everything, run_name=model).info.run_id
            upload = client.create_logged_model(
                session.experiment_id,
                name=re.sub(r"[^\w-]", "_", model),
                source_run_id=run_id,
                tags=everything,
            )
            client.log_outputs(run_id, [session.mlflow.entities.LoggedModelOutput(upload.model_id, step=0)])
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "model"
                session.mlflow.sklearn.save_model(
                    estimator,
                    str(folder),
                    mlflow_model=session.mlflow.models.Model(
                        artifact_path=upload.artifact_location,
                        run_id=run_id,
                        model_uuid=upload.model_id,
                        model_id=upload.model_id,
                    ),
                    signature=signature,
                    input_example=sample.head(3),
                    pip_requirements=list(requirements),
                    serialization_format=serialization,
                    skops_trusted_types=list(self._trust.types),
                )
                digest = self._loads.complete(folder, estimator, sample, serialization)
                client.log_model_artifacts(upload.model_id, str(folder))
            client.set_logged_model_tags(upload.model_id, {DIGEST_TAG: digest})
            # READY is the last word: an upload without it never happened.
            ready = client.finalize_logged_model(upload.model_id, "READY")
            client.set_terminated(run_id)
        return LoggedModel(ready.artifact_location, digest, serialization, run_id, upload.model_id)

    def attach(
        self,
        logged: LoggedModel,
        files: Mapping[str, bytes],
        *,
        metrics: Mapping[str, float],
        parameters: Mapping[str, str],
        note: str,
    ) -> None:
        """Keep files as artifacts of the model's MLflow run, numbers as its metrics and the note as its description."""
        with self._translated(f"attach {len(files)} files to the run {logged.mlflow_run_id}") as session:
            attachments.attach(session.client, session.mlflow.entities, logged, files, metrics, parameters, note)

    def link(self, logged: LoggedModel, name: str) -> str:
        """Return the address of an attached file in MLflow's own pages, from any of them."""
        with self._translated("open its store") as session:
            return f"#/experiments/{session.experiment_id}/runs/{logged.mlflow_run_id}/artifacts/{quote(name)}"

    def create_version(
        self, model: str, logged: LoggedModel, *, key: str, tags: Mapping[str, str], description: str = ""
    ) -> str:
        """Register an uploaded model; the same `key` registers once."""
        with self._translated(f"register a version of {model}") as session:
            earlier = session.client.search_model_versions(
                f"name = {literal(model)} AND tags.`{KEY_TAG}` = {literal(key)}"
            )
            if earlier:
                return min((str(found.version) for found in earlier), key=int)
            create = partial(
                session.client.create_model_version,
                model,
                # Not models:/ID: MLflow would look that up at its process-wide URI, not at this client's.
                logged.source,
                run_id=logged.mlflow_run_id,
                model_id=logged.mlflow_model_id,
                description=description,
                tags={**tags, KEY_TAG: key, DIGEST_TAG: logged.digest, SERIALIZATION_TAG: logged.serialization},
            )
            with _suppressed(*_NOT_THERE):  # asking first whether there is the model would read all of its versions
                return str(create().version)
            with _suppressed("RESOURCE_ALREADY_EXISTS"):  # another process was first
                session.client.create_registered_model(
                    model,
                    tags={"podium.managed": "true"},
                    description=f"Podium moves its alias champion: `podium models show {model}`, `podium models "
                    f"history {model}`, `podium models provenance {model} VERSION`.",
                )
            return str(create().version)

    def get_version(self, model: str, version: str) -> RegisteredVersion:
        """Return a version; raises NotFound."""
        missing = self._no_version(model, version)
        if not version.isdecimal():
            raise NotFound(missing)
        with self._translated(f"read version {version} of {model}", missing=missing) as session:
            return _version(session.client.get_model_version(model, version))

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return every version, oldest first; none of an unknown model."""
        with self._translated(f"list the versions of {model}") as session:
            found = all_pages(session.client.search_model_versions, f"name = {literal(model)}")
        return sorted((_version(each) for each in found), key=lambda each: int(each.version))

    def removals(self, model: str, version: str) -> list[Removal]:
        """Return what of a version's MLflow run and logged model was deleted; raises NotFound."""
        self.get_version(model, version)
        with self._translated(f"read what version {version} of {model} rests on") as session:
            return removals_of(session, model, version, self._shown)

    def models(self) -> list[str]:
        """Return the names of the registered models, sorted."""
        with self._translated("list the models") as session:
            return sorted(each.name for each in all_pages(session.client.search_registered_models))

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version `alias` points at."""
        with self._translated(f"read alias {alias} of {model}") as session:
            # Asking for the model and its aliases would read all of its versions.
            with _suppressed(*_NOT_THERE, because=f"alias {alias} not found"):
                return str(session.client.get_model_version_by_alias(model, alias).version)
            return None

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return every alias with the version it points at."""
        with self._translated(f"read the aliases of {model}") as session:
            with _suppressed(*_NOT_THERE):
                found = session.client.get_registered_model(model).aliases
                return {name: str(version) for name, version in found.items()}
            return {}

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; raises NotFound."""
        missing = self._no_version(model, version)
        if not version.isdecimal():
            raise NotFound(missing)
        with self._translated(f"point alias {alias} of {model} at version {version}", missing=missing) as session:
            session.client.set_registered_model_alias(model, alias, version)

    def delete_alias(self, model: str, alias: str) -> None:
        """Let `alias` point at nothing."""
        with self._translated(f"remove alias {alias} of {model}") as session, _suppressed(*_NOT_THERE):
            session.client.delete_registered_model_alias(model, alias)

    def digest_of(self, source: str) -> str:
        """Return the digest of the files stored at `source`."""
        with self._local_folder(source) as folder:
            return packaging.digest_of_folder(folder)

    def describe(self, source: str) -> StoredModel:
        """Return what the files stored at `source` are and say."""
        with self._local_folder(source) as folder:
            return describe_folder(folder, source)

    def columns_of(self, source: str) -> tuple[InputColumn, ...] | None:
        """Return the columns that the model stored at `source` takes."""
        with self._local_folder(source, only=SHEET) as folder:
            return columns_in(folder)

    def check_files(self, source: str, *, digest: str) -> None:
        """Raise ArtifactError unless the files at `source` have `digest`."""
        with self._local_folder(source) as folder:
            model_files.check_folder(folder, digest=digest, source=source)

    def load_model(self, source: str, *, digest: str, own_code: bool = False) -> Any:
        """Return the estimator stored at `source`, its digest checked first, then what it is made of."""
        with self._local_folder(source) as folder:
            return model_files.load_folder(folder, digest=digest, source=source, trust=self._trust, own_code=own_code)[
                0
            ]

    def check_loads(self, source: str, *, digest: str, own_code: bool = False) -> LoadReport:
        """Load the estimator stored at `source` in a process of its own, unless these bytes loaded before."""
        with self._local_folder(source) as folder:
            return self._loads.check(folder, digest=digest, source=source, own_code=own_code)

    def scan(self, source: str) -> ModelScan:
        """Say what loading the model at `source` would import or rebuild."""
        with self._local_folder(source) as folder:
            return model_files.scan_folder(folder, source, self._trust)

    def _no_version(self, model: str, version: str) -> str:
        return (
            f"MLflow at {self._shown} has no version {version} of model {model}; "
            f"`podium models show {model}` lists them."
        )

    @property
    def _shown(self) -> str:
        return without_password(self.tracking_uri)

    def _local_folder(self, source: str, *, only: str | None = None) -> AbstractContextManager[Path]:
        return local_folder(self._translated, self.tracking_uri, source, only=only)

    def _uploaded(self, session: _Session, key: str) -> LoggedModel | None:
        """Return the complete upload under `key`; close what a dead process left incomplete."""
        complete = None
        for found in session.client.search_logged_models(
            [session.experiment_id], filter_string=f"tags.`{KEY_TAG}` = {literal(key)}"
        ):
            if str(found.status) == "READY":
                complete = LoggedModel(
                    found.artifact_location,
                    found.tags[DIGEST_TAG],
                    found.tags[SERIALIZATION_TAG],
                    found.source_run_id,
                    found.model_id,
                )
            elif str(found.status) == "PENDING":
                session.client.finalize_logged_model(found.model_id, "FAILED")
                session.client.set_terminated(found.source_run_id, "KILLED")
        return complete

    @contextmanager
    def _translated(self, act: str, *, missing: str | None = None) -> Iterator[_Session]:
        """Yield the session; turn what MLflow raises into Podium's errors."""
        _import_mlflow()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._opened()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            if missing is not None and getattr(error, "error_code", None) in _NOT_THERE:
                raise NotFound(missing) from error
            raise explained(error, act, self._shown) from error

    def _opened(self) -> _Session:
        with self._opening:
            if self._session is None:
                with self._first_use():
                    self._session = self._open()
            return self._session

    def _open(self) -> _Session:
        mlflow = _import_mlflow()
        uri = self.tracking_uri
        if uri.startswith("sqlite:") and "?" not in uri:
            uri += f"?timeout={_SQLITE_BUSY_TIMEOUT_SECONDS}"  # MLflow waits 5 s for another process's write
        make_sqlite_tables(uri)
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            experiment_id = client.create_experiment(self._experiment, artifact_location=self._artifact_root)
        elif experiment.lifecycle_stage != "active":
            raise ConfigurationError(
                f"The experiment {self._experiment!r} of MLflow at {self._shown} is deleted; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`."
            )
        else:
            experiment_id = experiment.experiment_id
        with _suppressed(*_NOT_THERE):  # the registry's half of MLflow opens on its own first use
            client.get_model_version("podium", "0")  # there is none, whatever else there is to read
        return _Session(mlflow, client, str(experiment_id))


@contextmanager
def _suppressed(*codes: str, because: str | None = None) -> Iterator[None]:
    """Pass over what MLflow refuses with one of these error codes, or in whose message is `because`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes and (because is None or because not in str(error)):
            raise


@cache
def _import_mlflow() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    import mlflow.sklearn

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger(name).level))
    return mlflow


def preload() -> None:
    """Import MLflow, for a process that is forked later."""
    _import_mlflow()


def _version(found: Any) -> RegisteredVersion:
    of_mlflow = found.run_id or "", found.model_id or ""
    tags = dict(found.tags)
    return RegisteredVersion(found.name, str(found.version), found.source, tags, found.description or "", *of_mlflow)
