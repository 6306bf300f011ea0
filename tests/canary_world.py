"""A model with a champion and challengers to try: what tests of the canary start from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.canary import documents, store
from podium.canary.controller import CanaryController
from podium.canary.entities import Canary, CanaryRequest, CanaryResult, Look
from podium.canary.plan import CanaryPlan, Phase
from podium.canary.ports import Ended, Promoter, nobody_waits
from podium.canary.replay import ReplayTraffic, play
from podium.clock import Clock
from podium.db.engine import Database
from podium.registry.entities import CHALLENGER
from podium.registry.memory_registry import MemoryRegistry
from tests.promotion_world import World

PLAN = CanaryPlan(
    phases=(Phase(weight_percent=20, requests=300), Phase(weight_percent=50, requests=900)),
    margin=0.1,
    look_every=100,
)
ROWS = "7" * 64  # the digest of the rows that are replayed


def answers(error_rate: float, *, requests: int = PLAN.requests, seed: int = 1) -> npt.NDArray[np.bool_]:
    """Which of so many requests a variant of that error rate answers wrongly."""
    wrong: npt.NDArray[np.bool_] = np.random.default_rng(seed).random(requests) < error_rate
    return wrong


@dataclass
class CanaryWorld:
    """One model, its champion unless it is to have none, and the controller of its canaries.

    `promoter` takes the place of the real promotion service; every run is open that is not in `ended_runs`.
    """

    database: Database
    clock: Clock
    model: str = "flight_delay"
    has_champion: bool = True
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    promoter: Promoter | None = None
    ended_runs: set[str] = field(default_factory=set)
    ended: Ended = nobody_waits

    def __post_init__(self) -> None:
        self.models = World(self.database, self.registry, self.clock, model=self.model)
        self.first = self.models.champions(1)[0] if self.has_champion else "none"

    @property
    def controller(self) -> CanaryController:
        """A controller that remembers nothing, as in a new process."""
        return CanaryController(
            self.database,
            self.clock,
            self.registry,
            self.promoter or self.models.service,
            lambda run_id: run_id not in self.ended_runs,
            self.ended,
        )

    def challenger(self) -> str:
        """Register a version that was judged against the present champion."""
        return self.models.candidate(champion=self.models.champion, month=2)

    def request(self, challenger: str, **changes: Any) -> CanaryRequest:
        """Ask for a canary as the run `r2` does, with whatever a test wants different."""
        facts: dict[str, Any] = {
            "model": self.model,
            "challenger": challenger,
            "judged_against": self.first,
            "plan": PLAN,
            "available": PLAN.requests,
            "baseline_error_rate": 0.05,
            "run_id": "r2",
            "step_key": "r2/run_canary",
            "actor": "ada",
            "actor_verified": False,
            "traffic_digest": ROWS,
        }
        return CanaryRequest(**(facts | changes))

    def play(self, request: CanaryRequest, *, error_rate: float = 0.05) -> CanaryResult:
        """Do what one attempt does: open the canary, and replay rows the challenger answers so wrongly."""
        controller = self.controller
        opened = controller.open(request)
        return play(opened, self.traffic(opened, error_rate=error_rate), controller.advance)

    def traffic(self, opened: CanaryResult, *, error_rate: float = 0.05) -> ReplayTraffic:
        """Rows that the champion answers wrongly in 5 %, and the challenger so often."""
        return ReplayTraffic(
            answers(error_rate, requests=opened.horizon, seed=2),
            answers(0.05, requests=opened.horizon, seed=3),
            weights=opened.plan.weights,
            seed=opened.seed,
        )

    @property
    def champion(self) -> str | None:
        return self.models.champion

    @property
    def challenger_alias(self) -> str | None:
        return self.registry.alias(self.model, CHALLENGER)

    def show(self) -> dict[str, Any]:
        with self.database.read() as connection:
            return documents.show(connection, self.model)

    def stored(self, result: CanaryResult) -> Canary:
        assert result.canary_id is not None
        with self.database.read() as connection:
            canary = store.find(connection, result.canary_id)
        assert canary is not None
        return canary

    def looks(self, result: CanaryResult) -> list[Look]:
        assert result.canary_id is not None
        with self.database.read() as connection:
            return store.looks(connection, result.canary_id)

    def replayed(self, result: CanaryResult) -> documents.Replayed:
        assert result.canary_id is not None
        with self.database.read() as connection:
            return documents.replayed(connection, result.canary_id)

    def run_outcome(self, run_id: str) -> str | None:
        with self.database.read() as connection:
            return store.run_outcome(connection, run_id)
