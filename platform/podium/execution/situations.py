"""Reads what may keep an open run waiting: its step runs, its cancel, and the workers that could execute it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.db.schema import attempt, backfill, run, step_run, worker
from podium.db.schema.execution import STEP_ENDED
from podium.execution import liveness, plans, queries
from podium.execution.claims import Limits
from podium.execution.items import WHOLE, item_name
from podium.execution.waiting import Full, OpenStep, SeenWorker, Situation, Waiting, waits_of
from podium.execution.workers import WorkerRow

_SILENT_SECONDS = 60.0
"""A worker of another host that shows no sign of life for so long counts as dead, as after an expired lease."""


def waits_of_run(connection: sa.Connection, run_id: str, now: datetime, limits: Limits | None = None) -> list[Waiting]:
    """Return what each open step run of a run waits for; nothing of one that has ended. The run must exist.

    `limits` are those that this project's workers keep.
    """
    situation = situation_of(connection, run_id, now, limits or Limits())
    return [] if situation is None else waits_of(situation)


def situation_of(connection: sa.Connection, run_id: str, now: datetime, limits: Limits) -> Situation | None:
    """Return the situation of a run; None if it has ended. The run must exist."""
    found = connection.execute(sa.select(run).where(run.c.run_id == run_id)).one()
    if found.state not in ("queued", "running"):
        return None
    rows = queries.step_rows(connection, run_id)
    newest = _newest_attempts(connection, run_id)
    plan = plans.load(connection, found.plan_digest)
    return Situation(
        run_id=run_id,
        plan=plan,
        cancel_reason=found.reason if found.cancel_requested_at is not None else None,
        states={row.name: row.state for row in rows if row.map_index == WHOLE},
        steps=[_open_step(row, newest) for row in rows if row.state not in STEP_ENDED],
        workers=open_workers(connection, now),
        now=now,
        behind=_reached(connection, plan, limits, found.backfill_id) if found.state == "queued" else {},
        full_pools=_full_pools(connection, limits),
    )


def _reached(connection: sa.Connection, plan: Plan, limits: Limits, backfill_id: str | None) -> dict[str, Full]:
    """Return the limits of running runs that keep another one of the plan, and of a backfill, queued."""
    found = {}
    of_backfill = sa.select(backfill.c.max_parallel).where(backfill.c.backfill_id == backfill_id)
    own: int | None = connection.scalar(of_backfill) if backfill_id is not None else None
    for kind, name, limit, column in (
        ("pipeline", plan.pipeline, limits.pipelines.get(plan.pipeline), run.c.pipeline),
        ("model", plan.model, limits.models.get(plan.model), run.c.model),
        ("backfill", backfill_id, own, run.c.backfill_id),
    ):
        query = sa.select(run.c.run_id).where(column == name, sa.text("run.state = 'running'")).order_by(run.c.run_id)
        if limit is not None and len(busy := list(connection.scalars(query))) >= limit:
            found[f"{kind} {name}"] = Full(limit, busy)
    return found


def _full_pools(connection: sa.Connection, limits: Limits) -> dict[str, Full]:
    """Return the pools in which no more attempts may run."""
    busy: dict[str, list[str]] = {}
    for each in connection.execute(_RUNNING.where(attempt.c.pool.is_not(None))):
        busy.setdefault(each.pool, []).append(f"{item_name(each.name, each.map_index)} of run {each.run_id}")
    return {pool: Full(limit, busy[pool]) for pool, limit in limits.pools.items() if len(busy.get(pool, ())) >= limit}


def open_workers(connection: sa.Connection, now: datetime) -> list[SeenWorker]:
    """Return the workers that have not ended on their own accord, and whether each is known to be dead."""
    rows = connection.execute(sa.select(worker).where(worker.c.ended_at.is_(None)).order_by(worker.c.worker_id)).all()
    busy: dict[str, list[tuple[str, str]]] = {}
    leases: dict[str, datetime] = {}
    for each in connection.execute(_RUNNING):
        busy.setdefault(each.worker_id, []).append((each.run_id, item_name(each.name, each.map_index)))
        leases[each.worker_id] = max(each.lease_expires_at, leases.get(each.worker_id, each.lease_expires_at))
    return [
        SeenWorker(
            worker_id=row.worker_id,
            host=row.host,
            process_id=row.process_id,
            alive=not liveness.is_dead(_with_lease(row, leases), now),
            draining=row.draining_at is not None,
            for_any_run=row.for_any_run,
            slots=row.slots,
            cpu=row.cpu,
            memory_bytes=row.memory_bytes,
            gpu=row.gpu,
            labels=tuple(row.labels or ()),
            busy=tuple(busy.get(row.worker_id, ())),
        )
        for row in rows
    ]


def _with_lease(row: sa.Row[Any], leases: Mapping[str, datetime]) -> WorkerRow:
    """Return a worker with the latest time until which it counts as alive where nobody can look at its lock."""
    seen = (row.heartbeat_at or row.started_at) + timedelta(seconds=_SILENT_SECONDS)
    return WorkerRow(row.worker_id, row.host, row.process_id, row.lock_path, max(seen, leases.get(row.worker_id, seen)))


def _newest_attempts(connection: sa.Connection, run_id: str) -> dict[str, sa.Row[Any]]:
    """Return the newest attempt of each step run of a run that has not ended, by the step run's id."""
    rows: sa.CursorResult[Any] = connection.execute(
        sa.select(attempt.c.step_run_id, attempt.c.number, attempt.c.state, attempt.c.started_at, attempt.c.worker_id)
        .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
        .where(step_run.c.run_id == run_id, step_run.c.ended_at.is_(None))
        .order_by(attempt.c.number)
    )
    return {row.step_run_id: row for row in rows}


def _open_step(row: sa.Row[Any], newest: Mapping[str, sa.Row[Any]]) -> OpenStep:
    last = newest.get(row.step_run_id)
    return OpenStep(
        name=row.name,
        map_index=row.map_index,
        state=row.state,
        reason=row.reason,
        ready_at=row.ready_at,
        not_before=row.not_before,
        decide_by=row.decide_by,
        failures=row.failures,
        attempt=0 if last is None else last.number,
        snoozed=last is not None and last.state == "snoozed",
        attempt_started_at=None if last is None else last.started_at,
        worker_id=last.worker_id if last is not None and last.state == "running" else None,
    )


_RUNNING = (
    sa.select(
        attempt.c.worker_id,
        attempt.c.lease_expires_at,
        attempt.c.pool,
        step_run.c.run_id,
        step_run.c.name,
        step_run.c.map_index,
    )
    .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
    .where(sa.text("attempt.state = 'running'"))  # word for word the index's
    .order_by(attempt.c.started_at, step_run.c.position, step_run.c.map_index)
)
