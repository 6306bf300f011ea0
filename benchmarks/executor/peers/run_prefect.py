"""Prefect: a flow of five tasks in this process, against a server of its own on 127.0.0.1 with SQLite."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RUNS = 10
LENGTH = 5


def main(folder: Path) -> None:
    """Time `RUNS` runs after a warm one, by which the server is up."""
    os.environ |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }

    from prefect import flow, task

    @task
    def add_one(value: int) -> int:
        return value + 1

    @flow
    def chain() -> int:
        value = 0
        for _ in range(LENGTH):
            value = add_one(value)
        return value

    assert chain() == LENGTH
    one_by_one = timed(lambda: [chain() for _ in range(RUNS)])
    with ThreadPoolExecutor(2) as pool:
        two_at_a_time = timed(lambda: list(pool.map(lambda _: chain(), range(RUNS))))
    per_step = {"one by one": one_by_one, "two at a time": two_at_a_time}
    json.dump({"runs": RUNS, "milliseconds_per_step": per_step}, sys.stdout)


def timed(execute: Callable[[], list[int]]) -> float:
    """Return the milliseconds per step that the runs take which `execute` executes."""
    start = time.perf_counter()
    assert execute() == [LENGTH] * RUNS
    return 1000 * (time.perf_counter() - start) / RUNS / LENGTH


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True) as temporary:
        main(Path(temporary))
