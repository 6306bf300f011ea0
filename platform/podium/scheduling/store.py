"""Schedules and ticks: their only SQL. Each write is one statement that says whether it won."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.dag.schedule import Tick
from podium.db.engine import insert_unless_present
from podium.db.prepared import Prepared
from podium.db.schema import plan, run, schedule, schedule_tick
from podium.errors import InternalError, NotFound
from podium.scheduling.missed import Stretch


class DueSchedule(NamedTuple):
    """A schedule whose next tick is due."""

    pipeline: str
    plan_digest: str
    next_tick_at: datetime
    next_due_at: datetime
    problem: str | None


def next_due_at(connection: sa.Connection, now: datetime) -> datetime | None:
    """Return when, behind `now`, the next tick of all is due; None if none is to come."""
    row = _NEXT_DUE.first(connection, {"now": now})
    return None if row is None else row[0]


def is_any_due(connection: sa.Connection, now: datetime) -> bool:
    """Tell whether a tick is due."""
    return _ANY_DUE.first(connection, {"now": now}) is not None


def due(connection: sa.Connection, now: datetime, limit: int, *, behind: datetime | None = None) -> list[DueSchedule]:
    """Return and lock up to `limit` schedules with a tick that is due, the longest due first; not what others lock.

    `behind` leaves out those that were due by then.
    """
    if behind is None:
        rows = _DUE.rows(connection, {"now": now, "count": limit})
    else:
        rows = _DUE_BEHIND.rows(connection, {"now": now, "behind": behind, "count": limit})
    return [DueSchedule(*row) for row in rows]


def move_on(connection: sa.Connection, found: DueSchedule, following: Tick | None) -> bool:
    """Note the tick behind those that were decided about; False if somebody else was first, or paused it."""
    moved = _MOVE_ON.run(
        connection,
        {
            "of_pipeline": found.pipeline,
            "expected": found.next_tick_at,
            "tick": None if following is None else following.at,
            "due": None if following is None else following.due_at,
        },
    )
    return moved == 1


def record_run(
    connection: sa.Connection, pipeline: str, tick: Tick, run_id: str, now: datetime, *, created: bool, late: bool
) -> None:
    """Record that a tick became a run, or that an open run of its interval stands for it."""
    reason = None if created else f"the run {run_id} of the same interval was open"
    values = {"fate": "run" if created else "joined", "run_id": run_id, "until": None, "ticks": None, "reason": reason}
    _RECORD.run(connection, {**_of_tick(pipeline, tick, now), **values, "late": late})


def record_missed(connection: sa.Connection, pipeline: str, stretch: Stretch, now: datetime, reason: str) -> None:
    """Record ticks that do not run."""
    values = {"fate": "missed", "run_id": None, "until": stretch.last.at, "ticks": stretch.count, "reason": reason}
    _RECORD.run(connection, {**_of_tick(pipeline, stretch.first, now), **values, "late": True})


def caught_up_since(connection: sa.Connection, since: datetime) -> int:
    """Return how many late ticks of all schedules became runs since then."""
    row = _CAUGHT_UP.first(connection, {"since": since})
    return 0 if row is None else row[0]


def last_decided(connection: sa.Connection, pipeline: str) -> datetime | None:
    """Return the last tick of a pipeline that was decided about."""
    last = sa.func.coalesce(schedule_tick.c.until, schedule_tick.c.tick_at, type_=schedule_tick.c.tick_at.type)
    newest = sa.select(last).where(schedule_tick.c.pipeline == pipeline).order_by(schedule_tick.c.tick_at.desc())
    found: datetime | None = connection.scalar(newest.limit(1))
    return found


def plan_of(connection: sa.Connection, digest: str) -> Plan:
    """Return a stored plan; InternalError without one."""
    row = _PLAN.first(connection, {"of_plan": digest})
    if row is None:
        raise InternalError(f"A schedule names the plan {digest}, and none is stored under it.")
    return Plan.from_document(row[0])


def note_problem(connection: sa.Connection, pipeline: str, problem: str | None) -> bool:
    """Keep what stands in a schedule's way, or that nothing does any more; True if that is news."""
    changed = connection.execute(
        schedule.update()
        .where(schedule.c.pipeline == pipeline, schedule.c.problem.is_distinct_from(problem))
        .values(problem=problem)
    )
    return changed.rowcount == 1


