"""Podium as its users have it: a project in a folder, its pipelines in a file, runs started and executed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.dag.plan import Plan
from podium.db import migrate
from podium.db.schema import attempt, ledger_entry, run, step_run
from podium.execution.entities import Actor, Happening, Run
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.runs import foreground, serving

SLOTS = 2
_FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_PATIENCE_SECONDS = 600.0
_ENDS = ("run.succeeded", "run.failed", "run.cancelled")

HEADER = """\
import time
from pathlib import Path

import numpy as np
import pandas as pd

from podium import Interval, pipeline, step
"""
PIPELINE = '\n\n@pipeline(model="model", team="research", environment="dev")\n'


@dataclass
class BenchProject:
    """A project with `SLOTS` slots whose one file holds `source`; each run of it is for a day of its own."""

    root: Path
    source: str
    database_url: str = ""
    _days: int = 0
    _plans: dict[str, Plan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pipelines = self.root / "pipelines"
        pipelines.mkdir(parents=True)
        settings = f'project = "bench"\nslots = {SLOTS}\n'
        if self.database_url:
            settings += f'database_url = "{self.database_url}"\n'
        (self.root / "podium.toml").write_text(settings)
        (pipelines / "bench.py").write_text(HEADER + self.source)
        self.project: Project = open_project(self.root)
        migrate.upgrade(self.project.unchecked_database)
        self._plans = dict(load_plans(self.project).plans)

    def plan(self, pipeline: str) -> Plan:
        """Return a pipeline's plan."""
        return self._plans[pipeline]

    def start(self, pipeline: str) -> Run:
        """Start a run for the next day."""
        start = _FIRST_DAY + timedelta(days=self._days)
        self._days += 1
        day = Interval(start, start + timedelta(days=1))
        return self.project.execution.start(self.plan(pipeline), day, parameters={}, actor=Actor("bench"))

    def check(self, runs: list[Run], steps: int) -> None:
        """End the benchmark unless each run succeeded with so many step runs executed, each of them metered."""
        ids = [each.run_id for each in runs]
        with self.project.database.read() as connection:
            states = connection.execute(sa.select(run.c.state, run.c.reason).where(run.c.run_id.in_(ids))).all()
            attempts = connection.execute(
                sa.select(attempt.c.attempt_id)
                .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
                .where(step_run.c.run_id.in_(ids), attempt.c.state == "succeeded", attempt.c.cpu_seconds.is_not(None))
            ).all()
            billed = connection.scalar(
                sa.select(sa.func.count(ledger_entry.c.attempt_id.distinct())).where(ledger_entry.c.run_id.in_(ids))
            )
        bad = [f"{each.state}: {each.reason}" for each in states if each.state != "succeeded"]
        if bad:
            sys.exit(f"{len(bad)} of {len(runs)} runs did not succeed; the first: {bad[0]}")
        if len(attempts) != steps * len(runs) or billed != len(attempts):
            sys.exit(f"{len(runs)} runs of {steps} steps came to {len(attempts)} attempts, {billed} of them billed")

    def seconds_of(self, runs: list[Run]) -> float:
        """Return the seconds from the first attempt's start to the last run's end, as recorded."""
        ids = [each.run_id for each in runs]
        with self.project.database.read() as connection:
            first = connection.execute(
                sa.select(sa.func.min(attempt.c.started_at, type_=attempt.c.started_at.type))
                .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
                .where(step_run.c.run_id.in_(ids))
            ).scalar_one()
            last = connection.execute(
                sa.select(sa.func.max(run.c.ended_at, type_=run.c.ended_at.type)).where(run.c.run_id.in_(ids))
            ).scalar_one()
        seconds: float = (last - first).total_seconds()
        return seconds


class Serving:
    """A worker of this process that serves until the runs asked for have ended."""

    def __init__(self, bench: BenchProject) -> None:
        self._bench = bench
        self._ended: set[str] = set()

    @contextmanager
    def opened(self) -> Iterator["Serving"]:
        """Open the worker; nothing of it outlives the block."""
        with serving(self._bench.project, self._note) as self._worker:
            yield self

    def finish(self, runs: list[Run]) -> None:
        """Serve until these runs have ended."""
        wanted = {each.run_id for each in runs}
        deadline = time.monotonic() + _PATIENCE_SECONDS

        def stop() -> bool:
            if time.monotonic() > deadline:
                sys.exit(f"{len(wanted - self._ended)} of {len(wanted)} runs had not ended after {_PATIENCE_SECONDS} s")
            return wanted <= self._ended

        self._worker.serve(stop)

    def _note(self, happening: Happening) -> None:
        if happening.kind in _ENDS:
            self._ended.add(happening.run_id)


@contextmanager
def served(bench: BenchProject) -> Iterator[Serving]:
    """Open a worker for every run, as `podium worker` is."""
    with Serving(bench).opened() as opened:
        yield opened


@contextmanager
def executing(bench: BenchProject, pipeline: str) -> Iterator[Callable[[Run], Run]]:
    """Open a worker as `podium run` does; what is yielded executes one run to its end and returns it."""
    with foreground(bench.project, bench.plan(pipeline), lambda _: None) as worker:
        yield lambda run: worker.execute(run.run_id)
