"""What stages may ask: answered in the slot where that is enough, else by the supervisor.

The slot loads and uploads models. Whatever touches Podium's database, makes a version or moves an alias is asked over
the slot's channel and done by the supervisor, idempotent under the attempt's step key.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from podium.canary.entities import CanaryResult
from podium.canary.plan import CanaryPlan
from podium.db.engine import file_lock
from podium.errors import InternalError, NotFound, Refused
from podium.execution import outputs, plans, queries
from podium.execution.context import current
from podium.execution.entities import Assignment
from podium.execution.questions import Service
from podium.registry import store, versions
from podium.registry.entities import CHAMPION, LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.promotion import ANY
from podium.registry.versions import Lineage
from podium.settings import Settings
from podium.stats.cells import Cells
from podium.wiring.canary_services import canary_services
from podium.wiring.project import Project, build_registry

if TYPE_CHECKING:  # heavy, and named in a signature only
    import pandas as pd

Ask = Callable[[str, dict[str, Any]], Any]


class SlotStageServices:
    """The stage services inside a slot."""

    def __init__(self, configuration: Mapping[str, Any], ask: Ask) -> None:
        options = Settings.model_validate(configuration["settings"])
        self._ask = ask
        self._registry = build_registry(options, partial(file_lock, options.home / "locks", "mlflow-store", 120.0))

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
        return self._registry.load_model(version.source, digest=version.digest)

    def holdout_uses(self, model: str, holdout_digest: str) -> int:
        """Return how often these rows judged before."""
        uses: int = self._ask("holdout_uses", {"model": model, "holdout_digest": holdout_digest})
        return uses

    def record_evidence(self, evidence: Evidence) -> None:
        """Keep what an evaluation found."""
        self._ask("record_evidence", {"evidence": evidence})

    def log_model(self, estimator: Any, sample: "pd.DataFrame", *, model: str, tags: Mapping[str, str]) -> LoggedModel:
        """Upload an estimator, once per step run."""
        return versions.upload(self._registry, estimator, sample, model=model, step_key=current().step_key, tags=tags)

    def register(self, logged: LoggedModel, evidence: Evidence, data_digest: str) -> ModelVersion:
        """Make a version of an uploaded model."""
        arguments = {"logged": logged, "evidence_digest": evidence.digest, "data_digest": data_digest}
        version: ModelVersion = self._ask("register", arguments)
        return version

    def promote(self, version: ModelVersion) -> Promotion:
        """Ask for `champion` to move."""
        promotion: Promotion = self._ask("promote", {"version": version.version})
        return promotion

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


def supervisor_services(project: Project) -> dict[str, Service]:
    """Return the services a supervisor answers, by name."""
    return {
        "champion": partial(_champion, project),
        "version": partial(_version, project),
        "evidence": partial(_evidence, project),
        "trained_on": partial(_trained_on, project),
        "holdout_uses": partial(_holdout_uses, project),
        "record_evidence": partial(_record_evidence, project),
        "register": partial(_register, project),
        "promote": partial(_promote, project),
        **canary_services(project),
    }


def _champion(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> ModelVersion | None:
    model = arguments["model"]
    project.promotions.reconcile(model)
    number = project.registry.alias(model, CHAMPION)
    if number is None:
        return None
    with project.database.read() as connection:
        version = store.find_version(connection, model, number)
    if version is None:
        raise Refused(
            f"The champion of {model} is version {number}, which Podium did not register, so no candidate "
            "can be compared with it; point the alias at a version that Podium registered, or remove it in MLflow."
        )
    return version


def _version(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> ModelVersion:
    model, number = arguments["model"], arguments["version"]
    with project.database.read() as connection:
        found = store.find_version(connection, model, number)
    if found is None:
        raise NotFound(f"Podium registered no version {number} of {model}; `podium models show {model}` lists them.")
    return found


def _evidence(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> Evidence:
    version: ModelVersion = arguments["version"]
    with project.database.read() as connection:
        found = store.find_evidence(connection, version.evidence_digest)
    if found is None:
        raise InternalError(f"The evidence of version {version.version} of {version.model} is not stored.")
    return Evidence.model_validate(found.document)


def _trained_on(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> list[str]:
    version: ModelVersion = arguments["version"]
    with project.database.read() as connection:
        evidence = store.find_evidence(connection, version.evidence_digest)
        run = queries.get_run(connection, version.run_id)
        plan = plans.load(connection, run.plan_digest)
        return outputs.read_for(connection, version.run_id, plan, evidence.candidate_digest) if evidence else []


def _holdout_uses(project: Project, assignment: Assignment, arguments: Mapping[str, Any]) -> int:
    with project.database.read() as connection:
        return versions.holdout_uses(
            connection, arguments["model"], arguments["holdout_digest"], step_key=assignment.step_key
        )


def _record_evidence(project: Project, assignment: Assignment, arguments: Mapping[str, Any]) -> None:
    with project.database.write() as connection:
        versions.record_evidence(
            connection,
            arguments["evidence"],
            run_id=assignment.run.run_id,
            step_key=assignment.step_key,
            at=project.clock.now(),
        )


def _register(project: Project, assignment: Assignment, arguments: Mapping[str, Any]) -> ModelVersion:
    run = assignment.run
    version = versions.register(
        project.database,
        project.registry,
        project.clock,
        model=assignment.plan.model,
        logged=arguments["logged"],
        lineage=Lineage(
            run_id=run.run_id,
            interval_start=run.interval.start,
            interval_end=run.interval.end,
            data_digest=arguments["data_digest"],
            code_digest=assignment.plan.code_digest,
            evidence_digest=arguments["evidence_digest"],
        ),
        step_key=assignment.step_key,
    )
    with project.database.write() as connection:
        attempt_ids = [row.attempt_id for row in queries.attempt_rows(connection, run.run_id)]
        project.ledger.record_lineage(connection, version.model, version.version, attempt_ids)
    return version


def _promote(project: Project, assignment: Assignment, arguments: Mapping[str, Any]) -> Promotion:
    run = assignment.run
    return project.promotions.promote(
        assignment.plan.model,
        arguments["version"],
        expect_champion=ANY,  # the evidence names the champion it was measured against; another one makes it void
        idempotency_key=assignment.step_key,
        actor=run.actor.name,
        actor_verified=run.actor.verified,
        reason=f"run {run.run_id} for {run.interval.name}",
        run_id=run.run_id,
    )


def slot_configuration(project: Project) -> dict[str, Any]:
    """Return what every slot is told once; ConfigurationError where no slot could store anything."""
    options = project.settings
    _ = project.blobs  # opened here as well, so that a wrong URL is told before a step has failed of it
    return {
        "root": str(options.root),
        "home": str(options.home),
        "artifacts": options.artifact_location,
        "trusted_types": list(options.trusted_types),
        "settings": options.model_dump(mode="json", exclude={"database_url"}),
        "services": f"{SlotStageServices.__module__}:{SlotStageServices.__qualname__}",
    }


STAGE_PRELOADS = (
    "podium.registry.evaluation",
    "podium.registry.requests",
    "podium.canary.replay",
    __name__,
    "podium.registry.mlflow_registry:preload",
    "skops.io",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""What stages will import, in parts of half a second: between them the slot host looks after its slots."""
