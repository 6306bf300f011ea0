"""What must be true of schedules, ticks, triggers and backfills, whatever was killed in whichever moment."""

from collections.abc import Iterator

import sqlalchemy as sa

from podium.db.schema import promotion, run, schedule, schedule_tick
from podium.db.violations import Violation

_REPORT = (
    "Nobody changes that but Podium: compare with a backup, and restore it if somebody did; else report it as a bug."
)


def violations(connection: sa.Connection) -> Iterator[Violation]:
    """Yield what is not as it must be; `connection` must see one consistent state, as `Database.read` gives."""
    yield from _ticks(connection)
    yield from _schedules(connection)
    yield from _backfills(connection)


def _ticks(connection: sa.Connection) -> Iterator[Violation]:
    """Each scheduled run is one tick's, and each tick's own run was asked for by the schedule."""
    made = sa.and_(schedule_tick.c.run_id == run.c.run_id, schedule_tick.c.fate == "run")
    without = (
        sa.select(run.c.run_id, run.c.pipeline)
        .outerjoin(schedule_tick, made)
        .where(run.c.trigger == "schedule", run.c.rerun_of.is_(None), schedule_tick.c.run_id.is_(None))
    )
    for row in connection.execute(without):
        yield Violation(
            "ticks", f"run {row.run_id}", f"it was made by the schedule of {row.pipeline}, for no tick", _REPORT
        )
    shared = (
        sa.select(schedule_tick.c.run_id, sa.func.count().label("ticks"))
        .where(schedule_tick.c.fate == "run")
        .group_by(schedule_tick.c.run_id)
        .having(sa.func.count() > 1)
    )
    for row in connection.execute(shared):
        yield Violation("ticks", f"run {row.run_id}", f"it was made for {row.ticks} ticks at once", _REPORT)


def _schedules(connection: sa.Connection) -> Iterator[Violation]:
    """No schedule's next tick was decided about before."""
    last = sa.func.max(
        sa.func.coalesce(schedule_tick.c.until, schedule_tick.c.tick_at), type_=schedule_tick.c.tick_at.type
    )
    decided = (
        sa.select(schedule.c.pipeline, schedule.c.next_tick_at, last.label("last"))
        .join(schedule_tick, schedule_tick.c.pipeline == schedule.c.pipeline)
        .where(schedule.c.next_tick_at.is_not(None))
        .group_by(schedule.c.pipeline, schedule.c.next_tick_at)
        .having(schedule.c.next_tick_at <= last)
    )
    for row in connection.execute(decided):
        fact = f"its next tick, {row.next_tick_at:%Y-%m-%d %H:%M:%S} UTC, was decided about already"
        repair = f"`podium schedule pause {row.pipeline} --reason …` and `podium schedule resume` place it anew."
        yield Violation("ticks", f"the schedule of {row.pipeline}", fact, repair)


def _backfills(connection: sa.Connection) -> Iterator[Violation]:
    """A backfilled run moved no alias."""
    moved = (
        sa.select(run.c.run_id, run.c.backfill_id, promotion.c.promotion_id, promotion.c.model)
        .join(promotion, promotion.c.run_id == run.c.run_id)
        .where(run.c.backfill_id.is_not(None), promotion.c.state == "applied")
    )
    for row in connection.execute(moved):
        fact = (
            f"it is of the backfill {row.backfill_id}, and its promotion {row.promotion_id} of {row.model} was applied"
        )
        repair = f"If that was not a person's wish: `podium rollback {row.model} --reason …`."
        yield Violation("backfills", f"run {row.run_id}", fact, repair)