def get(connection: sa.Connection, pipeline: str) -> sa.Row[Any]:
    """Return a pipeline's schedule; NotFound if it has none."""
    row = connection.execute(_SCHEDULES.where(schedule.c.pipeline == pipeline)).first()
    if row is None:
        raise NotFound(
            f"No schedule of {pipeline!r} is known here; `podium schedule list` shows them. A `podium scheduler` takes "
            "up what a pipeline says within seconds."
        )
    return row


class Known(NamedTuple):
    """What of a schedule tells whether it is what its pipeline says."""

    pipeline: str
    plan_digest: str
    file: str
    removed_at: datetime | None


def known(connection: sa.Connection) -> list[Known]:
    """Return every schedule that was ever known."""
    columns = (schedule.c.pipeline, schedule.c.plan_digest, plan.c.file, schedule.c.removed_at)
    rows = connection.execute(sa.select(*columns).join(plan, plan.c.digest == schedule.c.plan_digest))
    return [Known(*row) for row in rows]


def every(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return every schedule that was ever known, with its plan's document, in the order of pipelines."""
    return connection.execute(_SCHEDULES.order_by(schedule.c.pipeline)).all()


def lock(connection: sa.Connection, pipeline: str) -> sa.Row[Any] | None:
    """Return a schedule that nobody else changes until the transaction ends."""
    query = sa.select(schedule).where(schedule.c.pipeline == pipeline).with_for_update()
    return connection.execute(query).first()


def add(connection: sa.Connection, values: dict[str, Any]) -> bool:
    """Add the schedule of a pipeline that had none before; False if somebody else was first."""
    return insert_unless_present(connection, schedule, values)


def change(connection: sa.Connection, pipeline: str, **values: Any) -> None:
    """Change a schedule that is locked."""
    connection.execute(schedule.update().where(schedule.c.pipeline == pipeline).values(**values))


def last_ticks(connection: sa.Connection, pipeline: str, limit: int) -> Sequence[sa.Row[Any]]:
    """Return what became of the last ticks of a pipeline, the newest first, with the states of their runs."""
    query = (
        sa.select(schedule_tick, run.c.state.label("run_state"), run.c.outcome.label("run_outcome"))
        .outerjoin(run, run.c.run_id == schedule_tick.c.run_id)
        .where(schedule_tick.c.pipeline == pipeline)
        .order_by(schedule_tick.c.tick_at.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def _of_tick(pipeline: str, tick: Tick, now: datetime) -> dict[str, Any]:
    return {"pipeline": pipeline, "tick_at": tick.at, "due_at": tick.due_at, "decided_at": now}


_SCHEDULES = sa.select(schedule, plan.c.document, plan.c.file).join(plan, plan.c.digest == schedule.c.plan_digest)
_IS_TO_COME = sa.text("next_due_at IS NOT NULL")  # word for word the index'
_DUE_SCHEDULES = (
    sa.select(*(schedule.c[name] for name in DueSchedule._fields))
    .where(_IS_TO_COME, schedule.c.next_due_at <= sa.bindparam("now"))
    .order_by(schedule.c.next_due_at, schedule.c.pipeline)
    .limit(sa.bindparam("count"))
    .with_for_update(skip_locked=True)
)
_NEXT_DUE = Prepared(
    sa.select(schedule.c.next_due_at)
    .where(_IS_TO_COME, schedule.c.next_due_at > sa.bindparam("now"))
    .order_by(schedule.c.next_due_at)
    .limit(1)
)
_ANY_DUE = Prepared(
    sa.select(schedule.c.pipeline).where(_IS_TO_COME, schedule.c.next_due_at <= sa.bindparam("now")).limit(1)
)
_DUE = Prepared(_DUE_SCHEDULES)
_DUE_BEHIND = Prepared(_DUE_SCHEDULES.where(schedule.c.next_due_at > sa.bindparam("behind")))
_MOVE_ON = Prepared(
    schedule.update()
    .where(
        schedule.c.pipeline == sa.bindparam("of_pipeline"),
        schedule.c.next_tick_at == sa.bindparam("expected"),
        schedule.c.paused_at.is_(None),
        schedule.c.removed_at.is_(None),
    )
    .values(next_tick_at=sa.bindparam("tick"), next_due_at=sa.bindparam("due"))
)
_RECORD = Prepared(
    schedule_tick.insert().values({name: sa.bindparam(name) for name in [column.name for column in schedule_tick.c]})
)
_CAUGHT_UP = Prepared(
    sa.select(sa.func.count())
    .select_from(schedule_tick)
    .where(sa.text("late AND fate = 'run'"), schedule_tick.c.decided_at > sa.bindparam("since"))
)
_PLAN = Prepared(sa.select(plan.c.document).where(plan.c.digest == sa.bindparam("of_plan")))
