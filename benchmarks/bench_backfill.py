"""What a step of a backfill costs beside the executor's own: 90 daily runs of five steps that do nothing.

One after the other in one process, warm, on two slots: 90 runs that are handed over at once, timed from their first
attempt's start to the last run's end; and a backfill of 90 days, timed from when it is asked for: with its admission.
The fastest round of each counts, as what else runs on the machine only adds time. Exits 1 where a step of the backfill
takes more than `LIMIT` times as long. Without a limit it also says what a backfill of as many intervals as there may be
takes to be admitted and to be cancelled.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds its own folder alone

from benchmarks.executor.chain import ADD_ONE, LENGTH, chain_source
from benchmarks.executor.figures import fastest, timed
from benchmarks.executor.projects import BenchProject, Serving, served
from podium.dag.interval import Interval
from podium.execution import queries
from podium.scheduling import backfill_store
from podium.scheduling.backfill_entities import BackfillRequest
from podium.scheduling.backfill_plan import INTERVAL_LIMIT, MAX_PARALLEL
from podium.wiring.backfills import backfills_of

LIMIT = 1.5
DAYS = 90
STEPS = DAYS * LENGTH
WARM_RUNS = 10
_DAY = timedelta(days=1)
_HOURLY = 'environment="dev", grain="hour")\n'


def main() -> None:
    """Time both in turn, print the table and exit 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default 5)")
    options = parser.parse_args()
    source = (
        ADD_ONE
        + chain_source("chain", LENGTH)
        + chain_source("hourly", LENGTH).replace('environment="dev")\n', _HOURLY)
    )
    with tempfile.TemporaryDirectory(prefix="backfill-") as folder:
        bench = BenchProject(Path(folder) / "project", source)
        with served(bench) as server:
            server.finish([bench.start("chain") for _ in range(WARM_RUNS)])
            code = compare(Contest(bench, server), options.rounds)
        limits(bench)
    sys.exit(code)


class Contest:
    """A project whose runs are executed both ways, each for days of its own."""

    def __init__(self, bench: BenchProject, server: Serving) -> None:
        self._bench = bench
        self._server = server
        self._next = datetime(1970, 1, 1, tzinfo=UTC)

    def handed_over(self) -> float:
        """Return the seconds that runs take which are handed over at once."""
        runs = [self._bench.start("chain") for _ in range(DAYS)]
        self._server.finish(runs)
        self._bench.check(runs, LENGTH)
        return self._bench.seconds_of(runs)

    def backfilled(self, max_parallel: int) -> float:
        """Return the seconds that a backfill takes, its admission included."""
        days = tuple(Interval(day, day + _DAY) for day in (self._next + n * _DAY for n in range(DAYS)))
        self._next += DAYS * _DAY
        backfills, project = backfills_of(self._bench.project), self._bench.project
        asked = BackfillRequest(self._bench.plan("chain"), days, {}, "bench", max_parallel=max_parallel)
        begun = time.perf_counter()
        found = backfills.start(asked)
        with project.database.read() as connection:
            own = backfill_store.own_runs(connection, found, ("queued",))
            runs = [queries.get_run(connection, each.run_id) for each in own]
        self._server.finish(runs)
        seconds = time.perf_counter() - begun
        self._bench.check(runs, LENGTH)
        return seconds


def compare(contest: Contest, rounds: int) -> int:
    """Time rounds of each in turn and return the exit code."""
    contestants: dict[str, Callable[[], float]] = {
        "handed over at once": contest.handed_over,
        f"backfill, {MAX_PARALLEL} at once": lambda: contest.backfilled(MAX_PARALLEL),
        "backfill, 1 at once": lambda: contest.backfilled(1),
    }
    timings: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            timings[name].append(measure())
    per_step = {name: 1000 * fastest(seconds) / STEPS for name, seconds in timings.items()}
    own, default, _ = per_step.values()
    print(f"{DAYS} daily runs of {LENGTH} steps that do nothing, two slots, fastest of {rounds} rounds")
    for name, milliseconds in per_step.items():
        print(f"  {name:<22}{milliseconds:>8.2f} ms/step{milliseconds / own:>8.2f} ×")
    ratio = default / own
    print(f"backfill ÷ the executor's own {ratio:.2f} {'≤' if ratio <= LIMIT else '>'} {LIMIT:g} allowed")
    return 0 if ratio <= LIMIT else 1


def limits(bench: BenchProject) -> None:
    """Print what as many intervals as there may be take to be admitted, and to be cancelled."""
    start = datetime(1990, 1, 1, tzinfo=UTC)
    hours = tuple(
        Interval(hour, hour + timedelta(hours=1))
        for hour in (start + timedelta(hours=n) for n in range(INTERVAL_LIMIT))
    )
    backfills = backfills_of(bench.project)
    asked = BackfillRequest(bench.plan("hourly"), hours, {}, "bench")
    admitted = timed(lambda: backfills.start(asked))
    with bench.project.database.read() as connection:
        (found,) = backfill_store.newest(connection, pipeline="hourly", limit=1)
    cancelled = timed(lambda: backfills.cancel(found.backfill_id, by="bench", reason="measured"))
    print(
        f"{INTERVAL_LIMIT:,} hourly runs of {LENGTH} steps: admitted in {admitted:.1f} s, "
        f"cancelled in {cancelled:.1f} s"
    )


if __name__ == "__main__":
    main()
