"""What stages want from the platform; a slot carries most of it over to its supervisor."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from podium.canary.entities import CanaryResult
from podium.canary.plan import CanaryPlan
from podium.registry.entities import LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy
from podium.registry.report import Circumstances
from podium.stats.cells import Cells

if TYPE_CHECKING:  # heavy, and named in a signature only
    import pandas as pd


class StageServices(Protocol):
    """Registry, promotion and canary, as one attempt may use them; idempotent under the attempt's step key."""

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version that serves now; None when there is none yet."""

    def version(self, model: str, version: str) -> ModelVersion:
        """Return a version that Podium registered; raises NotFound."""

    def evidence(self, version: ModelVersion) -> Evidence:
        """Return what a version was judged on."""

    def trained_on(self, version: ModelVersion) -> list[str]:
        """Return the digests of all that was read on the way to a version's model."""

    def load_model(self, version: ModelVersion) -> Any:
        """Return a version's estimator, its digest verified."""

    def holdout_uses(self, model: str, holdout_digest: str) -> int:
        """Return how often these rows have judged candidates of a model before."""

    def gate_policy(self, model: str) -> GatePolicy | None:
        """Return the gate policy that the project sets for a model; None where it sets none."""

    def cost_so_far(self) -> Decimal | None:
        """Return what the attempts of this run that have ended cost, in USD; None where that is not known in full."""

    def record_evidence(self, evidence: Evidence) -> None:
        """Keep what an evaluation found."""

    def log_model(self, estimator: Any, sample: "pd.DataFrame", *, model: str, tags: Mapping[str, str]) -> LoggedModel:
        """Upload an estimator with the signature of `sample`; moves no alias and makes no version."""

    def attach_report(self, logged: LoggedModel, evidence: Evidence, about: Circumstances) -> None:
        """Keep the report of what an uploaded model was judged on beside it."""

    def register(self, logged: LoggedModel, evidence: Evidence, data_digest: str) -> ModelVersion:
        """Make a version of an uploaded model."""

    def promote(self, version: ModelVersion) -> Promotion:
        """Ask for `champion` to move to a version; the answer may be a refusal, or that people have to approve it.

        Raises PromotionOpen while another promotion of the model awaits that.
        """

    def resume_canary(self, version: ModelVersion, traffic_digest: str) -> CanaryResult | None:
        """Return the step's canary if it has ended or awaits approval; None where there is something to look at.

        Raises CanaryOpen while another run's canary of the model goes on, and PromotionOpen where the step's own is
        decided and another promotion of the model awaits approval.
        """

    def open_canary(
        self,
        version: ModelVersion,
        plan: CanaryPlan,
        *,
        judged_against: str | None,
        available: int,
        traffic_digest: str,
        baseline_error_rate: float,
    ) -> CanaryResult:
        """Open the step's canary by replay, or return the one it opened before; CanaryOpen while another run's is."""

    def advance_canary(self, canary_id: str, cells: Cells) -> CanaryResult:
        """Look at the counts of the requests so far, and act on what they show."""
