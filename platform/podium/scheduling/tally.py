"""How schedules and triggers stand, in as many statements however many there are; for metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Literal, get_args

import sqlalchemy as sa

from podium.db.schema import schedule, trigger_source, trigger_state
from podium.scheduling.trigger_rules import TriggerState, state_of

ScheduleState = Literal["active", "paused"]
SCHEDULE_STATES: tuple[ScheduleState, ...] = get_args(ScheduleState)


@dataclass(frozen=True)
class ScheduleStanding:
    """A schedule in force: `next_due_at` is when its next tick is acted on, None while it is paused or has none."""

    pipeline: str
    state: ScheduleState
    next_due_at: datetime | None


@dataclass(frozen=True)
class TriggerStanding:
    """A trigger in force; `failures` is how often in a row the source that fails longest gave no answer."""

    trigger_id: str
    pipeline: str
    state: TriggerState
    failures: int


def schedules(connection: sa.Connection) -> Sequence[ScheduleStanding]:
    """Return the schedules in force and those that are paused, in no order; reads no plan and no tick."""
    query = sa.select(schedule.c.pipeline, schedule.c.paused_at, schedule.c.next_due_at)
    return [
        ScheduleStanding(row.pipeline, "active" if row.paused_at is None else "paused", row.next_due_at)
        for row in connection.execute(query.where(schedule.c.removed_at.is_(None)))
    ]


def triggers(connection: sa.Connection) -> Sequence[TriggerStanding]:
    """Return the triggers in force; reads no plan, and not what their sources showed."""
    of_trigger = [trigger_state.c[name] for name in ("trigger_id", "pipeline", "problem", "fires_at")]
    query = (
        sa.select(*of_trigger, trigger_source.c.result, trigger_source.c.failures)
        .outerjoin(trigger_source, trigger_source.c.trigger_id == trigger_state.c.trigger_id)
        .where(trigger_state.c.removed_at.is_(None))
        .order_by(trigger_state.c.trigger_id)
    )
    found = []
    for (trigger_id, pipeline, problem, fires_at), rows in groupby(connection.execute(query), lambda row: row[:4]):
        sources = list(rows)
        state = state_of(problem, fires_at, [row.result for row in sources])
        found.append(TriggerStanding(trigger_id, pipeline, state, max(row.failures or 0 for row in sources)))
    return found
