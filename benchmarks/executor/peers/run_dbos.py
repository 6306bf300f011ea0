"""DBOS: a workflow of five steps, called in this process, its system database a SQLite file."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    one_by_one = timed(lambda: [chain() for _ in range(RUNS)])
    with ThreadPoolExecutor(2) as pool:
        two_at_a_time = timed(lambda: list(pool.map(lambda _: chain(), range(RUNS))))
    DBOS.destroy()
    per_step = {"one by one": one_by_one, "two at a time": two_at_a_time}
    json.dump({"runs": RUNS, "milliseconds_per_step": per_step}, sys.stdout)


def timed(execute: Callable[[], list[int]]) -> float:
    """Return the milliseconds per step that the runs take which `execute` executes."""
    start = time.perf_counter()
    assert execute() == [LENGTH] * RUNS
    return 1000 * (time.perf_counter() - start) / RUNS / LENGTH


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dbos-") as temporary:
        main(Path(temporary))
