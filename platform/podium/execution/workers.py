"""How a worker works, and its own row: that it began, that it is alive and what it has, that it ended."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from podium.db.schema import attempt, step_run, worker
from podium.execution.capacity import Capacity
from podium.execution.claims import Limits


@dataclass(frozen=True)
class WorkerRow:
    """A worker that still has running attempts."""

    worker_id: str
    host: str
    process_id: int
    lock_path: str
    lease_expires_at: datetime


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works: lease length, what it may claim, where logs and locks lie, whether it takes up any run.

    A step whose run is stopped has `cancel_grace_seconds` to tidy up; what runs when the worker is told to stop has
    `drain_seconds` to come to its end.
    """

    lease_seconds: float
    log_folder: Path
    lock_folder: Path
    limits: Limits = field(default_factory=Limits)
    labels: frozenset[str] = frozenset()
    cancel_grace_seconds: float = 10.0
    drain_seconds: float = 0.0
    for_any_run: bool = True


def start_worker(
    connection: sa.Connection,
    worker_id: str,
    host: str,
    process_id: int,
    lock_path: str,
    now: datetime,
    capacity: Capacity | None = None,
    labels: Collection[str] = (),
    *,
    for_any_run: bool = True,
) -> None:
    """Record a worker with what attempts may reserve of it, so that attempts can name it.

    One that is not `for_any_run` executes runs of its own command only.
    """
    connection.execute(
        worker.insert().values(
            worker_id=worker_id,
            host=host,
            process_id=process_id,
            lock_path=lock_path,
            started_at=now,
            heartbeat_at=now,
            labels=sorted(labels),
            for_any_run=for_any_run,
            **(vars(capacity) if capacity else {}),
        )
    )


def begin_to_drain(connection: sa.Connection, worker_id: str, now: datetime) -> None:
    """Record that a worker claims nothing more."""
    connection.execute(worker.update().where(worker.c.worker_id == worker_id).values(draining_at=now))


def show_alive(connection: sa.Connection, worker_id: str, capacity: Capacity, now: datetime) -> None:
    """Record that a worker is alive, also one that has nothing to do, and what attempts may reserve of it."""
    connection.execute(
        worker.update().where(worker.c.worker_id == worker_id).values(heartbeat_at=now, **vars(capacity))
    )


def end_worker(connection: sa.Connection, worker_id: str, now: datetime) -> None:
    """Record that a worker ended on its own accord."""
    connection.execute(worker.update().where(worker.c.worker_id == worker_id).values(ended_at=now))


def with_attempts(connection: sa.Connection, *, run_id: str | None = None) -> list[WorkerRow]:
    """Return every worker that has running attempts (of one run, if asked), with the latest expiry of their leases."""
    query = (
        sa.select(
            worker.c.worker_id,
            worker.c.host,
            worker.c.process_id,
            worker.c.lock_path,
            sa.func.max(attempt.c.lease_expires_at).label("lease_expires_at"),
        )
        .join(attempt, attempt.c.worker_id == worker.c.worker_id)
        .where(attempt.c.state == "running")
        .group_by(worker.c.worker_id, worker.c.host, worker.c.process_id, worker.c.lock_path)
    )
    if run_id is not None:
        of_run = sa.select(step_run.c.step_run_id).where(step_run.c.run_id == run_id)
        query = query.where(attempt.c.step_run_id.in_(of_run))
    return [WorkerRow(**row._asdict()) for row in connection.execute(query)]
