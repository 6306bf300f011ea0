"""The slice's writes: each is one conditional statement or one transaction's part, and says whether it won.

Every function takes the open connection of its caller's transaction, so that state, event, ledger entries and
what becomes ready next commit together.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium import ids
from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.db.engine import insert_unless_present, wake_workers
from podium.db.prepared import Prepared
from podium.db.schema import event, run, step_run
from podium.errors import Conflict, InternalError
from podium.execution import readiness
from podium.execution.entities import Actor
from podium.execution.items import WHOLE
from podium.execution.transitions import StepMove

PRIORITY_SECONDS = 600.0
"""How long a run must have waited to go before another one that is a point of priority above it."""

_GIVES_WAY = timedelta(days=36_525)
"""How much later a backfilled run ranks: behind every other one. Who asks for runs one by one finds them at once then,
however many a backfill has queued."""


def create_run(
    connection: sa.Connection,
    plan: Plan,
    interval: Interval,
    *,
    parameters: Mapping[str, Any],
    trigger: str,
    idempotency_key: str,
    actor: Actor,
    now: datetime,
    rerun_of: str | None = None,
    uses_cache: bool = True,
    cause: str | None = None,
    backfill_id: str | None = None,
    place: int = 0,
) -> tuple[str, bool]:
    """Create a queued run with its waiting step runs; return its id, and False if the key already had one.

    `cause` says in words what its trigger saw. A backfilled run has no deadline: it may wait long for its turn, which
    comes behind all others'. Of runs that are asked for at once, each has its turn by its `place`. Raises Conflict if
    another run of the pipeline is open for the interval. The plan must be stored.
    """
    run_id = ids.new_id(now)
    rank_at = now - timedelta(seconds=plan.priority * PRIORITY_SECONDS) + timedelta(microseconds=place)
    if backfill_id is not None:
        rank_at += _GIVES_WAY
    created = insert_unless_present(
        connection,
        run,
        {
            "run_id": run_id,
            "pipeline": plan.pipeline,
            "plan_digest": plan.digest,
            "model": plan.model,
            "team": plan.team,
            "environment": plan.environment,
            "interval_start": interval.start,
            "interval_end": interval.end,
            "parameters": dict(parameters),
            "trigger": trigger,
            "idempotency_key": idempotency_key,
            "state": "queued",
            "open_steps": len(plan.steps),
            "actor": actor.name,
            "actor_verified": actor.verified,
            "created_at": now,
            "priority": plan.priority,
            "rank_at": rank_at,
            "deadline_at": deadline_of(plan, now) if backfill_id is None else None,
            "rerun_of": rerun_of,
            "uses_cache": uses_cache,
            "cause": cause,
            "backfill_id": backfill_id,
        },
    )
    if not created:
        existing: str | None = connection.scalar(
            sa.select(run.c.run_id).where(run.c.idempotency_key == idempotency_key)
        )
        if existing is not None:
            return existing, False
        other = open_run(connection, plan.pipeline, interval)
        raise Conflict(
            f"The run {other} of {plan.pipeline} is open for {interval.name}; let it end (`podium runs show {other}`), "
            "or continue it with `podium run` and the same parameters."
        )
    waits = readiness.waiting_counts(plan, {})
    _ADD_STEP_RUN.run_all(
        connection,
        [
            {
                "step_run_id": ids.new_id(now),
                "run_id": run_id,
                "name": node.name,
                "map_index": WHOLE,
                "position": position,
                "state": "waiting",
                "waiting_on": waits[node.name],
                "failures": 0,
                "cached": False,
            }
            for position, node in enumerate(plan.steps)
        ],
    )
    record(connection, run_id, "run.created", now, reason=cause)
    wake_workers(connection)
    return run_id, True


def deadline_of(plan: Plan, now: datetime) -> datetime | None:
    """Return when a run that is asked for, or taken up again, now must have ended."""
    return None if plan.deadline_seconds is None else now + timedelta(seconds=plan.deadline_seconds)


def open_run(connection: sa.Connection, pipeline: str, interval: Interval) -> str | None:
    """Return the id of the queued or running run of a pipeline for an interval."""
    of_interval = {"of_pipeline": pipeline, "start": interval.start, "end": interval.end}
    row = _OPEN_RUN.first(connection, of_interval)
    return None if row is None else row[0]


class LockedRun(NamedTuple):
    """What of a run stays as it is while its lock is held."""

    state: str
    plan_digest: str
    cancel_reason: str | None  # of one that is to be cancelled, or was
    backfill_id: str | None
    model: str  # as it was asked for, whatever its plan says by now


def lock_run(connection: sa.Connection, run_id: str) -> LockedRun:
    """Keep others from moving a run, its step runs and attempts, or changing its plan, until the transaction ends.

    Whoever does one of these takes this lock first, and who moves several runs in the order of their ids, so that no
    two wait for each other.
    """
    row = _LOCK_RUN.first(connection, {"of_run": run_id})
    if row is None:
        raise InternalError(f"There is no run {run_id} to lock.")
    return LockedRun(*row)


def try_lock_run(connection: sa.Connection, run_id: str) -> LockedRun | None:
    """Lock a run as `lock_run` does; None if another transaction has it, or if it does not exist."""
    row = _TRY_LOCK_RUN.first(connection, {"of_run": run_id})
    return None if row is None else LockedRun(*row)


def end_run(
    connection: sa.Connection,
    run_id: str,
    state: str,
    now: datetime,
    *,
    outcome: str | None = None,
    reason: str | None = None,
) -> None:
    """End a run of which no step is open."""
    values = {"of_run": run_id, "new_state": state, "came_to": outcome, "why": reason, "end": now}
    _END_RUN.run(connection, values)
    record(connection, run_id, f"run.{state}", now, reason=reason or outcome)


def begin_run(connection: sa.Connection, run_id: str, now: datetime) -> None:
    """Note that the first step of a queued run begins."""
    _BEGIN_RUN.run(connection, {"of_run": run_id, "now": now})
    record(connection, run_id, "run.started", now)


def of_step(run_id: str, step: str) -> sa.Update:
    """Return an update of a step's own row; of a mapped step, of the whole."""
    return step_run.update().where(step_run.c.run_id == run_id, step_run.c.name == step, step_run.c.map_index == WHOLE)


