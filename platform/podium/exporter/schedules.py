"""Whether what is due is acted on: schedules, triggers, and the schedulers that act.

How ticks ended is in no metric: `schedule_tick` grows for ever, and no scrape may count it from end to end.
"""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from prometheus_client.core import Metric

from podium.exporter.families import gauge
from podium.scheduling import presence, tally
from podium.scheduling.trigger_rules import TRIGGER_STATES


def collect_schedules(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Read the schedules in force, and how many schedulers are alive; a schedule that was removed is absent."""
    found = tally.schedules(connection)
    yield gauge(
        "podium_schedule_state",
        "1 for the state that a schedule is in, 0 for the other.",
        ("pipeline", "state"),
        {(each.pipeline, state): each.state == state for each in found for state in tally.SCHEDULE_STATES},
    )
    yield gauge(
        "podium_schedule_overdue_seconds",
        "How long the next tick of a schedule has been due and nobody has acted on it; 0 while it is to come. Absent "
        "while the schedule is paused, or has no tick to come.",
        ("pipeline",),
        {
            (each.pipeline,): max((now - each.next_due_at).total_seconds(), 0.0)
            for each in found
            if each.next_due_at is not None
        },
    )
    yield gauge(
        "podium_scheduler_up",
        f"Schedulers that gave a sign of life within {presence.SILENT.total_seconds():.0f} seconds.",
        (),
        {(): presence.count_alive(connection, now)},
    )


def collect_triggers(connection: sa.Connection, now: datetime) -> Iterator[Metric]:
    """Read the triggers in force; one that was removed is absent."""
    del now
    found = tally.triggers(connection)
    yield gauge(
        "podium_trigger_state",
        "1 for the state that a trigger is in, 0 for the others; unknown: the last look at a source had no answer.",
        ("pipeline", "trigger", "state"),
        {(each.pipeline, each.trigger_id, state): each.state == state for each in found for state in TRIGGER_STATES},
    )
    yield gauge(
        "podium_trigger_failures",
        "Looks in a row that had no answer, of the source of a trigger that had none for the longest.",
        ("pipeline", "trigger"),
        {(each.pipeline, each.trigger_id): each.failures for each in found},
    )
