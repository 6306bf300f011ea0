"""Step runs that snooze until something is decided outside their run: which they are, and how they are woken."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from podium.db.engine import wake_workers
from podium.db.schema import attempt, run, step_run
from podium.execution.entities import step_key_of
from podium.execution.items import item_name


def wake_model(connection: sa.Connection, model: str, now: datetime) -> None:
    """Make every step run due at once that snoozes in a run of `model`, in the caller's transaction.

    Each looks for itself whether it was what it waits for. One that backs off after a failure sleeps on.
    """
    last_attempt = (
        sa.select(attempt.c.state)
        .where(attempt.c.step_run_id == step_run.c.step_run_id)
        .order_by(attempt.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    woken = connection.execute(
        step_run.update()
        .where(
            step_run.c.state == "waiting",
            step_run.c.not_before > now,
            step_run.c.run_id.in_(sa.select(run.c.run_id).where(run.c.model == model, run.c.ended_at.is_(None))),
            last_attempt == "snoozed",
        )
        .values(not_before=now)
    )
    if woken.rowcount:
        wake_workers(connection)


def all_wait_for(connection: sa.Connection, run_id: str, step_keys: Collection[str]) -> bool:
    """Tell whether every step run of a run that waits for a time is one of those keys."""
    return put_off(connection, run_id).keys() <= set(step_keys)


def put_off(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Return the steps of which a step run waits for a time, by the key of that."""
    columns = step_run.c.name, step_run.c.map_index, step_run.c.generation
    rows = connection.execute(
        sa.select(*columns).where(
            step_run.c.run_id == run_id, step_run.c.state == "waiting", step_run.c.not_before.is_not(None)
        )
    )
    return {step_key_of(run_id, item_name(row.name, row.map_index), row.generation): row.name for row in rows}
