"""Step runs that snooze until something is decided outside their run: which they are, and how they are woken."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from podium.db.engine import wake_workers
from podium.db.schema import step_run
from podium.execution.entities import step_key_of
from podium.execution.items import item_name


def wake(connection: sa.Connection, run_id: str, step_key: str, now: datetime) -> bool:
    """Make a step run that snoozes due at once, in the caller's transaction; False where it does not snooze."""
    found = _put_off(connection, run_id).get(step_key)
    if found is None:
        return False
    woken = connection.execute(
        step_run.update()
        .where(step_run.c.step_run_id == found, step_run.c.state == "waiting", step_run.c.not_before > now)
        .values(not_before=now)
    )
    if woken.rowcount == 1:
        wake_workers(connection)
    return woken.rowcount == 1


def all_wait_for(connection: sa.Connection, run_id: str, step_keys: Collection[str]) -> bool:
    """Tell whether every step run of a run that waits for a time is one of those keys."""
    return _put_off(connection, run_id).keys() <= set(step_keys)


def _put_off(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Return the step runs that wait for a time, by key."""
    columns = step_run.c.step_run_id, step_run.c.name, step_run.c.map_index, step_run.c.generation
    rows = connection.execute(
        sa.select(*columns).where(
            step_run.c.run_id == run_id, step_run.c.state == "waiting", step_run.c.not_before.is_not(None)
        )
    )
    return {step_key_of(run_id, item_name(row.name, row.map_index), row.generation): row.step_run_id for row in rows}
