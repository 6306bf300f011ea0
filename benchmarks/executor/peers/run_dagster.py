"""Dagster: a job of five ops, executed in this process, its instance (runs, events) in SQLite files of a folder.

One by one alone: two threads of a process that execute at once wait for each other for ever.
"""

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

RUNS = 30
LENGTH = 5


def main(folder: Path) -> None:
    """Time `RUNS` runs after a warm one."""
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    os.environ["DAGSTER_HOME"] = str(folder)

    from dagster import DagsterInstance, job, op

    @op
    def first() -> int:
        return 0 + 1

    @op
    def add_one(value: int) -> int:
        return value + 1

    @job
    def chain() -> None:
        value = first()
        for number in range(1, LENGTH):
            value = add_one.alias(f"step_{number}")(value)

    logging.disable(logging.WARNING)
    with DagsterInstance.get() as instance:
        assert chain.execute_in_process(instance=instance).output_for_node(f"step_{LENGTH - 1}") == LENGTH
        start = time.perf_counter()
        for _ in range(RUNS):
            assert chain.execute_in_process(instance=instance).success
        seconds = time.perf_counter() - start
    json.dump({"runs": RUNS, "milliseconds_per_step": {"one by one": 1000 * seconds / RUNS / LENGTH}}, sys.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dagster-") as temporary:
        main(Path(temporary))
