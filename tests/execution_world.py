"""What the execution tests share: plans made by hand, runs moved by hand, and small projects run for real."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.dag.interval import Interval
from podium.dag.parameters import bind_parameters
from podium.dag.plan import RESULT, Input, Plan, Reference, Resources, StepNode
from podium.db.engine import Database
from podium.db.schema import attempt, ledger_entry, metadata
from podium.execution import attempt_store, claims, deadlines, inspection, outputs, plans, queries, workers
from podium.execution.artifacts import Artifact
from podium.execution.claims import Claim
from podium.execution.entities import Actor, AttemptEnd, AttemptEndState, AttemptError, Happening, Run, Wait
from podium.execution.items import WHOLE, item_name, parse_item
from podium.execution.meter import Usage
from podium.execution.progress import Progress
from podium.execution.reads import Read
from podium.execution.rescuer import rescue
from podium.execution.service import ExecutionService
from podium.execution.setbacks import Setbacks
from podium.execution.transitions import StepMove
from podium.finops import audit
from podium.finops.book import load_book
from podium.finops.ledger import Ledger
from podium.finops.prices import import_book
from podium.finops.reconciliation import reconcile
from podium.ids import digest_bytes
from podium.registry.store import run_outcome
from podium.scheduling import inspection as schedules
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans, validator
from podium.wiring.project import LedgerAdapter, Project, open_project
from podium.wiring.runs import Observer, foreground

DAY = Interval.parse("2026-11-02", "UTC")
USED = Usage(1.5, cpu_seconds=1.0, peak_memory_bytes=2**20, source="getrusage", quality="measured")
SEEN = Usage(1.0, cpu_seconds=None, peak_memory_bytes=None, source="heartbeat", quality="estimated")
ACTOR = Actor("tester")


def node(
    name: str,
    *after: str,
    when: Sequence[str] = (),
    retries: int = 0,
    outputs: tuple[str, ...] = (RESULT,),
    over: Input | None = None,
    reads: Mapping[str, Input] | None = None,
) -> StepNode:
    """A step that is ordered behind `after`, under conditions written as `step.output`, mapped over `over`."""
    return StepNode(
        name=name,
        module="flow",
        module_file="pipelines/flow.py",
        qualname=name,
        inputs={**({} if over is None else {"item": over}), **(reads or {})},
        conditions=tuple(Reference(step=each.split(".")[0], output=each.split(".")[1]) for each in when),
        after=after,
        outputs=outputs,
        resources=Resources(cpu=1.0, memory_bytes=2**30, gpu=0),
        retries=retries,
        timeout_seconds=None,
        cache=False,
        tags=(),
        over=None if over is None else "item",
    )


def plan_of(*nodes: StepNode, code: str = "c0") -> Plan:
    """A plan of these steps."""
    return Plan(
        pipeline="flow",
        model="model",
        team="research",
        environment="dev",
        grain="day",
        schedule=None,
        timezone="UTC",
        file="pipelines/flow.py",
        description="",
        steps=nodes,
        parameters={},
        modules={"pipelines/flow.py": code},
        code_digest=digest_bytes(code.encode()),
    )


CHAIN = plan_of(node("a"), node("b", "a"), node("c", "b"))


def json_artifact(text: str) -> Artifact:
    """An inline artifact of this JSON."""
    return Artifact(digest_bytes(text.encode()), "json", len(text), text.encode())


@dataclass
class HandWorker:
    """Moves runs by hand: what a worker writes, without slots."""

    database: Database
    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(datetime(2026, 11, 21, tzinfo=UTC)))
    lease_seconds: float = 30.0

    def __post_init__(self) -> None:
        self.progress = Progress(LedgerAdapter(Ledger(self.clock)), run_outcome)
        self.service = ExecutionService(self.database, self.progress, self.clock)
        self.told: list[Happening] = []
        self._setbacks = Setbacks(self.clock, self.told.append)
        import_book(self.database, load_book(None), self.clock)

    def start(self, plan: Plan, interval: Interval = DAY, **options: Any) -> Run:
        """Start a run."""
        return self.service.start(plan, interval, **{"parameters": {}, "actor": ACTOR, **options})

    def worker(self, worker_id: str, host: str = "elsewhere") -> str:
        """Record a worker; `elsewhere` is a host whose locks cannot be looked at."""
        with self.database.write() as connection:
            self.worker_in(connection, worker_id, host)
        return worker_id

    def worker_in(self, connection: sa.Connection, worker_id: str, host: str = "elsewhere") -> None:
        """Record a worker in an open transaction."""
        path = str(self.folder / f"{worker_id}.lock")
        workers.start_worker(connection, worker_id, host, 4242, path, self.clock.now())

    def attempt(self, connection: sa.Connection, attempt_id: str) -> queries.AttemptRow:
        """A running attempt's row."""
        row = queries.running_attempt(connection, attempt_id)
        assert row is not None
        return row

    def rescue(self, besides: str = "") -> list[queries.AttemptRow]:
        """End the attempts of dead workers; what goes wrong is `told`."""
        return rescue(self.database, self.progress, self.clock, self._setbacks, besides=besides)

    def enforce(self) -> None:
        """Do what is due; what goes wrong is `told`."""
        deadlines.enforce(self.database, self.progress, self.clock, self._setbacks)

    def claim(self, run: Run, worker_id: str = "w", limit: int = 100) -> list[Claim]:
        """Claim what may start; what of it has an equal result is taken over."""
        with self.database.write() as connection:
            plan, now = self.plan(connection, run), self.clock.now()
            if any(each.cache for each in plan.steps):
                return self._claim_one_by_one(connection, worker_id, run, plan, limit, now)
            return claim_of(
                connection,
                worker_id,
                run_id=run.run_id,
                limit=limit,
                plan=self.plan(connection, run),
                lease_seconds=self.lease_seconds,
                now=self.clock.now(),
            )

    def _claim_one_by_one(
        self, connection: sa.Connection, worker_id: str, run: Run, plan: Plan, limit: int, now: datetime
    ) -> list[Claim]:
        made: list[Claim] = []
        busy: set[str] = set()
        locked = claims.lock(connection, run.run_id, plan)
        while locked is not None and len(made) < limit:
            wanted = claims.candidates(connection, run.run_id, now, 1, besides=busy)
            if not wanted:
                break
            cached = plan.step(wanted[0].step).cache
            settled = self.progress.settle_claimable(connection, plan, wanted[0], now) if cached else "execute"
            if settled == "execute":
                made += claims.claim(
                    connection, worker_id, locked, wanted, plan, lease_seconds=self.lease_seconds, now=now
                )
                locked = claims.lock(connection, run.run_id, plan)
            elif settled == "busy":
                busy.add(wanted[0].step)
        return made

    def end(
        self,
        claim: Claim,
        state: AttemptEndState = "succeeded",
        result: str = "1",
        error: AttemptError | None = None,
    ) -> StepMove | None:
        """End a claimed attempt; each output of a succeeded one is the JSON `result`, stored as a slot stores it."""
        with self.database.write() as connection:
            row = queries.running_attempt(connection, claim.attempt_id)
            if row is None:
                return None
            return self.end_row(connection, row, state, result, error)

    def end_row(
        self,
        connection: sa.Connection,
        row: queries.AttemptRow,
        state: AttemptEndState = "succeeded",
        result: str = "1",
        error: AttemptError | None = None,
    ) -> StepMove | None:
        """End an attempt as its row told once; that may no longer be true."""
        plan = plans.load(connection, row.plan_digest)
        made = {}
        if state != "succeeded":
            error = error or AttemptError("Boom", f"{row.step} went wrong")
        else:
            made = {name: json_artifact(result) for name in plan.step(row.step).outputs}
            for name in plan.split_outputs(row.step):
                del made[name]
                made |= {f"{name}[{n}]": json_artifact(json.dumps(item)) for n, item in enumerate(json.loads(result))}
        usage = SEEN if state == "lost" else USED
        end = AttemptEnd(state, usage, made, error)
        if state == "snoozed":
            end = AttemptEnd(state, usage, wait=Wait(60.0, "something is awaited"))
        return self.progress.end(connection, row, plan, end, self.clock.now())

    def plan(self, connection: sa.Connection, run: Run) -> Plan:
        """The plan a run has now."""
        return plans.load(connection, queries.get_run(connection, run.run_id).plan_digest)

    def run(self, run: Run) -> Run:
        """A run as it is now."""
        with self.database.read() as connection:
            return queries.get_run(connection, run.run_id)

    def states(self, run: Run) -> dict[str, str]:
        """The states of a run's step runs; an item's is under `fit[2]`."""
        with self.database.read() as connection:
            rows = queries.step_rows(connection, run.run_id)
        return {item_name(row.name, row.map_index): row.state for row in rows}

    def reasons(self, run: Run) -> dict[str, str | None]:
        """The reasons of a run's step runs."""
        with self.database.read() as connection:
            rows = queries.step_rows(connection, run.run_id)
        return {item_name(row.name, row.map_index): row.reason for row in rows}

    def events(self, run: Run) -> list[str]:
        """A run's events in order, as `kind` or `kind step`."""
        with self.database.read() as connection:
            rows = queries.event_rows(connection, run.run_id)
        return [f"{row.kind} {row.step}" if row.step else row.kind for row in rows]


