"""Two schedulers on one database for simulated minutes, at so many ticks a second: each tick must become one run."""

import threading
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from podium.db.engine import Database
from podium.db.schema import run, schedule, schedule_tick
from podium.scheduling.scheduler import Scheduler
from tests.scheduling_world import START, SchedulingWorld, scheduled

_PATIENCE_SECONDS = 120.0


def problems(database: Database, folder: Path, *, seconds: int, per_second: int) -> list[str]:
    """Return what is wrong after two schedulers in threads went by one clock for so long; it moves by half a second.

    Each pipeline has one tick, so that none joins another's run.
    """
    world = SchedulingWorld(database, folder)
    count = seconds * per_second
    world.take_up(
        *(
            scheduled(f"p{n}", "0 0 * * *", grain="day", timing={"delay_seconds": 1.0 + n / per_second})
            for n in range(count)
        )
    )
    with database.write() as connection:  # taken up at midnight, they begin with the next day
        missing = connection.scalar(sa.select(sa.func.count()).where(schedule.c.next_tick_at != START))
    errors = _go_by_one_clock([world.scheduler, world.new_scheduler()], world, steps=2 * (seconds + 1))
    with database.read() as connection:
        by_fate = sa.select(schedule_tick.c.fate, sa.func.count()).group_by(schedule_tick.c.fate)
        fates = {row[0]: row[1] for row in connection.execute(by_fate)}
        named = connection.scalar(sa.select(sa.func.count(schedule_tick.c.run_id.distinct())))
        runs = connection.scalar(sa.select(sa.func.count()).select_from(run))
        late = connection.scalar(sa.select(sa.func.count()).select_from(schedule_tick).where(schedule_tick.c.late))
        behind = connection.scalar(sa.select(sa.func.count()).where(schedule.c.next_due_at <= world.clock.now()))
    found = [f"{type(error).__name__}: {error}" for error in errors]
    expected = {"schedules that begin later": 0, "runs": count, "runs that a tick names": count, "late": 0, "left": 0}
    told = {
        "schedules that begin later": missing,
        "runs": runs,
        "runs that a tick names": named,
        "late": late,
        "left": behind,
    }
    found += [f"{name}: {told[name]} instead of {wanted}" for name, wanted in expected.items() if told[name] != wanted]
    if fates != {"run": count}:
        found.append(f"ticks: {fates} instead of {count} runs")
    return found


def _go_by_one_clock(schedulers: list[Scheduler], world: SchedulingWorld, *, steps: int) -> list[BaseException]:
    """Let the clock go on by half a second so many times, and each time all schedulers act at once; return errors."""
    gate = threading.Barrier(len(schedulers) + 1)
    errors: list[BaseException] = []

    def act(scheduler: Scheduler) -> None:
        try:
            for _ in range(steps):
                gate.wait(_PATIENCE_SECONDS)
                scheduler.advance()
                gate.wait(_PATIENCE_SECONDS)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the caller
            errors.append(error)
            gate.abort()

    threads = [threading.Thread(target=act, args=(each,)) for each in schedulers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(steps):
            world.clock.advance(timedelta(seconds=0.5).total_seconds())
            gate.wait(_PATIENCE_SECONDS)
            gate.wait(_PATIENCE_SECONDS)
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join()
    return errors
