"""The SQL of backfills; every function takes the open connection of its caller's transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.db.prepared import Prepared
from podium.db.schema import attempt, backfill, backfill_interval, run, step_run
from podium.db.schema import plan as plan_table
from podium.errors import NotFound
from podium.scheduling.backfill_entities import Backfill, BackfillRequest, FilledInterval, Standing
from podium.scheduling.backfill_plan import HISTORY_RUNS, Action, KnownRun, StepHistory

_WHOLE = -1
_LOOKED_AT = 5 * HISTORY_RUNS
"""Among so many of the newest runs the history of each step is looked for: not every run executes every step."""


def add(connection: sa.Connection, backfill_id: str, asked: BackfillRequest, now: datetime) -> None:
    """Put a backfill on record, its intervals not yet; the plan must be stored."""
    connection.execute(
        backfill.insert().values(
            backfill_id=backfill_id,
            pipeline=asked.plan.pipeline,
            plan_digest=asked.plan.digest,
            interval_start=asked.range.start,
            interval_end=asked.range.end,
            parameters=dict(asked.parameters),
            first=asked.order,
            max_parallel=asked.max_parallel,
            failed_only=asked.failed_only,
            reprocess=asked.reprocess,
            uses_cache=asked.uses_cache,
            actor=asked.actor,
            actor_verified=asked.actor_verified,
            reason=asked.reason,
            created_at=now,
        )
    )


def add_intervals(connection: sa.Connection, backfill_id: str, rows: Iterable[tuple[Interval, Action, str]]) -> None:
    """Record what becomes of each interval, in the order of their turns: its action, and its run."""
    _ADD_INTERVAL.run_all(
        connection,
        [
            {
                "backfill_id": backfill_id,
                "position": position,
                "interval_start": interval.start,
                "interval_end": interval.end,
                "action": action,
                "run_id": run_id,
            }
            for position, (interval, action, run_id) in enumerate(rows)
        ],
    )


def get(connection: sa.Connection, backfill_id: str) -> Backfill:
    """Return a backfill by its id, or by a beginning or an end of it that only one has; NotFound otherwise."""
    found = connection.execute(_BACKFILLS.where(backfill.c.backfill_id == backfill_id)).all()
    if not found and backfill_id.isalnum():
        part = sa.or_(backfill.c.backfill_id.like(f"{backfill_id}%"), backfill.c.backfill_id.like(f"%{backfill_id}"))
        found = connection.execute(_BACKFILLS.where(part).limit(2)).all()
    if len(found) != 1:
        fact = "More than one backfill begins or ends with" if found else "There is no backfill"
        raise NotFound(f"{fact} {backfill_id!r}; `podium backfills list` shows them.")
    return _backfill(found[0])


def newest(connection: sa.Connection, *, pipeline: str | None, limit: int) -> list[Backfill]:
    """Return backfills, the newest first."""
    query = _BACKFILLS.order_by(backfill.c.created_at.desc(), backfill.c.backfill_id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(backfill.c.pipeline == pipeline)
    return [_backfill(row) for row in connection.execute(query)]


def intervals(connection: sa.Connection, found: Backfill) -> list[FilledInterval]:
    """Return the intervals of a backfill in the order of their turns."""
    zone = found.range.start.tzinfo
    query = (
        sa.select(backfill_interval, run.c.state, run.c.outcome)
        .join(run, run.c.run_id == backfill_interval.c.run_id)
        .where(backfill_interval.c.backfill_id == found.backfill_id)
        .order_by(backfill_interval.c.position)
    )
    return [
        FilledInterval(
            Interval(row.interval_start.astimezone(zone), row.interval_end.astimezone(zone)),
            row.action,
            row.run_id,
            row.state,
            row.outcome,
        )
        for row in connection.execute(query)
    ]


def standings(connection: sa.Connection, backfill_ids: Collection[str]) -> dict[str, Standing]:
    """Return how the intervals of each backfill stand."""
    query = (
        sa.select(backfill_interval.c.backfill_id, run.c.state, sa.func.count())
        .join(run, run.c.run_id == backfill_interval.c.run_id)
        .where(backfill_interval.c.backfill_id.in_(backfill_ids))
        .group_by(backfill_interval.c.backfill_id, run.c.state)
    )
    counts: dict[str, dict[str, int]] = {backfill_id: {} for backfill_id in backfill_ids}
    for backfill_id, state, count in connection.execute(query):
        counts[backfill_id][state] = count
    return {backfill_id: Standing(**found) for backfill_id, found in counts.items()}


def going_on(connection: sa.Connection, backfill_ids: Collection[str]) -> set[str]:
    """Return the backfills of which a run that they made is open, stands for its interval and is not asked to end."""
    query = (
        sa.select(backfill_interval.c.backfill_id)
        .join(run, run.c.run_id == backfill_interval.c.run_id)
        .where(
            backfill_interval.c.backfill_id.in_(backfill_ids),
            run.c.backfill_id == backfill_interval.c.backfill_id,
            run.c.state.in_(("queued", "running")),
            run.c.cancel_requested_at.is_(None),
        )
    )
    return set(connection.scalars(query.distinct()))


@dataclass(frozen=True)
class OwnRun:
    """A run that a backfill made."""

    run_id: str
    state: str
    interval: Interval


def own_runs(connection: sa.Connection, found: Backfill, states: Collection[str]) -> list[OwnRun]:
    """Return the runs in some states that a backfill made, by their turn."""
    zone = found.range.start.tzinfo
    query = (
        sa.select(run.c.run_id, run.c.state, run.c.interval_start, run.c.interval_end)
        .where(run.c.backfill_id == found.backfill_id, run.c.state.in_(states))
        .order_by(run.c.rank_at, run.c.run_id)
    )
    return [
        OwnRun(
            row.run_id,
            row.state,
            Interval(row.interval_start.astimezone(zone), row.interval_end.astimezone(zone)),
        )
        for row in connection.execute(query)
    ]


def known_runs(connection: sa.Connection, pipeline: str, span: Interval) -> dict[Interval, list[KnownRun]]:
    """Return the runs of a pipeline for intervals within a span, those of each interval the newest first."""
    query = (
        sa.select(
            run.c.run_id,
            run.c.interval_start,
            run.c.interval_end,
            run.c.parameters,
            run.c.state,
            run.c.outcome,
            run.c.ended_at,
        )
        .where(run.c.pipeline == pipeline, run.c.interval_start >= span.start, run.c.interval_end <= span.end)
        .order_by(run.c.interval_start, run.c.created_at.desc(), run.c.run_id.desc())
    )
    found: dict[Interval, list[KnownRun]] = {}
    for row in connection.execute(query):
        interval = Interval(row.interval_start, row.interval_end)
        known = KnownRun(row.run_id, interval, row.parameters, row.state, row.outcome, row.ended_at)
        found.setdefault(interval, []).append(known)
    return found


def cancel(connection: sa.Connection, backfill_id: str, by: str, reason: str, now: datetime) -> None:
    """Note that a backfill is cancelled, by whom and why; of one that is already, the first reason stays."""
    connection.execute(
        backfill.update()
        .where(backfill.c.backfill_id == backfill_id, backfill.c.cancelled_at.is_(None))
        .values(cancelled_at=now, cancelled_by=by, cancelled_reason=reason)
    )


def go_on(connection: sa.Connection, backfill_id: str) -> None:
    """Note that a backfill is not cancelled any more; the events of its runs tell that they were, and by whom."""
    connection.execute(
        backfill.update()
        .where(backfill.c.backfill_id == backfill_id, backfill.c.cancelled_at.is_not(None))
        .values(cancelled_at=None, cancelled_by=None, cancelled_reason=None)
    )


def stand_for(connection: sa.Connection, backfill_id: str, start: datetime, action: Action, run_id: str) -> None:
    """Let another run than before stand for an interval."""
    connection.execute(
        backfill_interval.update()
        .where(backfill_interval.c.backfill_id == backfill_id, backfill_interval.c.interval_start == start)
        .values(action=action, run_id=run_id)
    )


def newest_succeeded(connection: sa.Connection, pipeline: str) -> list[str]:
    """Return the newest runs of a pipeline that succeeded, the newest first: what an estimate rests on."""
    query = sa.select(run.c.run_id).where(run.c.pipeline == pipeline, run.c.state == "succeeded")
    return list(connection.scalars(query.order_by(run.c.created_at.desc(), run.c.run_id.desc()).limit(_LOOKED_AT)))


def history(
    connection: sa.Connection, plan: Plan, run_ids: Sequence[str], costs: Mapping[str, Decimal | None]
) -> dict[str, StepHistory]:
    """Return what each step took in the newest of some runs, HISTORY_RUNS at most; `costs` are by attempt.

    Of a mapped step all items count together. A step that was skipped took nothing; one that took over a cached result
    tells nothing.
    """
    steps = connection.execute(
        sa.select(step_run.c.run_id, step_run.c.name, step_run.c.state, step_run.c.cached).where(
            step_run.c.run_id.in_(run_ids), step_run.c.map_index == _WHOLE
        )
    ).all()
    attempts: dict[tuple[str, str], list[Any]] = {}
    for each in connection.execute(
        sa.select(step_run.c.run_id, step_run.c.name, attempt.c.attempt_id, attempt.c.wall_seconds)
        .join(attempt, attempt.c.step_run_id == step_run.c.step_run_id)
        .where(step_run.c.run_id.in_(run_ids), attempt.c.state == "succeeded")
    ):
        attempts.setdefault((each.run_id, each.name), []).append(each)
    newest_first = {run_id: place for place, run_id in enumerate(run_ids)}
    found: dict[str, StepHistory] = {}
    names = {node.name for node in plan.steps}
    for row in sorted(steps, key=lambda row: newest_first[row.run_id]):
        own = attempts.get((row.run_id, row.name), [])
        before = found.get(row.name, StepHistory(0, 0.0, Fraction(0)))
        if row.name not in names or row.cached or before.runs == HISTORY_RUNS or not (own or row.state == "skipped"):
            continue
        found[row.name] = _and(before, own, costs)
    return found


def _and(before: StepHistory, own: Sequence[Any], costs: Mapping[str, Decimal | None]) -> StepHistory:
    cost = before.cost
    for each in own:
        one = costs.get(each.attempt_id)
        cost = None if cost is None or one is None else cost + Fraction(one)
    return StepHistory(before.runs + 1, before.wall_seconds + sum(each.wall_seconds for each in own), cost)


def _backfill(row: sa.Row[Any]) -> Backfill:
    zone = ZoneInfo(row.timezone)
    return Backfill(
        backfill_id=row.backfill_id,
        pipeline=row.pipeline,
        plan_digest=row.plan_digest,
        range=Interval(row.interval_start.astimezone(zone), row.interval_end.astimezone(zone)),
        parameters=row.parameters,
        order=row.first,
        max_parallel=row.max_parallel,
        failed_only=row.failed_only,
        reprocess=row.reprocess,
        uses_cache=row.uses_cache,
        actor=row.actor,
        actor_verified=row.actor_verified,
        reason=row.reason,
        created_at=row.created_at,
        cancelled_at=row.cancelled_at,
        cancelled_by=row.cancelled_by,
        cancelled_reason=row.cancelled_reason,
    )


_BACKFILLS = sa.select(backfill, plan_table.c.document["timezone"].as_string().label("timezone")).join(
    plan_table, plan_table.c.digest == backfill.c.plan_digest
)
_COLUMNS = ("backfill_id", "position", "interval_start", "interval_end", "action", "run_id")
_ADD_INTERVAL = Prepared(backfill_interval.insert().values({name: sa.bindparam(name) for name in _COLUMNS}))
