"""Projects that crash tests run, each with one pipeline, made from a template whose databases exist already."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from podium import settings
from podium.clock import SystemClock
from podium.execution import queries
from podium.wiring.project import Project
from tests.crash.checker import Charge, charges

COMMAND = Path(sys.executable).with_name("podium")
INTERVAL = "2026-03"
_PATIENCE_SECONDS = 120.0

# Two steps run side by side and two one after the other; their lists are too long to travel inline, so that artifacts
# are written. With a file `hold` in the project, `doubled` starts a process of its own that sleeps, says so at the pipe
# `held`, and goes on for ever: a kill then lands inside a step with descendants, without any guess at the time.
COUNTING = '''\
"""Count."""

import signal
import subprocess
from pathlib import Path

from podium import Interval, pipeline, step

ROOT = Path(__file__).parent.parent


@step
def numbers(month: Interval) -> list[int]:
    return list(range(2000))


@step
def doubled(numbers: list[int]) -> list[int]:
    if (ROOT / "hold").exists():
        subprocess.Popen(["sleep", "600"])
        (ROOT / "held").write_text("x")
        signal.pause()
    return [2 * number for number in numbers]


@step
def squared(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


@step
def total(left: list[int], right: list[int]) -> int:
    return sum(left) + sum(right)


@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval) -> None:
    found = numbers(month)
    total(doubled(found), squared(found))
'''


@dataclass(frozen=True)
class Template:
    """What every project of one pipeline starts as, and what a run of it that nobody disturbs comes to."""

    pipeline: str
    registers: bool
    folder: Path
    charged: frozenset[Charge] = frozenset()
    seconds: float = 0.0  # from the start of the first step to the end of the run, undisturbed

    def project(self, folder: Path, database_url: str = "") -> "CrashProject":
        """Copy the template into `folder`; without a URL, its database is the SQLite file that comes along."""
        shutil.copytree(self.folder, folder)
        return CrashProject(self, folder, database_url)


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
    def podium(self, *arguments: str, faults: str = "") -> Iterator["subprocess.Popen[str]"]:
        """Start `podium` in the project and wait for its end; what it says, and not its slots, is in `stderr`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PODIUM_")}
        environment |= {"PODIUM_HOME": str(self.home), "PODIUM_FAULTS": faults, "PODIUM_SLOTS": "2"}
        if self.database_url:
            environment["PODIUM_DATABASE_URL"] = self.database_url
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def go_on(self, faults: str = "") -> AbstractContextManager["subprocess.Popen[str]"]:
        """Do what a person does next: run the pipeline, or resume its run where that has failed."""
        with self.opened() as project, project.database.read() as connection:
            failed = queries.list_runs(connection, state="failed")
        if failed:
            return self.podium("runs", "resume", failed[0], "--reason", "try again", faults=faults)
        return self.podium("run", self.template.pipeline, "--for", INTERVAL, faults=faults)

    def finish(self) -> None:
        """Go on, undisturbed, until the run has ended; AssertionError with all that was said unless it succeeded."""
        with self.go_on() as process:
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
    root = folder / "counting"
    _write(root, "counting", COUNTING)
    with CrashProject(Template("counting", registers=False, folder=root), root).opened() as project:
        assert project.database
    return _measured(Template("counting", registers=False, folder=root), folder)


def digits(folder: Path) -> Template:
    """Prepare the pipeline that `podium init` writes: real estimator, real MLflow, the model promoted."""
    root = folder / "digits"
    source = resources.files("podium.cli") / "templates" / "digits.py"
    _write(root, "digits", source.read_text(encoding="utf-8"))
    # MLflow's own tables take 3 s to make. They are made here once; every copy keeps the models' files in this folder.
    with CrashProject(Template("digits", registers=True, folder=root), root).opened() as project:
        assert project.database
        assert project.registry.models() == []
    return _measured(Template("digits", registers=True, folder=root), folder)


def _write(root: Path, pipeline: str, source: str) -> None:
    (root / "pipelines").mkdir(parents=True)
    (root / "podium.toml").write_text(f'project = "{pipeline}"\n', encoding="utf-8")
    (root / "pipelines" / f"{pipeline}.py").write_text(source, encoding="utf-8")


def _measured(template: Template, folder: Path) -> Template:
    """Run the pipeline undisturbed and keep what it comes to."""
    project = template.project(folder / f"{template.pipeline}-undisturbed")
    project.finish()
    with project.opened() as opened, opened.database.read() as connection:
        (run_id,) = queries.list_runs(connection)
        run = queries.run_rows(connection, [run_id])[run_id]
        attempts = queries.attempt_rows(connection, run_id)
        charged = frozenset(itertools.chain.from_iterable(charges(connection).values()))
    assert {attempt.state for attempt in attempts} == {"succeeded"}
    first = min(attempt.started_at for attempt in attempts)
    return Template(
        template.pipeline,
        template.registers,
        template.folder,
        charged,
        (run.ended_at - first).total_seconds(),
    )
