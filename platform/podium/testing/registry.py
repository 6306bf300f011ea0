"""Models, versions and champions in memory: what stages ask, without MLflow and without files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import (
    approval,
    canary,
    canary_look,
    evidence,
    metadata,
    model_version,
    promotion,
    promotion_history,
)
from podium.errors import Conflict
from podium.execution.entities import Assignment
from podium.execution.questions import Service
from podium.registry import history, store
from podium.registry.entities import CHAMPION, HistoryEntry, ModelVersion
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.promotion import PromotionService
from podium.settings import REVIEWED_TYPES
from podium.stages.answers import answers_about_models

if TYPE_CHECKING:  # heavy, and named in a signature only
    from podium.canary.controller import CanaryController

_TABLES = (evidence, model_version, promotion, approval, promotion_history, canary, canary_look)

TrainedOn = Callable[[str], list[str]]
"""Returns the digests of all that was read on the way to what has a digest."""


class FakeRegistry:
    """A model registry in memory, with the real gate, promotion service and canary controller before it.

    Give one to several runs, and the champion of the one is what the next is measured against. Its clock is that of
    the runs. Nothing is metered in process: `cost_usd` is what a gate with a limit of cost is told, None that nobody
    knows.

    >>> FakeRegistry().champion("flight_delay") is None
    True
    """

    def __init__(self, clock: FakeClock | None = None, *, cost_usd: Decimal | None = None) -> None:
        self.clock = clock or FakeClock()
        self.cost_usd = cost_usd
        self.registry = MemoryRegistry(trusted_types=REVIEWED_TYPES)
        self._open_runs: set[str] = set()
        self._trained_on: dict[str, TrainedOn] = {}

    def champion(self, model: str) -> str | None:
        """Return the version that is champion of a model; None without one."""
        return self.registry.alias(model, CHAMPION)

    def versions(self, model: str) -> list[ModelVersion]:
        """Return the versions of a model, oldest first."""
        numbers = [each.version for each in self.registry.versions(model)]
        with self.database.read() as connection:
            found = [store.find_version(connection, model, number) for number in numbers]
        return [version for version in found if version is not None]

    def history(self, model: str) -> list[HistoryEntry]:
        """Return what was decided about the champion of a model, oldest first."""
        with self.database.read() as connection:
            return history.entries(connection, model)

    @cached_property
    def database(self) -> Database:
        """What is on record about models; made when a stage first asks."""
        return _MemoryDatabase()

    @cached_property
    def promotions(self) -> PromotionService:
        """The one way `champion` moves."""
        return PromotionService(self.database, self.registry, self.clock)

    @cached_property
    def canaries(self) -> "CanaryController":
        """The one way a challenger is tried on traffic."""
        from podium.canary.controller import CanaryController  # scipy: only who opens a canary pays for it

        return CanaryController(
            self.database,
            self.clock,
            aliases=self.registry,
            promoter=self.promotions,
            run_is_open=self._run_is_open,
        )

    @cached_property
    def answers(self) -> dict[str, Service]:
        """The services that stages ask for, by name."""
        return {
            **answers_about_models(self),
            "trained_on": self._what_trained,
            "cost_so_far": lambda *_: self.cost_usd,
        }

    @contextmanager
    def run_open(self, run_id: str, trained_on: TrainedOn) -> Iterator[None]:
        """Know a run as open in this block, and from then on what its versions were trained on."""
        self._open_runs.add(run_id)
        self._trained_on[run_id] = trained_on
        try:
            yield
        finally:
            self._open_runs.discard(run_id)

    def outcome(self, run_id: str) -> str:
        """Return what a run that succeeded came to."""
        if "database" not in self.__dict__:  # no stage asked for anything
            return "none"
        from podium.canary import store as canaries

        with self.database.read() as connection:
            return canaries.run_outcome(connection, run_id) or store.run_outcome(connection, run_id)

    def _run_is_open(self, run_id: str) -> bool:
        return run_id in self._open_runs

    def _what_trained(self, _: Assignment, arguments: Mapping[str, Any]) -> list[str]:
        version: ModelVersion = arguments["version"]
        with self.database.read() as connection:
            evidence = store.find_evidence(connection, version.evidence_digest)
        if evidence is None or version.lineage is None:
            return []
        return self._trained_on[version.lineage.run_id](evidence.candidate_digest)


class _MemoryDatabase(Database):
    """The tables of models, promotions and canaries, in the memory of one thread."""

    def __init__(self) -> None:
        super().__init__("sqlite:///:memory:", Path())
        self._held: set[str] = set()
        metadata.create_all(self.engine, _TABLES)

    @contextmanager
    def lock(self, name: str, timeout_seconds: float = 60.0) -> Iterator[None]:
        """Hold the lock `name`; without a second thread, one that is held stays so, whatever the timeout."""
        if name in self._held:
            raise Conflict(f"The lock {name!r} is held, and waiting {timeout_seconds:g} s for it would not help.")
        self._held.add(name)
        try:
            yield
        finally:
            self._held.remove(name)
