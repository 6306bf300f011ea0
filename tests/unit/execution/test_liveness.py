"""Who is known to be dead."""

import fcntl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from podium.execution.liveness import WorkerLock, host_name, is_dead
from podium.execution.workers import WorkerRow

NOW = datetime(2026, 11, 21, tzinfo=UTC)
VALID, EXPIRED = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)


def worker(path: Path, lease: datetime, host: str | None = None) -> WorkerRow:
    return WorkerRow("w", host or host_name(), 4242, str(path), lease)


def test_a_free_lock_on_this_host_is_proof_of_death_whatever_the_lease_says(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    lock.release(left_attempts=True)
    assert is_dead(worker(lock.path, VALID), NOW)


def test_a_held_lock_on_this_host_is_proof_of_life_whatever_the_lease_says(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    assert not is_dead(worker(lock.path, EXPIRED), NOW)
    lock.release(left_attempts=False)


def test_the_lease_decides_about_another_host(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    assert is_dead(worker(lock.path, EXPIRED, "elsewhere"), NOW)
    assert not is_dead(worker(tmp_path / "none", VALID, "elsewhere"), NOW)
    lock.release(left_attempts=False)


def test_the_lease_decides_where_the_lock_file_is_gone(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    lock.release(left_attempts=False)
    assert not lock.path.exists()
    assert not is_dead(worker(lock.path, VALID), NOW)
    assert is_dead(worker(lock.path, EXPIRED), NOW)


def test_looking_at_a_lock_leaves_it_free(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    lock.release(left_attempts=True)
    assert is_dead(worker(lock.path, VALID), NOW)
    assert is_dead(worker(lock.path, VALID), NOW)


def test_a_program_that_the_supervisor_starts_does_not_keep_its_lock(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w")
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"it runs\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"it runs\n"
    lock.release(left_attempts=True)
    with lock.path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.communicate()
