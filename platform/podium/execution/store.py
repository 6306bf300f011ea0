"""The slice's writes: each is one conditional statement or one transaction's part, and says whether it won.

Every function takes the open connection of its caller's transaction, so that state, event, ledger entries and
what becomes ready next commit together.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium import ids
from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.db.engine import insert_all_unless_present, insert_unless_present
from podium.db.schema import artifact, attempt, event, output, run, step_run, worker
from podium.errors import Conflict
from podium.execution import queries, readiness
from podium.execution.artifacts import Artifact
from podium.execution.entities import Actor, AttemptEnd
from podium.execution.items import WHOLE, item_name

Settle = Callable[[list[queries.Claimable], int], list[queries.Claimable]]
"""Takes over what has an equal result, and returns up to so many step runs that are to be executed."""


@dataclass(frozen=True)
class Claim:
    """A step run that this worker holds now, with the attempt that holds it."""

    attempt_id: str
    number: int
    step_run_id: str
    step: str
    map_index: int
    run_id: str


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
    uses_cache: bool = True,
) -> tuple[str, bool]:
    """Create a queued run with its waiting step runs; return its id, and False if the key already had one.

    Raises Conflict if another run of the pipeline is open for the interval. The plan must be stored.
    """
    run_id = ids.new_id(now)
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
            "uses_cache": uses_cache,
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
    connection.execute(
        step_run.insert(),
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
    record(connection, run_id, "run.created", now)
    return run_id, True


def open_run(connection: sa.Connection, pipeline: str, interval: Interval) -> str | None:
    """Return the id of the queued or running run of a pipeline for an interval."""
    found: str | None = connection.scalar(
        sa.select(run.c.run_id).where(
            run.c.pipeline == pipeline,
            run.c.interval_start == interval.start,
            run.c.interval_end == interval.end,
            run.c.state.in_(("queued", "running")),
        )
    )
    return found


class LockedRun(NamedTuple):
    """What of a run stays as it is while its lock is held."""

    state: str
    plan_digest: str
    cancel_reason: str | None  # of one that is to be cancelled, or was


def lock_run(connection: sa.Connection, run_id: str) -> LockedRun:
    """Keep others from moving a run, its step runs and attempts, or changing its plan, until the transaction ends.

    Whoever does one of these takes this lock first, so that no two wait for each other.
    """
    cancel_reason = sa.case((run.c.cancel_requested_at.is_not(None), run.c.reason))
    columns = (run.c.state, run.c.plan_digest, cancel_reason)
    row = connection.execute(sa.select(*columns).where(run.c.run_id == run_id).with_for_update(key_share=True)).one()
    return LockedRun(*row)


def start_worker(
    connection: sa.Connection, worker_id: str, host: str, process_id: int, lock_path: str, now: datetime
) -> None:
    """Record a worker, so that attempts can name it."""
    connection.execute(
        worker.insert().values(
            worker_id=worker_id, host=host, process_id=process_id, lock_path=lock_path, started_at=now
        )
    )


def end_worker(connection: sa.Connection, worker_id: str, now: datetime) -> None:
    """Record that a worker ended on its own accord."""
    connection.execute(worker.update().where(worker.c.worker_id == worker_id).values(ended_at=now))


def claim(
    connection: sa.Connection,
    worker_id: str,
    *,
    run_id: str,
    limit: int,
    plan: Plan,
    lease_seconds: float,
    now: datetime,
    settle: Settle | None = None,
) -> list[Claim]:
    """Claim up to `limit` step runs of a run that may start now, each with a new running attempt.

    `settle` is asked where one of them is cached; without it, these are executed as they are.
    """
    state, _, cancel_reason = lock_run(connection, run_id)
    if state not in ("queued", "running") or cancel_reason is not None:
        return []
    claimable = queries.claimable_rows(connection, run_id, limit, now)
    if settle is not None and any(plan.step(row.name).cache for row in claimable):
        claimable = settle(claimable, limit)
    claims = []
    for row in claimable:
        connection.execute(
            step_run.update()
            .where(step_run.c.step_run_id == row.step_run_id)
            .values(state="running", not_before=None, reason=None)
        )
        number = (
            1
            + connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(attempt.c.number), 0)).where(
                    attempt.c.step_run_id == row.step_run_id
                )
            ).scalar_one()
        )
        attempt_id = ids.new_id(now)
        label = item_name(row.name, row.map_index)
        resources = plan.step(row.name).resources
        connection.execute(
            attempt.insert().values(
                attempt_id=attempt_id,
                step_run_id=row.step_run_id,
                number=number,
                state="running",
                worker_id=worker_id,
                code_digest=plan.code_digest,
                reserved_cpu=resources.cpu,
                reserved_memory_bytes=resources.memory_bytes,
                reserved_gpu=resources.gpu,
                lease_expires_at=now + timedelta(seconds=lease_seconds),
                heartbeat_at=now,
                started_at=now,
                log=log_name(run_id, label, number),
            )
        )
        record(connection, run_id, "attempt.started", now, step=label, number=number)
        claims.append(Claim(attempt_id, number, row.step_run_id, row.name, row.map_index, run_id))
    if claims and state == "queued":
        connection.execute(run.update().where(run.c.run_id == run_id).values(state="running", started_at=now))
        record(connection, run_id, "run.started", now)
    return claims


def log_name(run_id: str, step: str, number: int) -> str:
    """Return where an attempt's log lies, relative to the folder of logs; `step` is `fit[2]` for an item."""
    return f"{run_id}/{step}-{number}.log"