def claim_of(
    connection: sa.Connection,
    worker_id: str,
    *,
    run_id: str,
    limit: int,
    plan: Plan,
    lease_seconds: float,
    now: datetime,
) -> list[Claim]:
    """Claim up to `limit` step runs of a run that may start."""
    locked = claims.lock(connection, run_id, plan)
    if locked is None:
        return []
    wanted = claims.candidates(connection, run_id, now, limit)
    return claims.claim(connection, worker_id, locked, wanted, plan, lease_seconds=lease_seconds, now=now)


def everything(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def check_books(database: Database) -> None:
    """Every ended attempt has exactly one entry per resource, the books agree, and so does all that is on record."""
    with database.read() as connection:
        found = [
            *inspection.violations(connection),
            *audit.violations(connection),
            *schedules.violations(connection),
        ]
        broken = [str(each) for each in found if each.severity == "broken"]
        assert broken == [], broken
        columns = attempt.c.attempt_id, attempt.c.reserved_gpu
        ended = connection.execute(sa.select(*columns).where(attempt.c.ended_at.is_not(None))).all()
        entries = connection.execute(sa.select(ledger_entry.c.attempt_id, ledger_entry.c.resource)).all()
        checks = reconcile(connection).checks
    expected = sorted(
        (attempt_id, resource) for attempt_id, gpu in ended for resource in ("cpu", "memory", *(["gpu"] if gpu else []))
    )
    assert sorted(tuple(entry) for entry in entries) == expected
    assert [check for check in checks if not check.ok] == []


ONE_STEP = """
---
def flow(day: Interval) -> None:
    it()
"""


HEADER = """\
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from typing import NamedTuple

from podium import Interval, pipeline, step, when
"""
PIPELINE = '\n\n@pipeline(model="model", team="research", environment="dev")\n'


class FlowProject:
    """A project in a folder with one pipeline, `flow`, of plain Python; steps run in the folder."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.root = root
        (root / "pipelines").mkdir(parents=True)
        (root / "podium.toml").write_text(f'project = "flows"\nslots = 2\n{settings}')
        self.project = open_project(root)

    def another(self) -> Project:
        """The same project as another process would open it."""
        return open_project(self.root)

    def write(self, source: str) -> None:
        """Write the pipeline file; a line `---` stands before the pipeline function."""
        steps, _, function = source.partition("---\n")
        (self.root / "pipelines" / "flow.py").write_text(HEADER + steps + PIPELINE + function)

    def plan(self) -> Plan:
        """The pipeline's plan."""
        return load_plans(self.project).plan("flow")

    def start(self, parameters: Mapping[str, Any] | None = None) -> Run:
        """Start the run of the day, or find it."""
        plan = self.plan()
        bound = bind_parameters(plan, dict(parameters or {}), validate=validator(self.project))
        return self.project.execution.start(plan, DAY, parameters=bound, actor=ACTOR)

    def execute(self, run: Run, observe: Observer = lambda _: None) -> dict[str, Any]:
        """Execute a run to its end and return its document, the books checked."""
        with foreground(self.project, self.plan(), observe) as worker:
            worker.execute(run.run_id)
        return self.document(run)

    def run(self, source: str, observe: Observer = lambda _: None, **parameters: Any) -> dict[str, Any]:
        """Write the pipeline and execute its run of the day."""
        self.write(source)
        return self.execute(self.start(parameters), observe)

    def resume(self, run_id: str) -> dict[str, Any]:
        """Resume a run that failed."""
        return self.execute(self.project.execution.resume(run_id, self.plan(), reason="repaired"))

    def document(self, run: Run) -> dict[str, Any]:
        """A run's document, the books checked."""
        check_books(self.project.database)
        with self.project.database.read() as connection:
            return run_document(connection, run.run_id, self.project.clock.now())

    def value(self, document: Mapping[str, Any], step: str) -> Any:
        """What a step of a run returned; of a list that is stored item by item, the list."""
        artifacts = self.project.artifacts
        with self.project.database.read() as connection:
            plan = plans.load(connection, queries.get_run(connection, document["run_id"]).plan_digest)
            name, index = parse_item(step)
            read = Read(name, RESULT, None if plan.is_list(Reference(name)) and index == WHOLE else index)
            found = outputs.stored(connection, document["run_id"], plan, [read])[read]
        return artifacts.get(found) if isinstance(found, Artifact) else [artifacts.get(item) for item in found]

    def log(self, document: Mapping[str, Any], step: str, number: int = 1) -> str:
        """The log of an attempt."""
        name = attempt_store.log_name(document["run_id"], step, number)
        return (self.project.log_folder / name).read_text()


def states(document: Mapping[str, Any]) -> dict[str, str]:
    """The states of a run's steps; an item's is under `fit[2]`."""
    return {_label(each): each["state"] for each in document["steps"]}


def attempts(document: Mapping[str, Any], step: str) -> list[dict[str, Any]]:
    """The attempts of a step."""
    (found,) = [each for each in document["steps"] if _label(each) == step]
    return list(found["attempts"])


def _label(step: Mapping[str, Any]) -> str:
    return item_name(step["name"], WHOLE if step["map_index"] is None else step["map_index"])


def days(count: int) -> list[Interval]:
    """So many days."""
    return [Interval(DAY.start + timedelta(days=n), DAY.end + timedelta(days=n)) for n in range(count)]


def only(document: dict[str, Any], step: str = "it") -> dict[str, Any]:
    """The one attempt of a step."""
    (found,) = attempts(document, step)
    return dict(found)


@contextmanager
def loaded(path: Path) -> Iterator[Any]:
    """The module of a pipeline file, loaded here under its name in a slot, by which values name their classes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise AssertionError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[path.stem]


def is_gone(process_id: int) -> bool:
    """Whether a process has ended, waiting 2 s at most."""
    try:
        process = psutil.Process(process_id)
    except psutil.NoSuchProcess:
        return True
    return not psutil.wait_procs([process], timeout=2.0)[1] or process.status() == psutil.STATUS_ZOMBIE
