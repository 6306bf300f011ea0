"""The stage services as an attempt has them: models are loaded and uploaded here, for the rest somebody is asked.

In a run the supervisor is asked over the slot's channel; `podium.stages.answers` has most of its answers.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from podium.canary.entities import CanaryResult
from podium.canary.plan import CanaryPlan
from podium.execution.attempt import Ask
from podium.execution.context import current
from podium.registry import versions
from podium.registry.entities import LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy
from podium.registry.port import ModelRegistry
from podium.registry.report import Circumstances
from podium.stats.cells import Cells

if TYPE_CHECKING:  # heavy, and named in a signature only
    import pandas as pd


GateOf = Callable[[str], GatePolicy | None]
"""Returns the gate policy that the project sets for a model; None where it sets none."""


class AskingServices:
    """Implements StageServices with a registry, the project's gates, and somebody to ask."""

    def __init__(self, registry: ModelRegistry, ask: Ask, gate_of: GateOf) -> None:
        self._registry = registry
        self._ask = ask
        self._gate_of = gate_of

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version that serves now."""
        found: ModelVersion | None = self._ask("champion", {"model": model})
        return found

    def version(self, model: str, version: str) -> ModelVersion:
        """Return a version that Podium registered."""
        found: ModelVersion = self._ask("version", {"model": model, "version": version})
        return found

    def evidence(self, version: ModelVersion) -> Evidence:
        """Return what a version was judged on."""
        found: Evidence = self._ask("evidence", {"version": version})
        return found

    def trained_on(self, version: ModelVersion) -> list[str]:
        """Return the digests of all that was read on the way to a version's model."""
        digests: list[str] = self._ask("trained_on", {"version": version})
        return digests

    def load_model(self, version: ModelVersion) -> Any:
        """Return a version's estimator, its digest verified."""
        return self._registry.load_model(version.source, digest=version.digest, own_code=version.made_by_run)

    def holdout_uses(self, model: str, holdout_digest: str) -> int:
        """Return how often these rows judged before."""
        uses: int = self._ask("holdout_uses", {"model": model, "holdout_digest": holdout_digest})
        return uses

    def gate_policy(self, model: str) -> GatePolicy | None:
        """Return the gate policy that the project sets for a model."""
        return self._gate_of(model)

    def cost_so_far(self) -> Decimal | None:
        """Return what the ended attempts of this run cost."""
        cost: Decimal | None = self._ask("cost_so_far", {})
        return cost

    def record_evidence(self, evidence: Evidence) -> None:
        """Keep what an evaluation found."""
        self._ask("record_evidence", {"evidence": evidence})

    def log_model(self, estimator: Any, sample: "pd.DataFrame", *, model: str, tags: Mapping[str, str]) -> LoggedModel:
        """Upload an estimator, once per step run."""
        return versions.upload(self._registry, estimator, sample, model=model, step_key=current().step_key, tags=tags)

    def attach_report(self, logged: LoggedModel, evidence: Evidence, about: Circumstances) -> None:
        """Keep the report beside the uploaded model."""
        versions.attach_report(self._registry, logged, evidence, about)

    def register(self, logged: LoggedModel, evidence: Evidence, data_digest: str) -> ModelVersion:
        """Make a version of an uploaded model."""
        arguments = {"logged": logged, "evidence_digest": evidence.digest, "data_digest": data_digest}
        version: ModelVersion = self._ask("register", arguments)
        return version

    def promote(self, version: ModelVersion) -> Promotion:
        """Ask for `champion` to move."""
        promotion: Promotion = self._ask("promote", {"version": version.version})
        return promotion

    def resume_canary(self, version: ModelVersion, traffic_digest: str) -> CanaryResult | None:
        """Return the step's canary if nothing is left to look at."""
        arguments = {"version": version.version, "traffic_digest": traffic_digest}
        known: CanaryResult | None = self._ask("resume_canary", arguments)
        return known

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
        """Open the step's canary, or return the one it opened before."""
        arguments = {
            "version": version,
            "plan": plan,
            "judged_against": judged_against,
            "available": available,
            "traffic_digest": traffic_digest,
            "baseline_error_rate": baseline_error_rate,
        }
        opened: CanaryResult = self._ask("open_canary", arguments)
        return opened

    def advance_canary(self, canary_id: str, cells: Cells) -> CanaryResult:
        """Look at the counts of the requests so far."""
        looked: CanaryResult = self._ask("advance_canary", {"canary_id": canary_id, "cells": tuple(cells)})
        return looked
