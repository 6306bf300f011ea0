"""What `podium worker` uses while there is nothing to do, it and all its processes, and how soon it takes up a run."""

import random
import statistics
import time

import psutil
import sqlalchemy as sa

from benchmarks.executor.figures import Bar, Figure, Part
from benchmarks.executor.options import Options
from benchmarks.executor.projects import PIPELINE, BenchProject
from benchmarks.executor.worker_process import wait_for, worker_process
from podium.db.schema import step_run

SECONDS = 15.0
SETTLING_SECONDS = 3.0
PERCENT_LIMIT = 1.0
RUNS = 40
PAUSE_SECONDS = (0.1, 0.6)
"""Between runs: of random length, so that a worker that polls is met at any moment of its interval."""
LATENCY_LIMIT = 10.0

STAMP = f"""

@step
def stamp(day: Interval) -> int:
    now = time.time_ns()
    Path(f"stamp-{{day.name}}").write_text(str(now))
    return now
{PIPELINE}def stamped(day: Interval) -> None:
    stamp(day)
"""


def measure(options: Options) -> Part:
    """Let a warm worker be idle, and then start one run after another."""
    bench = BenchProject(options.folder, STAMP, options.new_database())
    with worker_process(bench) as process:
        wait_for(bench, bench.start("stamped"))
        time.sleep(SETTLING_SECONDS)
        before = _cpu_seconds(process)
        time.sleep(SECONDS)
        percent = 100 * (_cpu_seconds(process) - before) / SECONDS
        delays = sorted(_delay_milliseconds(bench) for _ in range(RUNS))
    median = statistics.median(delays)
    return Part(
        "An idle `podium worker`",
        [
            Figure(f"of one core, over {SECONDS:g} s", percent, "%"),
            Figure('from "ready" to "step code runs", fastest', delays[0], "ms"),
            Figure(f"median of {RUNS}", median, "ms"),
            Figure("slowest", delays[-1], "ms"),
        ],
        [
            Bar("% of a core while idle", PERCENT_LIMIT, percent),
            Bar('ms from "ready" to "step code runs", median', LATENCY_LIMIT, median),
        ],
        ["the delay includes the commit that makes the step ready"],
    )


def _cpu_seconds(process: psutil.Process) -> float:
    """Return what a process and its living descendants have used."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def _delay_milliseconds(bench: BenchProject) -> float:
    """Start a run and return how long its step was ready before its first line ran."""
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - no secret
    run = bench.start("stamped")
    wait_for(bench, run)
    with bench.project.database.read() as connection:
        ready_at = connection.execute(
            sa.select(step_run.c.ready_at).where(step_run.c.run_id == run.run_id)
        ).scalar_one()
    stamp = int((bench.root / f"stamp-{run.interval.name}").read_text())
    milliseconds: float = stamp / 1e6 - ready_at.timestamp() * 1e3
    return milliseconds
