"""What the scheduling tests share: pipelines with schedules, and schedulers that go by a fake clock."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.clock import FakeClock
from podium.dag.plan import Plan
from podium.dag.schedule import Timing
from podium.db.engine import Database
from podium.db.schema import run, schedule_tick
from podium.execution import plans, queries
from podium.execution.progress import Progress
from podium.execution.service import ExecutionService
from podium.finops.ledger import Ledger
from podium.registry.store import run_outcome
from podium.scheduling.scheduler import Fired, Scheduler
from podium.scheduling.schedules import Schedules
from podium.wiring.admission import ExecutorAdmission
from podium.wiring.project import LedgerAdapter
from tests.execution_world import HandWorker, node, plan_of

START = datetime(2026, 11, 21, tzinfo=UTC)


def scheduled(pipeline: str = "flow", schedule: str | None = "0 * * * *", **changes: Any) -> Plan:
    """A pipeline of one step with a schedule; `timing` are keywords of Timing."""
    timing = Timing(**changes.pop("timing", {}))
    grain = changes.pop("grain", "hour")
    return replace(
        plan_of(node("a"), code=pipeline), pipeline=pipeline, schedule=schedule, grain=grain, timing=timing, **changes
    )


@dataclass
class SchedulingWorld:
    """Schedules over one database."""

    database: Database
    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    fired: list[Fired] = field(default_factory=list)

    def __post_init__(self) -> None:
        progress = Progress(LedgerAdapter(Ledger(self.clock)), run_outcome)
        self.execution = ExecutionService(self.database, progress, self.clock)
        self.schedules = Schedules(self.database, self.clock)
        self.scheduler = self.new_scheduler()

    def new_scheduler(self) -> Scheduler:
        """Another scheduler on the database."""
        return Scheduler(self.database, ExecutorAdmission(self.execution), self.clock, self.fired.append)

    def hand_worker(self) -> HandWorker:
        """Who executes by hand what the schedules ask for."""
        return HandWorker(self.database, self.folder, self.clock)

    def take_up(self, *found: Plan, broken: tuple[str, ...] = ()) -> list[str]:
        """Let these be all pipelines there are; return what that changed, as `pipeline kind`."""
        with self.database.write() as connection:
            for each in found:
                plans.store(connection, each, self.clock.now())
        return [f"{each.pipeline} {each.kind}" for each in self.schedules.take_up(found, broken)]

    def advance(self, **passed: float) -> float:
        """Let time pass, and then let the scheduler make one pass; return what it says to wait."""
        self.clock.advance(timedelta(**passed).total_seconds())
        return self.scheduler.advance()

    def runs(self, pipeline: str = "flow") -> list[str]:
        """The intervals of a pipeline's runs in the order of their turns, as they begin in UTC."""
        query = sa.select(run.c.interval_start).where(run.c.pipeline == pipeline).order_by(run.c.rank_at, run.c.run_id)
        with self.database.read() as connection:
            return [f"{at:%m-%dT%H}" for at in connection.scalars(query)]

    def ticks(self, pipeline: str = "flow") -> list[tuple[str, str, int | None]]:
        """What became of a pipeline's ticks: when, what, and how many were missed."""
        query = sa.select(schedule_tick).where(schedule_tick.c.pipeline == pipeline).order_by(schedule_tick.c.tick_at)
        with self.database.read() as connection:
            return [(f"{row.tick_at:%dT%H:%M}", row.fate, row.ticks) for row in connection.execute(query)]

    def end_runs(self) -> None:
        """End every open run, as if it had been executed."""
        worker = self.hand_worker()
        with self.database.read() as connection:
            known = set(connection.scalars(sa.text("SELECT worker_id FROM worker")))
            open_ = list(connection.scalars(sa.select(run.c.run_id).where(run.c.state.in_(("queued", "running")))))
        if "w" not in known:
            worker.worker("w")
        for run_id in open_:
            with self.database.read() as connection:
                found = queries.get_run(connection, run_id)
            for claim in worker.claim(found):
                worker.end(claim)