def heartbeat(
    connection: sa.Connection,
    worker_id: str,
    attempt_ids: Collection[str],
    lease_seconds: float,
    now: datetime,
) -> set[str]:
    """Renew the leases of a worker's running attempts; return those it still holds.

    An attempt that is missing from the answer was rescued by another worker: nothing more may be written for it.
    """
    held = connection.execute(
        attempt.update()
        .where(
            attempt.c.attempt_id.in_(attempt_ids),
            attempt.c.worker_id == worker_id,
            attempt.c.state == "running",
        )
        .values(heartbeat_at=now, lease_expires_at=now + timedelta(seconds=lease_seconds))
        .returning(attempt.c.attempt_id)
    )
    return set(held.scalars())


def holds(connection: sa.Connection, worker_id: str, attempt_id: str) -> bool:
    """Tell whether a worker still holds an attempt; on PostgreSQL, keep it so until the transaction ends."""
    found = connection.scalar(
        sa.select(attempt.c.attempt_id)
        .where(attempt.c.attempt_id == attempt_id, attempt.c.worker_id == worker_id, attempt.c.state == "running")
        .with_for_update()
    )
    return found is not None


def end_attempt(connection: sa.Connection, attempt_id: str, worker_id: str, end: AttemptEnd, now: datetime) -> bool:
    """End a running attempt; False if the worker no longer holds it, and then nothing was written."""
    ended = connection.execute(
        attempt.update()
        .where(attempt.c.attempt_id == attempt_id, attempt.c.worker_id == worker_id, attempt.c.state == "running")
        .values(
            state=end.state,
            ended_at=now,
            wall_seconds=end.usage.wall_seconds,
            cpu_seconds=end.usage.cpu_seconds,
            peak_memory_bytes=end.usage.peak_memory_bytes,
            meter_source=end.usage.source,
            meter_quality=end.usage.quality,
            error_type=end.error.type if end.error else None,
            error=end.error.message if end.error else None,
        )
    )
    return ended.rowcount == 1


def store_outputs(
    connection: sa.Connection,
    step_run_id: str,
    attempt_id: str,
    outputs: Mapping[str, Artifact],
    now: datetime,
) -> None:
    """Record what a step run produced; artifacts that are known stay as they are."""
    made = {each.digest: each for each in outputs.values()}
    insert_all_unless_present(
        connection,
        artifact,
        [
            {
                "digest": digest,
                "codec": made[digest].codec,
                "size_bytes": made[digest].size_bytes,
                "inline": made[digest].inline,
                "stored_at": now,
            }
            for digest in sorted(made)  # two runs lock in one order
        ],
    )
    rows = [
        {"step_run_id": step_run_id, "name": name, "digest": each.digest, "attempt_id": attempt_id}
        for name, each in outputs.items()
    ]
    if rows:
        connection.execute(output.insert(), rows)


def of_step(run_id: str, step: str) -> sa.Update:
    """Return an update of a step's own row; of a mapped step, of the whole."""
    return step_run.update().where(step_run.c.run_id == run_id, step_run.c.name == step, step_run.c.map_index == WHOLE)


def count_down(connection: sa.Connection, run_id: str, step: str) -> int:
    """Count one less that a step waits on; return how many are left."""
    waits = of_step(run_id, step).values(waiting_on=step_run.c.waiting_on - 1).returning(step_run.c.waiting_on)
    left: int = connection.execute(waits).scalar_one()
    return left


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
    connection.execute(
        event.insert().values(run_id=run_id, step=step, attempt=number, kind=kind, reason=reason, at=now)
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


def leave_cache(connection: sa.Connection, run_id: str) -> None:
    """Let a run compute from now on what others computed before it."""
    connection.execute(run.update().where(run.c.run_id == run_id).values(uses_cache=False))


def request_cancel(connection: sa.Connection, run_id: str, reason: str, now: datetime) -> None:
    """Note that an open run is to be cancelled, once: from now on nothing of it is claimed."""
    lock_run(connection, run_id)
    requested = connection.execute(
        run.update()
        .where(run.c.run_id == run_id, run.c.state.in_(("queued", "running")), run.c.cancel_requested_at.is_(None))
        .values(cancel_requested_at=now, reason=reason)
    )
    if requested.rowcount:
        record(connection, run_id, "run.cancel_requested", now, reason=reason)


def cancel_run(connection: sa.Connection, run_id: str, reason: str, now: datetime) -> bool:
    """End an open run and its open steps as cancelled; False, and nothing written, if it ended or a step is running."""
    lock_run(connection, run_id)
    of_run = step_run.c.run_id == run_id
    if connection.scalar(sa.select(step_run.c.step_run_id).where(of_run, step_run.c.state == "running").limit(1)):
        return False
    requested_at = sa.func.coalesce(run.c.cancel_requested_at, now, type_=run.c.cancel_requested_at.type)
    cancelled = connection.execute(
        run.update()
        .where(run.c.run_id == run_id, run.c.state.in_(("queued", "running")))
        .values(state="cancelled", reason=reason, open_steps=0, cancel_requested_at=requested_at, ended_at=now)
    )
    if not cancelled.rowcount:
        return False
    connection.execute(
        step_run.update()
        .where(of_run, step_run.c.ended_at.is_(None))
        .values(state="cancelled", reason=reason, not_before=None, ended_at=now)
    )
    record(connection, run_id, "run.cancelled", now, reason=reason)
    return True
