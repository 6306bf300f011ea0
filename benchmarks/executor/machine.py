"""Where the benchmark ran: ratios carry over to other machines, times do not."""

import os
import platform
import sqlite3
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.executor.figures import timed

_COMMITS = 200


@dataclass(frozen=True)
class Machine:
    """What the times depend on; a commit is that of one row to SQLite in WAL mode with `synchronous = FULL`."""

    cores: int
    python: str
    commit_milliseconds: float
    load: float

    @property
    def text(self) -> str:
        """All of it in one line."""
        busy = (
            ""
            if self.load <= self.cores / 2
            else "\nOther work is going on: the ratios to the floors come out too good."
        )
        return (
            f"{self.cores} cores, load {self.load:.2f} before the start, Python {self.python}, "
            f"a durable commit to SQLite takes {self.commit_milliseconds:.2f} ms{busy}"
        )


def this_machine() -> Machine:
    """Look at this machine."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="executor-") as folder:
        commit = _commit_milliseconds(Path(folder) / "commits.db")
    return Machine(len(os.sched_getaffinity(0)), platform.python_version(), commit, load)


def _commit_milliseconds(path: Path) -> float:
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (value INTEGER)")
    seconds = [timed(lambda: database.execute("INSERT INTO t VALUES (1)")) for _ in range(_COMMITS)]
    database.close()
    return 1000 * statistics.median(seconds)
