"""A worker's own row: that it began, that it is alive and what it has, that it ended."""

from datetime import datetime

import sqlalchemy as sa

from podium.db.schema import worker
from podium.execution.capacity import Capacity


def start_worker(
    connection: sa.Connection,
    worker_id: str,
    host: str,
    process_id: int,
    lock_path: str,
    now: datetime,
    *,
    for_any_run: bool = True,
) -> None:
    """Record a worker, so that attempts can name it; one that is not `for_any_run` executes its own command's."""
    connection.execute(
        worker.insert().values(
            worker_id=worker_id,
            host=host,
            process_id=process_id,
            lock_path=lock_path,
            started_at=now,
            for_any_run=for_any_run,
        )
    )


def show_alive(connection: sa.Connection, worker_id: str, capacity: Capacity, now: datetime) -> None:
    """Record that a worker is alive, also one that has nothing to do, and what attempts may reserve of it."""
    connection.execute(
        worker.update().where(worker.c.worker_id == worker_id).values(heartbeat_at=now, **vars(capacity))
    )


def end_worker(connection: sa.Connection, worker_id: str, now: datetime) -> None:
    """Record that a worker ended on its own accord."""
    connection.execute(worker.update().where(worker.c.worker_id == worker_id).values(ended_at=now))
