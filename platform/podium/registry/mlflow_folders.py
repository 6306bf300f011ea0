"""Where the files of a model lie in MLflow, as a folder that can be read."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from podium.errors import ArtifactError, NotFound, PodiumError
from podium.registry.mlflow_errors import without_password

Translated = Callable[..., AbstractContextManager[Any]]
"""Opens MLflow's session for what is about to be done, and says what MLflow raises in Podium's words."""

_GONE = "No model files are stored at {source}; somebody removed them. Register the model again."


@contextmanager
def local_folder(translated: Translated, tracking_uri: str, source: str, *, only: str | None = None) -> Iterator[Path]:
    """Yield a folder with the files of `source`: the stored one where it is local, else a copy.

    Of one file alone where `only` names it; of none where it is not there. Raises ArtifactError where the files are
    gone.
    """
    source = _location(translated, tracking_uri, source)
    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        folder = Path(unquote(parsed.path) if parsed.scheme else source)
        if not folder.is_dir():
            raise ArtifactError(_GONE.format(source=source))
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = _downloaded(translated, tracking_uri, source, only, scratch)
        except PodiumError:
            raise
        except Exception as error:  # of whatever library reads such an address
            raise ArtifactError(
                f"The model files at {source} cannot be read: {type(error).__name__}: {error}. Make them readable from "
                "here, or register the model again."
            ) from error
        yield folder


def _downloaded(translated: Translated, tracking_uri: str, source: str, only: str | None, scratch: str) -> Path:
    with translated(f"download {source}") as session:
        artifacts = session.mlflow.artifacts
        # A download of nothing fails like a server that is down; only the listing tells them apart.
        listed = artifacts.list_artifacts(artifact_uri=source, tracking_uri=tracking_uri)
        if not listed:
            raise ArtifactError(_GONE.format(source=source))
        if only is not None and not any(PurePosixPath(each.path).name == only for each in listed):
            return Path(scratch)
        wanted = source if only is None else f"{source}/{only}"
        found = Path(artifacts.download_artifacts(artifact_uri=wanted, dst_path=scratch, tracking_uri=tracking_uri))
        return found if only is None else found.parent


def _location(translated: Translated, tracking_uri: str, source: str) -> str:
    """Return where the files of `source` lie: versions that others registered may name a model or a run instead."""
    parsed = urlparse(source)
    if parsed.scheme not in ("models", "runs"):
        return source
    first, _, rest = parsed.path.strip("/").partition("/")
    shown = without_password(tracking_uri)
    gone = f"{source} names nothing in MLflow at {shown}; somebody removed it. Register the model again."
    try:
        with translated(f"find {source}", missing=gone) as session:
            if parsed.scheme == "models":
                return str(session.client.get_logged_model(first).artifact_location)
            return f"{session.client.get_run(first).info.artifact_uri}/{rest}"
    except NotFound as error:
        raise ArtifactError(gone) from error
