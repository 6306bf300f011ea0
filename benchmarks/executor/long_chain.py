"""A chain of 1000 steps against ten of 100, one run at a time: what a step costs may not grow with its run."""

from benchmarks.executor.chain import ADD_ONE, chain_source
from benchmarks.executor.figures import Bar, Figure, Part, fastest, timed
from benchmarks.executor.options import Options
from benchmarks.executor.projects import BenchProject, executing

SHORT = 100
LONG = 1000
LIMIT = 1.3


def measure(options: Options) -> Part:
    """Time both, in turn, from asking for the run to its end."""
    source = ADD_ONE + chain_source("short", SHORT) + chain_source("long", LONG)
    bench = BenchProject(options.folder, source, options.new_database())
    short, long = [], []

    with executing(bench, "short") as execute:  # which executes runs of the other as well: their file is the same
        execute(bench.start("short"))
        for _ in range(options.rounds):
            short.append(timed(lambda: [execute(bench.start("short")) for _ in range(LONG // SHORT)]))
            long.append(timed(lambda: bench.check([execute(bench.start("long"))], LONG)))
    per_short, per_long = fastest(short) / LONG * 1000, fastest(long) / LONG * 1000
    return Part(
        f"A chain of {LONG} steps, and one of {SHORT}",
        [
            Figure(f"chain of {SHORT}", per_short, "ms/step", 1.0),
            Figure(f"chain of {LONG}", per_long, "ms/step", per_long / per_short),
        ],
        [Bar(f"a step of {LONG} ÷ a step of {SHORT}", LIMIT, per_long / per_short)],
        [f"fastest of {options.rounds} rounds of {LONG} steps each"],
    )
