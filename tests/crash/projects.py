"""Projects that crash tests run, each with one pipeline, made from a template whose databases exist already."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium import settings
from podium.clock import SystemClock
from podium.db.engine import Database
from podium.db.schema import event, metadata
from podium.execution import queries
from podium.wiring.project import Project
from tests.crash import checker
from tests.crash.checker import Record

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("podium")
INTERVAL = "2026-03"
EARLIER = "2026-02"
# Nobody reads along while two workers execute hundreds of runs: all that they say has to fit, or they stand still.
_SAID_BYTES = 1 << 20
_PATIENCE_SECONDS = 120.0

# Two steps run side by side, two one after the other, and one for each of four lists; these are too long to travel
# inline, so that artifacts are written. With a file `hold` in the project, the second item of `added` starts a process
# of its own that sleeps, says so at the pipe `held`, and waits while there is that file: a kill then lands in the midst
# of a fan-out and inside a step with descendants, without any guess at the time. `added` leaves a line each time.
COUNTING = '''\
"""Count."""

import subprocess
import time
from pathlib import Path

from podium import Interval, pipeline, step

ROOT = Path(__file__).parent.parent


@step
def numbers(month: Interval) -> list[int]:
    return list(range(2000))


@step
def doubled(numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


@step
def squared(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


@step
def parts(numbers: list[int]) -> list[list[int]]:
    return [numbers[start:] for start in range(4)]


@step
def added(part: list[int]) -> int:
    if part[0] == 1 and (ROOT / "hold").exists():
        subprocess.Popen(["sleep", "600"])
        (ROOT / "held").write_text("x")
        while (ROOT / "hold").exists():
            time.sleep(0.005)
    with (ROOT / "added").open("a") as file:
        file.write(f"{part[0]}\\n")
    return sum(part)


@step
def total(left: list[int], right: list[int], sums: list[int]) -> int:
    assert sums == [sum(range(start, 2000)) for start in range(4)]
    return sum(left) + sum(right) + sum(sums)


@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval) -> None:
    found = numbers(month)
    total(doubled(found), squared(found), added.map(parts(found)))
'''

# A model that is tried by replay: 1,200 rows that are the same whoever makes them, and a look after every 30. Its
# margin lets the second month's model replace the first month's after less than half of them.
TRIED = '''\
"""Try."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step, when
from podium.canary.plan import CanaryPlan, Phase
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, register_version, run_canary


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame


@step
def rows(month: Interval) -> Rows:
    random = np.random.default_rng(month.start.month)

    def some(count: int) -> pd.DataFrame:
        x, z = random.normal(size=count), random.normal(size=count)
        return pd.DataFrame({"x": x, "z": x + z, "label": (x + random.normal(scale=0.2, size=count) > 0).astype(int)})

    return Rows(some(300), some(300), some(1200))


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history[["x", "z"]], history["label"])


