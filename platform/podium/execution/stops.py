"""Why runs are stopped, by a person or by their deadline, and which are due to be."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from podium.db.schema import run


@dataclass(frozen=True)
class Stop:
    """Why a run is stopped, or was; one that is stopped at its deadline or later is stopped by it."""

    reason: str
    past_deadline: bool


def stops_of(connection: sa.Connection, run_ids: Collection[str]) -> dict[str, Stop]:
    """Return which of `run_ids` are to be stopped, or were, and why."""
    query = sa.select(run.c.run_id, run.c.reason, run.c.cancel_requested_at, run.c.deadline_at).where(
        run.c.run_id.in_(run_ids), run.c.cancel_requested_at.is_not(None)
    )
    return {
        row.run_id: Stop(row.reason, row.deadline_at is not None and row.cancel_requested_at >= row.deadline_at)
        for row in connection.execute(query)
    }


def overdue_runs(connection: sa.Connection, now: datetime) -> list[str]:
    """Return the open runs whose deadline has come and that are not being stopped yet."""
    query = sa.select(run.c.run_id).where(
        sa.text("run.state IN ('queued', 'running')"),  # word for word the index'
        run.c.deadline_at <= now,
        run.c.cancel_requested_at.is_(None),
    )
    return list(connection.scalars(query))


def deadline_at(connection: sa.Connection, run_id: str) -> datetime | None:
    """Return when a run must have ended, if it must."""
    found: datetime | None = connection.scalar(sa.select(run.c.deadline_at).where(run.c.run_id == run_id))
    return found
