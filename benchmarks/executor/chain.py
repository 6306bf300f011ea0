"""200 runs of a chain of five steps that do nothing: Podium, the floors and the peers.

In two shapes. Two at a time: all runs are recorded, then executed by two workers; timed from the first attempt's start
to the last run's end. One by one: each run is recorded and executed to its end before the next; all of that is timed.
Contestants take turns, all warm, and the fastest round of each counts; of a peer, also the faster of its shapes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
LIMIT = 12.0
PEER_LIMITS = {"dbos": 1.0, "dagster": 30.0, "prefect": 100.0}
"""So many times as long as Podium's must a peer's step take, at least."""

TWO_AT_A_TIME, ONE_BY_ONE = SHAPES = ("two at a time", "one by one")
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

    two_at_a_time: Callable[[], float]
    one_by_one: Callable[[], float]


def measure(options: Options) -> Part:
    """Time all in turn."""
    peers = Peers(list(PEERS) if options.with_peers else [])
    timings = []
    with ExitStack() as stack:
        contestants = {
            FLOOR: stack.enter_context(_floor(options, Processes)),
            "thread floor": stack.enter_context(_floor(options, Threads)),
            PODIUM: stack.enter_context(_podium(options)),
        }
        for _ in range(options.rounds):
            timings.append({name: (each.two_at_a_time(), each.one_by_one()) for name, each in contestants.items()})
            peers.measure()
    per_step = 1000 / STEPS
    measured = {
        shape: {name: per_step * fastest(each[name][number] for each in timings) for name in contestants}
        for number, shape in enumerate(SHAPES)
    }
    bars = [
        *(Bar(f"{PODIUM} ÷ {FLOOR}, {shape}", LIMIT, each[PODIUM] / each[FLOOR]) for shape, each in measured.items()),
        *peers.bars(measured[TWO_AT_A_TIME][PODIUM]),
    ]
    return Part(
        f"{RUNS} runs × {LENGTH} steps that do nothing",
        [
            Figure(f"{name}, {shape}", each, "ms/step", each / measured[shape][FLOOR])
            for shape in SHAPES
            for name, each in {**measured[shape], **peers.fastest(shape)}.items()
        ],
        bars,
        [
            f"fastest of {options.rounds} rounds each",
            *(f"{peer} {why}" for peer, why in peers.not_measured.items()),
            *([] if options.with_peers else ["without peers, as asked"]),
        ],
    )


@dataclass
class Peers:
    """The milliseconds per step of each peer's rounds, by shape, and of those that could not be measured why."""

    names: list[str]
    not_measured: dict[str, str] = field(default_factory=dict)
    _rounds: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)

    def measure(self) -> None:
        """Measure each once more; one that fails is left out from then on."""
        for peer in self.names:
            if peer in self.not_measured:
                continue
            try:
                self._rounds.setdefault(peer, []).append(milliseconds_per_step(peer))
            except PeerFailed as failure:
                self.not_measured[peer] = f"not measured: {failure}"

    def fastest(self, shape: str) -> dict[str, float]:
        """Return the fastest round in a shape of each that has it and never failed, under its name and version."""
        measured = {peer: rounds for peer, rounds in self._rounds.items() if peer not in self.not_measured}
        return {
            f"{peer} {PEERS[peer]}": fastest(each[shape] for each in rounds)
            for peer, rounds in measured.items()
            if shape in rounds[0]
        }

    def bars(self, own: float) -> list[Bar]:
        """Return how many times as long as `own` milliseconds each takes in its fastest shape."""
        return [
            Bar(
                f"{peer} at its fastest ÷ {PODIUM}",
                PEER_LIMITS[peer],
                None
                if peer in self.not_measured
                else fastest(ms for each in self._rounds[peer] for ms in each.values()) / own,
                at_least=True,
                why_not=self.not_measured.get(peer, ""),
            )
            for peer in self.names
            if peer in PEER_LIMITS
        ]


@contextmanager
def _floor(options: Options, workers: type[Processes] | type[Threads]) -> Iterator[Contestant]:
    numbers = count()

    def recorded(runs: int) -> list[Chain]:
        made = [Chain(next(numbers), LENGTH) for _ in range(runs)]
        supervisor.record(made)
        return made

    def two_at_a_time() -> float:
        made = recorded(RUNS)
        return timed(lambda: supervisor.execute(made))

    def one_by_one() -> float:
        def execute() -> None:
            for _ in range(RUNS):
                supervisor.execute(recorded(1))

        return timed(execute)

    with floor(options.folder, workers) as supervisor:
        supervisor.execute(recorded(WARM_RUNS))
        yield Contestant(two_at_a_time, one_by_one)


@contextmanager
def _podium(options: Options) -> Iterator[Contestant]:
    bench = BenchProject(options.folder / "chain", ADD_ONE + chain_source("chain", LENGTH), options.new_database())

    def two_at_a_time() -> float:
        runs = [bench.start("chain") for _ in range(RUNS)]
        server.finish(runs)
        bench.check(runs, LENGTH)
        return bench.seconds_of(runs)

    def one_by_one() -> float:
        runs: list[Run] = []
        seconds = timed(lambda: runs.extend(execute(bench.start("chain")) for _ in range(RUNS)))
        bench.check(runs, LENGTH)
        return seconds

    with served(bench) as server, executing(bench, "chain") as execute:
        server.finish([bench.start("chain") for _ in range(WARM_RUNS)])
        execute(bench.start("chain"))
        yield Contestant(two_at_a_time, one_by_one)
