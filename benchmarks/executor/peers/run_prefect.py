"""Prefect: a flow of five tasks in this process, against a server of its own on 127.0.0.1 with SQLite."""

import json
import os
import sys
import tempfile
import time
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
    start = time.perf_counter()
    for _ in range(RUNS):
        assert chain() == LENGTH
    seconds = time.perf_counter() - start
    json.dump({"runs": RUNS, "milliseconds_per_step": 1000 * seconds / RUNS / LENGTH}, sys.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True) as temporary:
        main(Path(temporary))
