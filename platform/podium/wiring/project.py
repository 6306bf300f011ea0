"""A project opened: its settings, its database, and every service, each built when first asked for."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from podium import faults, settings
from podium.clock import Clock, SystemClock
from podium.dag.plan import Plan
from podium.db import migrate
from podium.db.engine import Database, file_lock
from podium.errors import ConfigurationError
from podium.execution import attempt_rollup, queries, waking
from podium.execution.artifacts import ArtifactStore, open_blobs
from podium.execution.blobs import Blobs
from podium.execution.claims import Limits
from podium.execution.codecs import Codecs
from podium.execution.entities import Actor, AttemptUsage
from podium.execution.progress import Progress
from podium.execution.service import ExecutionService
from podium.finops import run_rollup, savings
from podium.finops.ledger import Ledger
from podium.finops.usage import UsageRecord, resources_of
from podium.registry.approval import ApprovalRule
from podium.registry.entities import Promotion
from podium.registry.port import ModelRegistry
from podium.registry.promotion import PromotionService
from podium.settings import Settings
from podium.settings.approvals import of_model
from podium.wiring.environments import environment_path

if TYPE_CHECKING:  # heavy, and named in a signature only
    from podium.canary.controller import CanaryController
    from podium.registry.in_force import PolicyInForce


@dataclass(frozen=True)
class LedgerAdapter:
    """Posts what execution reports at an attempt's end, and where it made none."""

    ledger: Ledger

    def post(self, connection: sa.Connection, usage: AttemptUsage) -> None:
        """Post the cost of one attempt in the caller's transaction."""
        self.ledger.post(connection, usage_record(usage))

    def save(self, connection: sa.Connection, sources: Mapping[str, str], now: datetime) -> None:
        """Note what step runs saved that took over results, in the caller's transaction."""
        savings.record(connection, sources, now)

    def close(self, connection: sa.Connection, run_id: str, now: datetime) -> None:
        """Count a run that ended among the rollups of runs, in the caller's transaction."""
        attempt_rollup.add(connection, run_id)
        run_rollup.add(connection, run_id, now)

    def close_all(self, connection: sa.Connection, run_ids: Sequence[str], now: datetime) -> None:
        """Count runs that ended before they began among the rollups of runs, in the caller's transaction."""
        run_rollup.add_all(connection, run_ids, now)


def usage_record(usage: AttemptUsage) -> UsageRecord:
    """Return an attempt's usage in the ledger's words."""
    metered = usage.usage
    return UsageRecord(
        attempt_id=usage.attempt_id,
        run_id=usage.run_id,
        step=usage.step,
        number=usage.number,
        team=usage.team,
        model=usage.model,
        environment=usage.environment,
        outcome=usage.state,
        started_at=usage.started_at,
        ended_at=usage.ended_at,
        wall_seconds=metered.wall_seconds,
        cpu=usage.cpu,
        memory_bytes=usage.memory_bytes,
        gpu=usage.gpu,
        cpu_seconds=metered.cpu_seconds,
        peak_memory_bytes=metered.peak_memory_bytes,
        meter_source=metered.source,
        meter_quality=metered.quality,
    )


def run_outcome(connection: sa.Connection, run_id: str) -> str:
    """Return what a run came to: as its canary ended, or without one as the registry sees it."""
    from podium.canary import store as canaries  # pydantic models: only who ends runs builds them
    from podium.registry import store as registry

    return canaries.run_outcome(connection, run_id) or registry.run_outcome(connection, run_id)


def _wake_those_who_wait(connection: sa.Connection, ended: Promotion) -> None:
    """Make the steps due that wait for a promotion, their own or another of the model, where it ends."""
    if ended.ended_at is not None:
        waking.wake_model(connection, ended.model, ended.ended_at)


