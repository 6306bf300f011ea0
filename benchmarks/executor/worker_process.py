"""`podium worker` as a process of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.executor.projects import BenchProject
from podium.execution import queries
from podium.execution.entities import Run

_PATIENCE_SECONDS = 60.0


@contextmanager
def worker_process(bench: BenchProject) -> Iterator[psutil.Process]:
    """Start `podium worker` and wait until it serves; it is stopped at the end of the block."""
    log = bench.root / "worker.log"
    command = [str(Path(sys.executable).with_name("podium")), "worker"]
    with log.open("w") as output, subprocess.Popen(command, cwd=bench.root, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while "worker started" not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"`podium worker` did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_PATIENCE_SECONDS)


def wait_for(bench: BenchProject, run: Run, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until a run has succeeded; one that has not, in so many seconds, ends the benchmark."""
    deadline = time.monotonic() + seconds
    while True:
        with bench.project.database.read() as connection:
            now = queries.get_run(connection, run.run_id)
        if now.state == "succeeded":
            return
        if now.state not in ("queued", "running") or time.monotonic() > deadline:
            sys.exit(f"The run {run.run_id} is {now.state} ({now.reason}) after {seconds:g} s")
        time.sleep(0.02)
