"""What Podium wants from a model registry."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from podium.registry.entities import LoggedModel, RegisteredVersion, Removal
from podium.registry.load_report import LoadReport
from podium.registry.model_scan import ModelScan
from podium.registry.stored_model import InputColumn, StoredModel

if TYPE_CHECKING:  # pandas is heavy, and this module is imported by commands that need none of it
    import pandas as pd

KEY_TAG = "podium.step_key"
DIGEST_TAG = "podium.digest"
SERIALIZATION_TAG = "podium.serialization"


class ModelRegistry(Protocol):
    """Keeps models, their versions and aliases.

    `MlflowRegistry` and `MemoryRegistry` pass one contract suite. Every method may raise ServiceUnavailable
    (no answer) or ConfigurationError (no such registry, no right to use it). Threads may share one.
    """

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
        """Upload a fitted estimator, with the signature of `sample`, a few rows of its features.

        The same `key` uploads once: an earlier complete upload is returned. Raises Refused without a sample
        or without pinned requirements and for a pickle that the project does not take, and NoCodec for an estimator
        that cannot be serialised.
        """

    def attach(
        self,
        logged: LoggedModel,
        files: Mapping[str, bytes],
        *,
        metrics: Mapping[str, float],
        parameters: Mapping[str, str],
        note: str,
    ) -> None:
        """Keep files, by relative path, beside an uploaded model, with numbers, short texts and a note in Markdown.

        The model's own files and their digest stay as they are. Attached again, a file is replaced and the rest is as
        it was; a parameter may not change.
        """

    def link(self, logged: LoggedModel, name: str) -> str:
        """Return where a person opens the attached file `name`, for a link in a description."""

    def create_version(
        self, model: str, logged: LoggedModel, *, key: str, tags: Mapping[str, str], description: str = ""
    ) -> str:
        """Register an uploaded model and return its version; the same `key` registers once.

        `description` is Markdown of at most 5,000 characters.
        """

    def get_version(self, model: str, version: str) -> RegisteredVersion:
        """Return a version; raises NotFound."""

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return every version, oldest first; none of an unknown model."""

    def removals(self, model: str, version: str) -> list[Removal]:
        """Return what a version rests on that was deleted in the registry, files left aside; raises NotFound."""

    def models(self) -> list[str]:
        """Return the names of the registered models, sorted."""

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version `alias` points at; None where it points at none."""

    def aliases(self, model: str) -> Mapping[str, str]:
        """Return every alias of `model` with the version it points at; none of an unknown model."""

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; raises NotFound. `champion` is moved by the promotion service alone."""

    def delete_alias(self, model: str, alias: str) -> None:
        """Let `alias` point at nothing, as it may already."""

    def digest_of(self, source: str) -> str:
        """Return the digest of the files stored at `source`; raises ArtifactError where they are gone."""

    def describe(self, source: str) -> StoredModel:
        """Return what the files stored at `source` are and say; raises ArtifactError where they are gone."""

    def columns_of(self, source: str) -> tuple[InputColumn, ...] | None:
        """Return the columns that the model stored at `source` takes, without reading more of it than that.

        None where it does not say. Raises ArtifactError where its files are gone.
        """

    def check_files(self, source: str, *, digest: str) -> None:
        """Raise ArtifactError, with the names of the files where they are known, unless they have `digest`."""

    def load_model(self, source: str, *, digest: str, own_code: bool = False) -> Any:
        """Return the estimator stored at `source`.

        Raises ArtifactError where its files are gone, do not have `digest` (then nothing is loaded) or do not
        load, and Refused where the project's settings let no such model be loaded. `own_code` says that a run of
        this project made the files, so code that came with them is as good as its pipeline's.
        """

    def check_loads(self, source: str, *, digest: str, own_code: bool = False) -> LoadReport:
        """Load and try the estimator stored at `source`, away from this process; raises like `load_model`.

        Bytes that loaded before in an equal environment are not loaded again; their digest is checked every time.
        """

    def scan(self, source: str) -> ModelScan:
        """Say what loading the model at `source` would import or rebuild; loads nothing, checks no digest."""
