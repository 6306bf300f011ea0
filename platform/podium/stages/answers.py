"""The answers to what stages ask about models: registry, promotion and canary, idempotent under the step key."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from podium.canary.entities import CanaryRequest, CanaryResult
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import InternalError, NotFound, Refused
from podium.execution.entities import Assignment, Run
from podium.execution.questions import Service
from podium.registry import store, versions
from podium.registry.entities import Lineage, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.port import ModelRegistry
from podium.registry.promotion import ANY, PromotionService

if TYPE_CHECKING:  # heavy, and named in a signature only
    from podium.canary.controller import CanaryController


class Platform(Protocol):
    """What the answers are found with; an opened project is one."""

    @property
    def database(self) -> Database:
        """Where versions, evidence, promotions and canaries are on record."""

    @property
    def clock(self) -> Clock:
        """What tells when something was recorded."""

    @property
    def registry(self) -> ModelRegistry:
        """Where the models are."""

    @property
    def promotions(self) -> PromotionService:
        """The one way `champion` moves."""

    @property
    def canaries(self) -> "CanaryController":
        """The one way a challenger is tried on traffic."""


def answers_about_models(platform: Platform) -> dict[str, Service]:
    """Return, by name, the services that need nothing but the models and what is on record about them."""
    return {
        "champion": partial(_champion, platform),
        "version": partial(_version, platform),
        "evidence": partial(_evidence, platform),
        "holdout_uses": partial(_holdout_uses, platform),
        "record_evidence": partial(_record_evidence, platform),
        "register": partial(_register, platform),
        "promote": partial(_promote, platform),
        "resume_canary": partial(_resume_canary, platform),
        "open_canary": partial(_open_canary, platform),
        "advance_canary": partial(_advance_canary, platform),
    }


def _champion(platform: Platform, _: Assignment, arguments: Mapping[str, Any]) -> ModelVersion | None:
    model = arguments["model"]
    platform.promotions.reconcile(model)
    return versions.champion_to_judge_by(platform.database, platform.registry, model, judged="candidate")


def _version(platform: Platform, _: Assignment, arguments: Mapping[str, Any]) -> ModelVersion:
    model, number = arguments["model"], arguments["version"]
    with platform.database.read() as connection:
        found = store.find_version(connection, model, number)
    if found is None:
        raise NotFound(f"Podium registered no version {number} of {model}; `podium models show {model}` lists them.")
    return found


def _evidence(platform: Platform, _: Assignment, arguments: Mapping[str, Any]) -> Evidence:
    version: ModelVersion = arguments["version"]
    with platform.database.read() as connection:
        found = store.find_evidence(connection, version.evidence_digest)
    if found is None and version.lineage is None:
        raise Refused(
            f"Version {version.version} of {version.model} was adopted, so Podium has no evidence on it; judge a "
            "version that a pipeline registers."
        )
    if found is None:
        raise InternalError(f"The evidence of version {version.version} of {version.model} is not stored.")
    if found.altered is not None:
        raise Refused(found.altered)
    return Evidence.model_validate(found.document)


def _holdout_uses(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> int:
    with platform.database.read() as connection:
        return versions.holdout_uses(
            connection, arguments["model"], arguments["holdout_digest"], step_key=assignment.step_key
        )


def _record_evidence(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> None:
    with platform.database.write() as connection:
        versions.record_evidence(
            connection,
            arguments["evidence"],
            run_id=assignment.run.run_id,
            step_key=assignment.step_key,
            at=platform.clock.now(),
        )


def _register(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> ModelVersion:
    run = assignment.run
    return versions.register(
        platform.database,
        platform.registry,
        platform.clock,
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


def _promote(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> Promotion:
    run = assignment.run
    _refuse_backfilled(run, "promotes nothing")
    return platform.promotions.promote(
        assignment.plan.model,
        arguments["version"],
        expect_champion=ANY,  # the evidence names the champion it was measured against; another one makes it void
        idempotency_key=assignment.step_key,
        actor=run.actor.name,
        actor_verified=run.actor.verified,
        reason=f"run {run.run_id} for {run.interval.name}",
        run_id=run.run_id,
    )


def _resume_canary(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> CanaryResult | None:
    return platform.canaries.resume(
        assignment.plan.model, assignment.step_key, arguments["version"], arguments["traffic_digest"]
    )


def _open_canary(platform: Platform, assignment: Assignment, arguments: Mapping[str, Any]) -> CanaryResult:
    version: ModelVersion = arguments["version"]
    run = assignment.run
    _refuse_backfilled(run, "opens no canary")
    return platform.canaries.open(
        CanaryRequest(
            model=assignment.plan.model,
            challenger=version.version,
            judged_against=arguments["judged_against"],
            plan=arguments["plan"],
            available=arguments["available"],
            baseline_error_rate=arguments["baseline_error_rate"],
            run_id=run.run_id,
            step_key=assignment.step_key,
            actor=run.actor.name,
            actor_verified=run.actor.verified,
            traffic_digest=arguments["traffic_digest"],
            # Not by the run's id: who asks for the same run on another machine sees the same canary.
            draw_key=f"{run.idempotency_key}/{assignment.label}",
        )
    )


def _refuse_backfilled(run: Run, what: str) -> None:
    """Raise Refused for a backfilled run, whatever its plan says: one that was stored before may not say it."""
    if run.backfill_id is not None:
        raise Refused(
            f"The run {run.run_id} is of the backfill {run.backfill_id}, which registers and {what}. Mark the step "
            "that asks with @step(backfill=False), or promote the version with `podium promote`."
        )


def _advance_canary(platform: Platform, _: Assignment, arguments: Mapping[str, Any]) -> CanaryResult:
    return platform.canaries.advance(arguments["canary_id"], arguments["cells"])
