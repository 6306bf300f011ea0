"""1 → 200 → 1 on two workers: a step that returns a list, a step for each item, a step that takes their results."""

from itertools import count

from benchmarks.executor.chain import ADD_ONE, FLOOR, PODIUM
from benchmarks.executor.figures import Bar, Figure, Part, fastest, timed
from benchmarks.executor.floors import FanOut, Processes, floor
from benchmarks.executor.options import Options
from benchmarks.executor.projects import PIPELINE, BenchProject, executing

WIDTH = 200
STEPS = WIDTH + 2
RUNS = 3
"""Runs in a round, one after another."""
LIMIT = 12.0

SOURCE = f"""

@step
def numbers(count: int) -> list[int]:
    return list(range(count))


@step
def collect(values: list[int]) -> int:
    return sum(values)
{PIPELINE}def fan_out(day: Interval) -> None:
    collect(add_one.map(numbers({WIDTH})))
"""


def measure(options: Options) -> Part:
    """Time both, in turn, from asking for the run to its end."""
    ids = count()
    with floor(options.folder, Processes) as supervisor:
        bench = BenchProject(options.folder, ADD_ONE + SOURCE, options.new_database())

        def by_hand() -> None:
            for _ in range(RUNS):
                run = FanOut(next(ids), WIDTH)
                supervisor.record([run])
                supervisor.execute([run])

        def by_podium() -> None:
            bench.check([execute(bench.start("fan_out")) for _ in range(RUNS)], STEPS)

        with executing(bench, "fan_out") as execute:
            by_hand()
            by_podium()
            rounds = [(timed(by_hand), timed(by_podium)) for _ in range(options.rounds)]
    per_step = 1000 / RUNS / STEPS
    hand, podium = (per_step * fastest(each[who] for each in rounds) for who in (0, 1))
    return Part(
        f"1 → {WIDTH} → 1, 2 workers",
        [Figure(FLOOR, hand, "ms/step", 1.0), Figure(PODIUM, podium, "ms/step", podium / hand)],
        [Bar(f"{PODIUM} ÷ {FLOOR}", LIMIT, podium / hand)],
        [f"fastest of {options.rounds} rounds of {RUNS} runs each"],
    )