class Waits(NamedTuple):
    """On how many a step still waits, and its state: one that ended early is counted down all the same."""

    left: int
    state: str

    @property
    def are_over(self) -> bool:
        """Whether it is to be decided about, or closed, now."""
        return self.left == 0 and self.state == "waiting"


def count_down(connection: sa.Connection, run_id: str, step: str) -> Waits:
    """Count one less that a step waits on; return how many are left."""
    row = _COUNT_DOWN.first(connection, {"of_run": run_id, "of_step": step})
    if row is None:
        raise InternalError(f"The run {run_id} has no step {step} to count down.")
    return Waits(*row)


def close_steps(connection: sa.Connection, run_id: str, count: int) -> int:
    """Count so many open steps of a run less; return how many are left."""
    row = _CLOSE_STEPS.first(connection, {"of_run": run_id, "closed": count})
    if row is None:
        raise InternalError(f"There is no run {run_id} to close steps of.")
    left: int = row[0]
    return left


def move_step(
    connection: sa.Connection, run_id: str, step_run_id: str, step: str, move: StepMove, now: datetime
) -> None:
    """Move a step run whose attempt just ended; InternalError if it was not running."""
    moved = _MOVE_STEP.run(
        connection,
        {
            "of_step_run": step_run_id,
            "new_state": move.state,
            "count": move.failures,
            "why": move.reason,
            "until": move.not_before,
            "since": now if move.state == "ready" else None,
            "end": now if move.state in ("succeeded", "failed") else None,
        },
    )
    if moved != 1:
        raise InternalError(f"The step {step} of run {run_id} was not running while an attempt of it was.")
    record(connection, run_id, move.event, now, step=step, reason=move.told)


def settle_step(
    connection: sa.Connection, run_id: str, step: str, state: str, reason: str | None, now: datetime
) -> None:
    """Make a waiting step ready or skip it; InternalError if it was not waiting."""
    ready = state == "ready"
    values = {"new_state": state, "why": reason, "since": now if ready else None, "end": None if ready else now}
    if _SETTLE_STEP.run(connection, {"of_run": run_id, "of_step": step, **values}) != 1:
        raise InternalError(f"The step {step} of run {run_id} was not waiting when all it waits on had ended.")
    record(connection, run_id, f"step.{state}", now, step=step, reason=reason)


def record(
    connection: sa.Connection,
    run_id: str,
    kind: str,
    now: datetime,
    *,
    step: str | None = None,
    number: int | None = None,
    reason: str | None = None,
) -> None:
    """Append an event; `step` is `fit[2]` for an item of a mapped step."""
    _ADD_EVENT.run(
        connection, {"run_id": run_id, "step": step, "attempt": number, "kind": kind, "reason": reason, "at": now}
    )


def change_plan(connection: sa.Connection, run_id: str, before: Plan, after: Plan, now: datetime) -> None:
    """Let a run go on under another plan of the same shape."""
    connection.execute(run.update().where(run.c.run_id == run_id).values(plan_digest=after.digest))
    # A key says which code an output is from; these will be made by other code.
    connection.execute(
        step_run.update().where(step_run.c.run_id == run_id, step_run.c.ended_at.is_(None)).values(cache_key=None)
    )
    reason = f"code {before.code_digest[:12]} → {after.code_digest[:12]}"
    record(connection, run_id, "run.code_changed", now, reason=reason)


