"""What stages may ask: answered in the slot where that is enough, else by the supervisor.

The slot loads and uploads models. Whatever touches Podium's database, makes a version or moves an alias is asked over
the slot's channel and done by the supervisor, idempotent under the attempt's step key.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from podium.db.engine import file_lock
from podium.errors import Refused
from podium.execution import plans, queries
from podium.execution.assignments import read_for
from podium.execution.context import current
from podium.execution.entities import Assignment
from podium.execution.worker import Service
from podium.registry import store, versions
from podium.registry.entities import CHAMPION, LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.promotion import ANY
from podium.registry.versions import Lineage
from podium.settings import Settings
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


def supervisor_services(project: Project) -> dict[str, Service]:
    """Return the services a supervisor answers, by name."""
    return {
        "champion": partial(_champion, project),
        "trained_on": partial(_trained_on, project),
        "holdout_uses": partial(_holdout_uses, project),
        "record_evidence": partial(_record_evidence, project),
        "register": partial(_register, project),
        "promote": partial(_promote, project),
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


def _trained_on(project: Project, _: Assignment, arguments: Mapping[str, Any]) -> list[str]:
    version: ModelVersion = arguments["version"]
    with project.database.read() as connection:
        evidence = store.find_evidence(connection, version.evidence_digest)
        run = queries.get_run(connection, version.run_id)
        plan = plans.load(connection, run.plan_digest)
        outputs = queries.outputs_of(connection, version.run_id)
    makers = {step for (step, _), made in outputs.items() if evidence and made.digest == evidence.candidate_digest}
    return sorted({digest for step in makers for digest in read_for(plan, step, outputs)})


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
    """Return what every slot is told once."""
    options = project.settings
    return {
        "root": str(options.root),
        "home": str(options.home),
        "artifacts": str(options.artifact_folder),
        "trusted_types": list(options.trusted_types),
        "settings": options.model_dump(mode="json", exclude={"database_url"}),
        "services": f"{SlotStageServices.__module__}:{SlotStageServices.__qualname__}",
    }


STAGE_PRELOADS = (
    "podium.registry.evaluation",
    __name__,
    "podium.registry.mlflow_registry:preload",
    "skops.io",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""What stages will import, in parts of half a second: between them the slot host looks after its slots."""
