"""What ended runs and dead workers leave in the state folder: logs, and lock files that proved that a worker lived."""

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from podium.db.schema import attempt, run, worker
from podium.execution.blobs import Cleared
from podium.execution.liveness import is_held


def clear_logs(connection: sa.Connection, folder: Path, since: datetime, *, dry_run: bool) -> Cleared:
    """Remove the logs of runs that ended before `since`; those of others, and of runs nobody knows, stay."""
    files = size = 0
    for run_id in connection.scalars(sa.select(run.c.run_id).where(run.c.ended_at < since).order_by(run.c.run_id)):
        logs = [path for path in (folder / run_id).rglob("*") if path.is_file()]
        files, size = files + len(logs), size + sum(path.stat().st_size for path in logs)
        if logs and not dry_run:
            shutil.rmtree(folder / run_id)
    return Cleared(files, size)


def clear_locks(connection: sa.Connection, folder: Path, before: datetime, *, dry_run: bool) -> int:
    """Remove the old lock files of dead workers, and return how many; one whose attempts are to be rescued stays.

    A free lock is the proof of death that a rescue of these attempts wants.
    """
    running = sa.select(attempt.c.worker_id).where(attempt.c.state == "running")
    idle = set(connection.scalars(sa.select(worker.c.worker_id).where(worker.c.worker_id.not_in(running))))
    count = 0
    for path in folder.glob("*.lock"):
        if path.stem not in idle:
            continue
        with suppress(FileNotFoundError):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before and is_held(path) is False:
                count += 1
                if not dry_run:
                    path.unlink()
    return count
