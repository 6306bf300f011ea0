"""What stages want from the platform; a slot carries most of it over to its supervisor."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from podium.registry.entities import LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence

if TYPE_CHECKING:  # heavy, and named in a signature only
    import pandas as pd


class StageServices(Protocol):
    """Registry and promotion, as one attempt may use them; idempotent under the attempt's step key."""

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version that serves now; None when there is none yet."""

    def trained_on(self, version: ModelVersion) -> list[str]:
        """Return the digests of all that was read on the way to a version's model."""

    def load_model(self, version: ModelVersion) -> Any:
        """Return a version's estimator, its digest verified."""

    def holdout_uses(self, model: str, holdout_digest: str) -> int:
        """Return how often these rows have judged candidates of a model before."""

    def record_evidence(self, evidence: Evidence) -> None:
        """Keep what an evaluation found."""

    def log_model(self, estimator: Any, sample: "pd.DataFrame", *, model: str, tags: Mapping[str, str]) -> LoggedModel:
        """Upload an estimator with the signature of `sample`; moves no alias and makes no version."""

    def register(self, logged: LoggedModel, evidence: Evidence, data_digest: str) -> ModelVersion:
        """Make a version of an uploaded model."""

    def promote(self, version: ModelVersion) -> Promotion:
        """Ask for `champion` to move to a version; the answer may be a refusal."""
