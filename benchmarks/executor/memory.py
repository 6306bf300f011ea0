"""Whether a supervisor's memory stays as it is over thousands of runs."""

from benchmarks.executor.chain import ADD_ONE, chain_source
from benchmarks.executor.figures import Bar, Figure, Part
from benchmarks.executor.options import Options
from benchmarks.executor.projects import BenchProject
from benchmarks.executor.worker_process import wait_for, worker_process

RUNS = 2_000
FULL_RUNS = 10_000
FIRST = 1_000
BLOCK = 250
LIMIT = 1.05


def measure(options: Options) -> Part:
    """Have `podium worker` execute runs of one step, and read its resident memory after `FIRST` and after all."""
    runs = FULL_RUNS if options.full else RUNS
    bench = BenchProject(options.folder, ADD_ONE + chain_source("single", 1), options.new_database())
    resident = {}
    with worker_process(bench) as process:
        for done in range(BLOCK, runs + 1, BLOCK):
            for run in [bench.start("single") for _ in range(BLOCK)]:
                wait_for(bench, run)
            resident[done] = process.memory_info().rss / 2**20
    ratio = resident[runs] / resident[FIRST]
    return Part(
        f"The supervisor's memory over {runs:,} runs",
        [
            Figure(f"resident after {FIRST:,} runs", resident[FIRST], "MiB", 1.0),
            Figure(f"resident after {runs:,} runs", resident[runs], "MiB", ratio),
        ],
        [Bar(f"after {runs:,} ÷ after {FIRST:,} runs", LIMIT, ratio)],
        [] if options.full else [f"--full executes {FULL_RUNS:,}"],
    )