@pipeline(model="tried", team="research", environment="dev", grain="month")
def tried(month: Interval) -> None:
    found = rows(month)
    candidate = train(found.history)
    policy = GatePolicy(primary="auc", mode="refresh", margin=0.4)
    evidence = evaluate_candidate(candidate, found.holdout, label="label", policy=policy)
    phases = (Phase(weight_percent=20, requests=300), Phase(weight_percent=50, requests=900))
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        run_canary(version, replay=found.replay, plan=CanaryPlan(phases=phases, margin=0.1, look_every=30))
'''


@dataclass(frozen=True)
class Template:
    """What every project of one pipeline starts as, and what comes of its run that nobody disturbs."""

    pipeline: str
    folder: Path
    undisturbed: Record | None = None  # not known yet
    seconds: float = 0.0  # from the start of the first step to the end of the run, undisturbed

    def project(self, folder: Path, database_url: str = "") -> "CrashProject":
        """Copy the template into `folder`; without a URL, its database is the SQLite file that comes along."""
        shutil.copytree(self.folder, folder)
        project = CrashProject(self, folder, database_url)
        if database_url:
            with CrashProject(self, folder).opened() as here, project.opened() as there:
                _copy(here.database, there.database)
        return project


@dataclass(frozen=True)
class CrashProject:
    """One project: `podium` is run in it, killed, and run again."""

    template: Template
    root: Path
    database_url: str = ""

    @property
    def home(self) -> Path:
        """The state folder; also the mark in the environment that every process of this project carries."""
        return self.root / ".podium"

    @contextmanager
    def podium(
        self,
        *arguments: str,
        faults: str = "",
        machine: Mapping[str, str | int] | None = None,
        lease_seconds: float | None = None,
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start `podium` in the project and wait for its end; what it says, and not its slots, is in `stderr`.

        `machine` is what altered.py takes: what is strange about the machine that it runs on.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
        environment |= {"PODIUM_HOME": str(self.home), "PODIUM_FAULTS": faults, "PODIUM_SLOTS": "2"}
        if lease_seconds is not None:
            environment["PODIUM_LEASE_SECONDS"] = str(lease_seconds)
        command: list[str | Path] = [COMMAND]
        if machine is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
            command = [sys.executable, "-m", "tests.crash.altered", json.dumps(dict(machine))]
        if self.database_url:
            environment["PODIUM_DATABASE_URL"] = self.database_url
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pipesize=_SAID_BYTES,
            text=True,
        )
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def go_on(self, interval: str = INTERVAL, **options: Any) -> AbstractContextManager["subprocess.Popen[str]"]:
        """Do what a person does next: run the pipeline, or resume its run where that has failed or was cancelled."""
        with self.opened() as project, project.database.read() as connection:
            stands = [run for state in ("failed", "cancelled") for run in queries.list_runs(connection, state=state)]
        if stands:
            return self.podium("runs", "resume", stands[0], "--reason", "try again", **options)
        return self.podium("run", self.template.pipeline, "--for", interval, **options)

    def leave_to_a_worker(self, interval: str = INTERVAL) -> str:
        """Put a run on record that a `podium worker` is to execute; return its id."""
        with self.podium("run", self.template.pipeline, "--for", interval, "--detach") as detaching:
            _, said = detaching.communicate(timeout=_PATIENCE_SECONDS)
        assert detaching.returncode == 0, said
        with self.opened() as project, project.database.read() as connection:
            return queries.list_runs(connection)[0]

    def finish(self, interval: str = INTERVAL) -> None:
        """Go on, undisturbed, until the run has ended; AssertionError with all that was said unless it succeeded."""
        with self.go_on(interval) as process:
            _, said = process.communicate(timeout=_PATIENCE_SECONDS)
        assert process.returncode == 0, f"exit {process.returncode} of a run that nobody disturbed:\n{said}"

    @contextmanager
    def opened(self) -> Iterator[Project]:
        """Look into the project from this process."""
        options = settings.load(self.root)
        if self.database_url:
            options = options.model_copy(update={"database_url": self.database_url})
        project = Project(options, SystemClock())
        try:
            yield project
        finally:
            project.close()


def counting(folder: Path) -> Template:
    """Prepare the light pipeline: plain Python, no model."""
    return _measured(_prepared(folder, "counting", COUNTING), folder)


def digits(folder: Path) -> Template:
    """Prepare the pipeline that `podium init` writes: real estimator, real MLflow, the model promoted."""
    source = resources.files("podium.cli") / "templates" / "digits.py"
    return _measured(_prepared(folder, "digits", source.read_text(encoding="utf-8"), opens_mlflow=True), folder)


def tried(folder: Path) -> Template:
    """Prepare the pipeline that ends in a canary, after an earlier run that made the first model."""
    template = _prepared(folder, "tried", TRIED, opens_mlflow=True)
    CrashProject(template, template.folder).finish(EARLIER)
    return _measured(template, folder)


def _prepared(folder: Path, pipeline: str, source: str, *, opens_mlflow: bool = False) -> Template:
    """Write a project, and make the databases that its run would make."""
    template = Template(pipeline, folder / pipeline)
    (template.folder / "pipelines").mkdir(parents=True)
    (template.folder / "podium.toml").write_text(f'project = "{pipeline}"\n', encoding="utf-8")
    (template.folder / "pipelines" / f"{pipeline}.py").write_text(source, encoding="utf-8")
    with CrashProject(template, template.folder).opened() as project:
        assert project.database
        # MLflow's own tables take 3 s to make. They are made here once; every copy keeps the models' files in here.
        assert not opens_mlflow or project.registry.models() == []
    return template


def _copy(source: Database, target: Database) -> None:
    """Give an empty PostgreSQL the rows of an SQLite."""
    with source.read() as rows, target.write() as connection:
        for table in metadata.sorted_tables:
            if found := [dict(row) for row in rows.execute(sa.select(table)).mappings()]:
                connection.execute(sa.insert(table), found)
        last = sa.select(sa.func.max(event.c.event_id)).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence("event", "event_id"), last)))


def _measured(template: Template, folder: Path) -> Template:
    """Run the pipeline undisturbed and keep what comes of it."""
    project = template.project(folder / f"{template.pipeline}-undisturbed")
    project.finish()
    with project.opened() as opened:
        with opened.database.read() as connection:
            run_id = queries.list_runs(connection)[0]  # the newest
            run = queries.run_rows(connection, [run_id])[run_id]
            attempts = queries.attempt_rows(connection, run_id)
        record = checker.record(opened)
    assert {attempt.state for attempt in attempts} == {"succeeded"}
    first = min(attempt.started_at for attempt in attempts)
    return replace(template, undisturbed=record, seconds=(run.ended_at - first).total_seconds())