def request_stop(connection: sa.Connection, run_id: str, kind: str, reason: str, now: datetime) -> bool:
    """Note that an open run is to be stopped, and why; False, and nothing written, if it ended or is stopped already.

    Whoever does it cancels what has not begun in the same transaction: whatever may start afterwards is clean-up. Open
    steps are counted anew, so that a run whose count was wrong can still be ended.
    """
    open_ = sa.select(sa.func.count()).where(
        step_run.c.run_id == run_id, step_run.c.map_index == WHOLE, step_run.c.ended_at.is_(None)
    )
    requested = connection.execute(
        run.update()
        .where(run.c.run_id == run_id, run.c.state.in_(("queued", "running")), run.c.cancel_requested_at.is_(None))
        .values(cancel_requested_at=now, reason=reason, open_steps=open_.scalar_subquery())
    )
    if not requested.rowcount:
        return False
    record(connection, run_id, kind, now, reason=reason)
    return True


def _insert(table: sa.Table, *names: str) -> sa.Insert:
    return table.insert().values({name: sa.bindparam(name) for name in names})


_OF_STEP = (
    step_run.c.run_id == sa.bindparam("of_run"),
    step_run.c.name == sa.bindparam("of_step"),
    step_run.c.map_index == WHOLE,
)
_OPEN_RUN = Prepared(
    sa.select(run.c.run_id).where(
        run.c.pipeline == sa.bindparam("of_pipeline"),
        run.c.interval_start == sa.bindparam("start"),
        run.c.interval_end == sa.bindparam("end"),
        sa.text("state IN ('queued', 'running')"),
    )
)
_LOCKED = sa.select(
    run.c.state,
    run.c.plan_digest,
    sa.case((run.c.cancel_requested_at.is_not(None), run.c.reason)).label("reason"),
    run.c.backfill_id,
    run.c.model,
).where(run.c.run_id == sa.bindparam("of_run"))
_LOCK_RUN = Prepared(_LOCKED.with_for_update(key_share=True))
_TRY_LOCK_RUN = Prepared(_LOCKED.with_for_update(key_share=True, skip_locked=True))
_ADD_STEP_RUN = Prepared(
    _insert(
        step_run,
        "step_run_id",
        "run_id",
        "name",
        "map_index",
        "position",
        "state",
        "waiting_on",
        "failures",
        "cached",
    )
)
_BEGIN_RUN = Prepared(
    run.update()
    .where(run.c.run_id == sa.bindparam("of_run"))
    .values(
        state=sa.literal("running"),
        started_at=sa.func.coalesce(run.c.started_at, sa.bindparam("now", type_=run.c.started_at.type)),
    )
)
_END_RUN = Prepared(
    run.update()
    .where(run.c.run_id == sa.bindparam("of_run"))
    .values(
        state=sa.bindparam("new_state"),
        outcome=sa.bindparam("came_to"),
        reason=sa.bindparam("why"),
        ended_at=sa.bindparam("end"),
        started_at=sa.func.coalesce(run.c.started_at, sa.bindparam("end", type_=run.c.started_at.type)),
    )
)
_COUNT_DOWN = Prepared(
    step_run.update()
    .where(*_OF_STEP)
    .values(waiting_on=step_run.c.waiting_on - 1)
    .returning(step_run.c.waiting_on, step_run.c.state)
)
_CLOSE_STEPS = Prepared(
    run.update()
    .where(run.c.run_id == sa.bindparam("of_run"))
    .values(open_steps=run.c.open_steps - sa.bindparam("closed", type_=sa.Integer))
    .returning(run.c.open_steps)
)
_MOVE_STEP = Prepared(
    step_run.update()
    .where(step_run.c.step_run_id == sa.bindparam("of_step_run"), step_run.c.state == "running")
    .values(
        state=sa.bindparam("new_state"),
        failures=sa.bindparam("count"),
        reason=sa.bindparam("why"),
        not_before=sa.bindparam("until"),
        ready_at=sa.func.coalesce(sa.bindparam("since", type_=step_run.c.ready_at.type), step_run.c.ready_at),
        ended_at=sa.bindparam("end"),
    )
)
_SETTLE_STEP = Prepared(
    step_run.update()
    .where(*_OF_STEP, step_run.c.state == "waiting")
    .values(
        state=sa.bindparam("new_state"),
        reason=sa.bindparam("why"),
        ready_at=sa.bindparam("since"),
        ended_at=sa.bindparam("end"),
    )
)
_ADD_EVENT = Prepared(_insert(event, "run_id", "step", "attempt", "kind", "reason", "at"))
