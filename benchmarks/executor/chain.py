"""200 runs of a chain of five steps that do nothing: Podium, the floors and the peers.

Two workers each, in two shapes. `queued`: all runs are recorded, then executed two at a time; timed from the first
attempt's start to the last run's end. `alone`: each run is recorded and executed to its end before the next; all of
that is timed. Contestants take turns, all warm, and the fastest round of each counts.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from benchmarks.executor.figures import Bar, Figure, Part, fastest, timed
from benchmarks.executor.floors import Chain, Processes, Threads, floor
from benchmarks.executor.options import Options
from benchmarks.executor.peer_environments import PEERS, PeerFailed, milliseconds_per_step
from benchmarks.executor.projects import PIPELINE, BenchProject, executing, served
from podium.execution.entities import Run

RUNS = 200
LENGTH = 5
STEPS = RUNS * LENGTH
WARM_RUNS = 10
LIMIT = 2.0
PEER_LIMITS = {"dbos": 1.0, "dagster": 30.0, "prefect": 100.0}
"""So many times as long as Podium's must a peer's step take, at least."""

FLOOR = "process floor"
PODIUM = "Podium"
ADD_ONE = """

@step
def add_one(value: int) -> int:
    return value + 1
"""


def chain_source(name: str, length: int) -> str:
    """Return a pipeline that is a chain of so many steps."""
    calls = "".join(f'    value = add_one.named("step_{number}")(value)\n' for number in range(1, length))
    return f"{PIPELINE}def {name}(day: Interval) -> None:\n    value = add_one(0)\n{calls}"


@dataclass(frozen=True)
class Contestant:
    """One who can be timed in both shapes; each returns the seconds that `RUNS` runs took."""

    queued: Callable[[], float]
    alone: Callable[[], float]


def measure(options: Options) -> Part:
    """Time all in turn."""
    with ExitStack() as stack:
        contestants = {
            FLOOR: stack.enter_context(_floor(options, Processes)),
            "thread floor": stack.enter_context(_floor(options, Threads)),
            PODIUM: stack.enter_context(_podium(options)),
        }
        timings = [
            {name: (each.queued(), each.alone()) for name, each in contestants.items()} for _ in range(options.rounds)
        ]
    per_step = 1000 / STEPS
    queued = {name: per_step * fastest(each[name][0] for each in timings) for name in contestants}
    alone = {name: per_step * fastest(each[name][1] for each in timings) for name in contestants}
    bars = [
        Bar(f"{PODIUM} ÷ {FLOOR}, all queued", LIMIT, queued[PODIUM] / queued[FLOOR]),
        Bar(f"{PODIUM} ÷ {FLOOR}, one by one", LIMIT, alone[PODIUM] / alone[FLOOR]),
    ]
    peers, not_measured = _peers(options.rounds) if options.with_peers else ({}, {})
    for peer, limit in PEER_LIMITS.items() if options.with_peers else ():
        ratio = peers[peer] / alone[PODIUM] if peer in peers else None
        why_not = not_measured.get(peer, "")
        bars.append(Bar(f"{peer} ÷ {PODIUM}, one by one", limit, ratio, at_least=True, why_not=why_not))
    alone |= {f"{peer} {PEERS[peer]}": milliseconds for peer, milliseconds in peers.items()}
    return Part(
        f"{RUNS} runs × {LENGTH} steps that do nothing, 2 workers",
        [
            *(Figure(f"{name}, all queued", each, "ms/step", each / queued[FLOOR]) for name, each in queued.items()),
            *(Figure(f"{name}, one by one", each, "ms/step", each / alone[FLOOR]) for name, each in alone.items()),
        ],
        bars,
        [
            f"fastest of {options.rounds} rounds each",
            *(f"{peer} {why}" for peer, why in not_measured.items()),
            *([] if options.with_peers else ["without peers, as asked"]),
        ],
    )


def _peers(rounds: int) -> tuple[dict[str, float], dict[str, str]]:
    """Return the milliseconds per step of each peer, and of those that could not be measured why."""
    measured, not_measured = {}, {}
    for peer in PEERS:
        try:
            measured[peer] = fastest([milliseconds_per_step(peer) for _ in range(rounds)])
        except PeerFailed as failure:
            not_measured[peer] = f"not measured: {failure}"
    return measured, not_measured


@contextmanager
def _floor(options: Options, workers: type[Processes] | type[Threads]) -> Iterator[Contestant]:
    numbers = count()

    def recorded(runs: int) -> list[Chain]:
        made = [Chain(next(numbers), LENGTH) for _ in range(runs)]
        supervisor.record(made)
        return made

    def queued() -> float:
        made = recorded(RUNS)
        return timed(lambda: supervisor.execute(made))

    def alone() -> float:
        def one_by_one() -> None:
            for _ in range(RUNS):
                supervisor.execute(recorded(1))

        return timed(one_by_one)

    with floor(options.folder, workers) as supervisor:
        supervisor.execute(recorded(WARM_RUNS))
        yield Contestant(queued, alone)


@contextmanager
def _podium(options: Options) -> Iterator[Contestant]:
    bench = BenchProject(options.folder / "chain", ADD_ONE + chain_source("chain", LENGTH), options.new_database())

    def queued() -> float:
        runs = [bench.start("chain") for _ in range(RUNS)]
        server.finish(runs)
        bench.check(runs, LENGTH)
        return bench.seconds_of(runs)

    def alone() -> float:
        runs: list[Run] = []
        seconds = timed(lambda: runs.extend(execute(bench.start("chain")) for _ in range(RUNS)))
        bench.check(runs, LENGTH)
        return seconds

    with served(bench) as server, executing(bench, "chain") as execute:
        server.finish([bench.start("chain") for _ in range(WARM_RUNS)])
        execute(bench.start("chain"))
        yield Contestant(queued, alone)
