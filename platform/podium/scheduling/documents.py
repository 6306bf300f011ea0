"""Schedules in the interface's JSON: what is to come, and what became of what was due."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.errors import DefinitionError, UsageError
from podium.scheduling import presence, store
from podium.scheduling.missed import LATE

PREVIEWED_YEARS = range(1900, 9999)
"""Calendars and time zones hold around each of their moments, a schedule's delay before and after it included."""

_MICROSECOND = timedelta(microseconds=1)


def preview(plan: Plan, since: datetime, count: int) -> list[dict[str, Any]]:
    """Return the first `count` ticks of a plan that are due from `since` on, or as many as the calendar has.

    UsageError if the plan has no schedule, or `since` lies outside PREVIEWED_YEARS.
    """
    ticks = plan.ticks
    if ticks is None:
        raise UsageError(
            f"The pipeline {plan.pipeline} has no schedule; give it one, as @pipeline(schedule='0 6 * * *', …)."
        )
    if since.year not in PREVIEWED_YEARS:
        raise UsageError(
            f"A schedule is shown from a time of the years {PREVIEWED_YEARS[0]} to {PREVIEWED_YEARS[-1]} on, not from "
            f"{since.year:04}; give one, as --from 2026-03-01."
        )
    found: list[dict[str, Any]] = []
    begin = since - ticks.offset
    before = ticks.rule.after(begin - timedelta(days=1))
    at, last = begin - _MICROSECOND, None if before is None else before.astimezone(ticks.zone)
    while len(found) < count and (tick := ticks.after(at)) is not None:
        found.append(
            {
                "fires_at": instant(tick.due_at),
                "fires_at_local": tick.due_at.astimezone(ticks.zone).isoformat(),
                "tick_at_local": tick.at.isoformat(),
                "interval": tick.interval.to_document(),
                "interval_name": tick.interval.name,
                "note": ticks.note(tick, last if last is not None and last < tick.at else None),
            }
        )
        at = last = tick.at
    return found


def schedule_documents(connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """Return every schedule that is in force or paused, with its next tick and what became of the last one."""
    return [_schedule(connection, row, now) for row in store.every(connection) if row.removed_at is None]


def is_any_scheduler_alive(connection: sa.Connection, now: datetime) -> bool:
    """Tell whether somebody acts on what is due."""
    return presence.is_any_alive(connection, now)


def _schedule(connection: sa.Connection, row: sa.Row[Any], now: datetime) -> dict[str, Any]:
    problem = row.problem
    try:
        plan: Plan | None = Plan.from_document(row.document)
    except DefinitionError as error:  # of another version of Podium: the others are shown all the same
        plan, problem = None, problem or str(error)
    last = store.last_ticks(connection, row.pipeline, 1)
    overdue = None if row.next_due_at is None or row.next_due_at > now - LATE else (now - row.next_due_at)
    return {
        "pipeline": row.pipeline,
        "schedule": plan and plan.schedule,
        "timezone": plan and plan.timezone,
        "grain": plan and plan.grain,
        "missed": plan and plan.timing.missed,
        "state": "paused" if row.paused_at else "active",
        "paused": None
        if row.paused_at is None
        else {"at": instant(row.paused_at), "by": row.paused_by, "reason": row.paused_reason},
        "resumed": None
        if row.resumed_at is None
        else {"at": instant(row.resumed_at), "by": row.resumed_by, "reason": row.resumed_reason},
        "next_fires_at": instant(row.next_due_at),
        "overdue_seconds": None if overdue is None else overdue.total_seconds(),
        "problem": problem,
        "last": _tick(last[0]) if last else None,
    }


def tick_documents(connection: sa.Connection, pipeline: str, limit: int) -> list[dict[str, Any]]:
    """Return what became of the last ticks of a pipeline's schedule, the newest first."""
    store.get(connection, pipeline)
    return [_tick(row) for row in store.last_ticks(connection, pipeline, limit)]


def _tick(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "tick_at": instant(row.tick_at),
        "due_at": instant(row.due_at),
        "decided_at": instant(row.decided_at),
        "fate": row.fate,
        "late": row.late,
        "run_id": row.run_id,
        "run_state": row.run_state,
        "run_outcome": row.run_outcome,
        "until": instant(row.until),
        "ticks": row.ticks,
        "reason": row.reason,
        "pipeline": row.pipeline,
    }


def instant(at: datetime | None) -> str | None:
    """Return a moment as the interface writes it: ISO 8601 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
