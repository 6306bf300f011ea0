"""DBOS: a workflow of five steps, called in this process, its system database a SQLite file."""

import json
import sys
import tempfile
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

RUNS = 200
LENGTH = 5


@DBOS.step()
def add_one(value: int) -> int:
    """Do nothing."""
    return value + 1


@DBOS.workflow()
def chain() -> int:
    """Call the step five times, each with the result before."""
    value = 0
    for _ in range(LENGTH):
        value = add_one(value)
    return value


def main(folder: Path) -> None:
    """Time `RUNS` runs after a warm one."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder}/dbos.db",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    assert chain() == LENGTH
    start = time.perf_counter()
    for _ in range(RUNS):
        assert chain() == LENGTH
    seconds = time.perf_counter() - start
    DBOS.destroy()
    json.dump({"runs": RUNS, "milliseconds_per_step": 1000 * seconds / RUNS / LENGTH}, sys.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dbos-") as temporary:
        main(Path(temporary))