@dataclass(frozen=True)
class Project:
    """Everything of one project; open it with `open_project`."""

    settings: Settings
    clock: Clock

    @cached_property
    def database(self) -> Database:
        """The database, at the schema this version needs."""
        migrate.ensure(self.unchecked_database)
        return self.unchecked_database

    @cached_property
    def unchecked_database(self) -> Database:
        """The database, whatever its schema."""
        self._require_home()
        faults.configure(self.settings.home)
        return Database(self.settings.effective_database_url, self.settings.home / "locks")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(self.clock)

    @cached_property
    def progress(self) -> Progress:
        """What moves runs along, with the ledger and the registry's outcomes joined to its transactions."""
        return Progress(LedgerAdapter(self.ledger), run_outcome)

    @cached_property
    def execution(self) -> ExecutionService:
        """Starts and resumes runs."""
        return ExecutionService(self.database, self.progress, self.clock, self.settings.on_code_change)

    @cached_property
    def registry(self) -> ModelRegistry:
        """The model registry."""
        return build_registry(self.settings, partial(file_lock, self.settings.home / "locks", "mlflow-store", 120.0))

    @cached_property
    def promotions(self) -> PromotionService:
        """The one way `champion` moves."""
        return PromotionService(
            self.database,
            self.registry,
            self.clock,
            approval_rule=self.approval_rule,
            in_force=self._policy_in_force,
            run_is_open=self._run_is_open,
            ended=_wake_those_who_wait,
            model_before=environment_path(self.settings).before,
        )

    def approval_rule(self, model: str) -> ApprovalRule | None:
        """Return who signs off promotions of a model; None where nobody has to."""
        found = of_model(self.settings.approvals, model)
        return None if found is None else ApprovalRule(found.required, found.approvers, found.expiry, found.runs)

    @cached_property
    def canaries(self) -> "CanaryController":
        """The one way a challenger is tried on traffic."""
        from podium.canary.controller import CanaryController

        return CanaryController(
            self.database,
            self.clock,
            aliases=self.registry,
            promoter=self.promotions,
            run_is_open=self._run_is_open,
            ended=waking.wake_model,
        )

    @cached_property
    def blobs(self) -> Blobs:
        """Where the bytes of artifacts lie."""
        return open_blobs(self.settings.artifact_location, self.settings.home)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """What steps stored."""
        return ArtifactStore(self.blobs, Codecs(self.settings.trusted_types))

    @property
    def actor(self) -> Actor:
        """Who works here, as far as it is known."""
        return Actor(self.settings.user)

    @property
    def limits(self) -> Limits:
        """How many attempts of a pool and runs of a pipeline or a model may go on at once."""
        return Limits(self.settings.pools, self.settings.pipeline_limits, self.settings.model_limits)

    @property
    def log_folder(self) -> Path:
        """Where attempts' logs lie."""
        return self.settings.home / "logs"

    def require_prices(self, *plans: Plan) -> None:
        """Bring the price book up to date and raise ConfigurationError unless all that plans reserve has a price.

        Cores and memory must have one in any case: every attempt uses both. What was posted before its price was
        known is priced as soon as the book has it.
        """
        from podium.finops.book import load_book
        from podium.finops.prices import check_priced, import_book

        own = self.settings.root / "prices.yaml"
        book = load_book(own if own.is_file() else None)
        import_book(self.database, book, self.clock, once_added=self.ledger.price_unpriced)
        gpus = {0, *(node.resources.gpu for plan in plans for node in plan.steps)}
        needed = {resource for gpu in gpus for resource in resources_of(gpu)}
        with self.database.read() as connection:
            check_priced(connection, sorted(needed, key=lambda resource: resource.name), self.clock.now())

    def require_runnable(self, *plans: Plan) -> None:
        """Raise ConfigurationError unless runs of the plans could be paid for and judged.

        That is `require_prices`; and where podium.toml sets a gate for a plan's model, its file is there and right, and
        so are the functions of the project that it names, as far as their source tells.
        """
        self.require_prices(*plans)
        if not self.settings.gates:
            return
        from podium.registry.policy_file import check_rules, policy_for

        for model in dict.fromkeys(plan.model for plan in plans):
            policy = policy_for(model, self.settings.gates, self.settings.root)
            if policy is not None:
                check_rules(policy, self.settings.root)

    def _policy_in_force(self, model: str) -> "PolicyInForce | None":
        from podium.wiring.gates import policy_in_force  # pydantic models: only whose champions move

        return policy_in_force(self.settings, model)

    def _run_is_open(self, run_id: str) -> bool:
        with self.database.read() as connection:
            return queries.is_open(connection, run_id)

    def _require_home(self) -> None:
        home = self.settings.home
        try:
            home.mkdir(parents=True, exist_ok=True)
            writable = os.access(home, os.W_OK | os.X_OK)
        except OSError as error:
            raise ConfigurationError(
                f"The state folder {home} cannot be made: {error.strerror}. Set PODIUM_HOME to a folder that can."
            ) from None
        if not writable:
            raise ConfigurationError(
                f"The state folder {home} cannot be written. Change its rights, or set PODIUM_HOME to another folder."
            )

    def close(self) -> None:
        """Close what was opened."""
        if "unchecked_database" in self.__dict__:
            self.unchecked_database.close()


def open_project(start: Path | None = None, clock: Clock | None = None) -> Project:
    """Open the project that `start` (default: the current folder) lies in."""
    return Project(settings.load(start), clock or SystemClock())


def build_registry(options: Settings, first_use: Callable[[], AbstractContextManager[None]]) -> ModelRegistry:
    """Return MLflow's adapter; MLflow itself is imported at its first use."""
    from podium.registry.load_report import Limits
    from podium.registry.mlflow_registry import MlflowRegistry

    local = not options.mlflow_tracking_uri
    return MlflowRegistry(
        options.effective_tracking_uri,
        os.fspath(options.home / "mlflow-artifacts") if local else None,
        trusted_types=options.trusted_types,
        pickle=options.models.pickle,
        reviewed_packages=options.models.reviewed_packages,
        limits=Limits(int(options.models.load_memory_gib * 1024**3), options.models.load_seconds),
        loads_folder=options.home / "loads",
        first_use=first_use,
    )
