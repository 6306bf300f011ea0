"""Proof of life: each supervisor holds a lock on a file of its own until it dies.

On one host a free lock is proof of death, whatever the clock says. Across hosts only an expired lease tells.
"""

import contextlib
import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path

from podium.execution.workers import WorkerRow


class WorkerLock:
    """Holds a worker's lock; the kernel releases it when this process ends, however it ends."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{worker_id}.lock"
        # Not inherited by the slot host or its slots: only the supervisor's life counts.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self, *, left_attempts: bool) -> None:
        """End the proof of life; the file stays, free, as proof of death where attempts are still to be rescued."""
        if not left_attempts:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self._descriptor)


def host_name() -> str:
    """Return this host's name as workers record it."""
    return socket.gethostname()


def is_dead(worker: WorkerRow, now: datetime) -> bool:
    """Tell whether a worker is known to be dead."""
    if worker.host == host_name():
        held = is_held(Path(worker.lock_path))
        if held is not None:
            return not held
    return worker.lease_expires_at < now


def is_held(path: Path) -> bool | None:
    """Whether some process holds the lock at `path`; None when the file is not (or no longer) there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
