"""The slice's reads."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.db.prepared import Prepared
from podium.db.schema import artifact, attempt, event, plan, run, step_run
from podium.db.schema.execution import RUN_TAKEN_UP
from podium.errors import InternalError, NotFound
from podium.execution.artifacts import Artifact
from podium.execution.entities import Actor, Assignment, Run, RunState
from podium.execution.items import WHOLE, item_name


@dataclass(frozen=True)
class AttemptRow:
    """A running attempt as its end needs it, whoever ends it."""

    attempt_id: str
    number: int
    worker_id: str
    started_at: datetime
    heartbeat_at: datetime
    reserved_cpu: float
    reserved_memory_bytes: int
    reserved_gpu: int
    step_run_id: str
    step: str
    map_index: int
    failures: int
    run_id: str
    plan_digest: str
    team: str
    model: str
    environment: str

    @classmethod
    def of(cls, assignment: Assignment, worker_id: str) -> Self:
        """Return what a worker knows of an attempt that it claimed."""
        reserved, run = assignment.node.resources, assignment.run
        return cls(
            attempt_id=assignment.attempt_id,
            number=assignment.number,
            worker_id=worker_id,
            started_at=assignment.started_at,
            heartbeat_at=assignment.started_at,
            reserved_cpu=reserved.cpu,
            reserved_memory_bytes=reserved.memory_bytes,
            reserved_gpu=reserved.gpu,
            step_run_id=assignment.step_run_id,
            step=assignment.node.name,
            map_index=assignment.map_index,
            failures=assignment.failures,
            run_id=run.run_id,
            plan_digest=assignment.plan.digest,
            team=run.team,
            model=run.model,
            environment=run.environment,
        )

    @property
    def label(self) -> str:
        """The step run's name: its step's, and for an item its number."""
        return item_name(self.step, self.map_index)


def get_run(connection: sa.Connection, run_id: str) -> Run:
    """Return a run by its id, or by a beginning or an end of it that only one run has; NotFound otherwise."""
    exact = _RUN.first(connection, {"of_run": run_id})
    if exact is not None:
        return _run_of(_RunRow(*exact))
    found = connection.execute(
        _runs().where(sa.or_(run.c.run_id.like(f"{run_id}%"), run.c.run_id.like(f"%{run_id}"))).limit(2)
    ).all()
    if len(found) != 1 or not run_id.isalnum():
        fact = "More than one run begins or ends with" if len(found) > 1 else "There is no run"
        raise NotFound(f"{fact} {run_id!r}; `podium runs list` shows them.")
    return _run_of(found[0])


def waits_for_equal(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Return for what those step runs of a run wait whose equal is running elsewhere, by step run."""
    equal = step_run.alias("equal")
    query = (
        sa.select(step_run.c.step_run_id, equal.c.name, equal.c.map_index, equal.c.run_id)
        .join(equal, sa.and_(equal.c.cache_key == step_run.c.cache_key, sa.text("equal.state = 'running'")))
        .where(step_run.c.run_id == run_id, step_run.c.state.in_(("ready", "waiting")))
    )
    return {
        row.step_run_id: f"waits for the equal step {item_name(row.name, row.map_index)} of run {row.run_id}"
        for row in connection.execute(query)
    }


def last_event_id(connection: sa.Connection) -> int:
    """Return the number of the last event so far; 0 without one."""
    found = _LAST_EVENT_ID.first(connection, {})
    return 0 if found is None else found[0] or 0


def is_open(connection: sa.Connection, run_id: str) -> bool:
    """Tell whether a run has not ended; False for one that does not exist."""
    found = _RUN_STATE.first(connection, {"of_run": run_id})
    return found is not None and found[0] in ("queued", "running")


def find_run(connection: sa.Connection, pipeline: str, interval: Interval, parameters: Mapping[str, Any]) -> Run | None:
    """Return the newest run of a pipeline for an interval with these parameters."""
    of_interval = {"of_pipeline": pipeline, "start": interval.start, "end": interval.end}
    rows = (_RunRow(*row) for row in _RUNS_OF_INTERVAL.rows(connection, of_interval))
    return next((_run_of(row) for row in rows if row.parameters == dict(parameters)), None)


def list_runs(
    connection: sa.Connection, *, pipeline: str | None = None, state: str | None = None, limit: int = 50
) -> list[str]:
    """Return run ids, the newest first."""
    query = sa.select(run.c.run_id).order_by(run.c.created_at.desc(), run.c.run_id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(run.c.pipeline == pipeline)
    if state is not None:
        query = query.where(run.c.state == state)
    return list(connection.scalars(query))


def run_rows(connection: sa.Connection, run_ids: Collection[str]) -> dict[str, sa.Row[Any]]:
    """Return the rows of runs, with their plan's time zone, by id."""
    rows = connection.execute(
        sa.select(run, plan.c.document["timezone"].as_string().label("timezone"))
        .join(plan, plan.c.digest == run.c.plan_digest)
        .where(run.c.run_id.in_(run_ids))
    )
    return {row.run_id: row for row in rows}


def step_rows(connection: sa.Connection, run_id: str) -> list[sa.Row[Any]]:
    """Return a run's step runs in the plan's order: of a mapped step the whole, and then its items."""
    query = sa.select(step_run).where(step_run.c.run_id == run_id)
    return list(connection.execute(query.order_by(step_run.c.position, step_run.c.map_index)))


def attempt_rows(connection: sa.Connection, run_id: str) -> list[sa.Row[Any]]:
    """Return a run's attempts with their step's name and `map_index`, in order."""
    return list(
        connection.execute(
            sa.select(attempt, step_run.c.name.label("step"), step_run.c.map_index)
            .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
            .where(step_run.c.run_id == run_id)
            .order_by(step_run.c.position, step_run.c.map_index, attempt.c.number)
        )
    )


class EventRow(NamedTuple):
    """One event of a run."""

    event_id: int
    run_id: str
    step: str | None
    attempt: int | None
    kind: str
    reason: str | None
    at: datetime


def event_rows(connection: sa.Connection, run_id: str, after: int = 0) -> list[EventRow]:
    """Return a run's events behind the event numbered `after`."""
    return [EventRow(*row) for row in _EVENTS.rows(connection, {"of_run": run_id, "after": after})]


class BadStep(NamedTuple):
    """A step that failed or was cancelled, and why."""

    name: str
    state: str
    reason: str | None


def bad_steps(connection: sa.Connection, run_id: str) -> list[BadStep]:
    """Return the steps of a run that failed or were cancelled, in the plan's order."""
    return [BadStep(*row) for row in _BAD_STEPS.rows(connection, {"of_run": run_id})]


def step_states(connection: sa.Connection, run_id: str, steps: Iterable[str]) -> dict[str, str]:
    """Return the states of some steps of a run, by name; of a mapped step that of the whole."""
    found = {}
    for name in steps:
        row = _STEP_STATE.first(connection, {"of_run": run_id, "of_step": name})
        if row is None:
            raise InternalError(f"The run {run_id} has no step {name}.")
        found[name] = row[0]
    return found


def step_runs_that_succeeded(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Return the labels of a run's step runs that succeeded, items included, by id."""
    rows = connection.execute(
        sa.select(step_run.c.step_run_id, step_run.c.name, step_run.c.map_index).where(
            step_run.c.run_id == run_id, step_run.c.state == "succeeded"
        )
    )
    return {row.step_run_id: item_name(row.name, row.map_index) for row in rows}


def step_run_id(connection: sa.Connection, run_id: str, step: str) -> str:
    """Return the id of a step's own row; of a mapped step, of the whole."""
    found: str = connection.execute(
        sa.select(step_run.c.step_run_id).where(
            step_run.c.run_id == run_id, step_run.c.name == step, step_run.c.map_index == WHOLE
        )
    ).scalar_one()
    return found


def running_attempt(connection: sa.Connection, attempt_id: str) -> AttemptRow | None:
    """Return an attempt if it still runs."""
    row = connection.execute(_running_attempts().where(attempt.c.attempt_id == attempt_id)).first()
    return None if row is None else AttemptRow(**row._asdict())


def running_attempts_of_run(connection: sa.Connection, run_id: str) -> list[AttemptRow]:
    """Return the attempts of a run that are running, in the order of their ids."""
    of_run = _running_attempts().where(step_run.c.run_id == run_id)
    rows = connection.execute(of_run.order_by(attempt.c.attempt_id))
    return [AttemptRow(**row._asdict()) for row in rows]


def first_started_at(connection: sa.Connection, run_id: str, step_run_id: str) -> datetime:
    """Return when the first attempt of a step run began since its run was last taken up again."""
    taken_up = (
        sa.select(sa.func.max(event.c.at, type_=event.c.at.type))
        .where(event.c.run_id == run_id, event.c.kind.in_(RUN_TAKEN_UP))
        .scalar_subquery()
    )
    first: datetime = connection.execute(
        sa.select(sa.func.min(attempt.c.started_at, type_=attempt.c.started_at.type)).where(
            attempt.c.step_run_id == step_run_id, sa.or_(taken_up.is_(None), attempt.c.started_at >= taken_up)
        )
    ).scalar_one()
    return first


def running_attempts_of(connection: sa.Connection, worker_id: str) -> list[AttemptRow]:
    """Return the attempts a worker has running."""
    rows = connection.execute(_running_attempts().where(attempt.c.worker_id == worker_id))
    return [AttemptRow(**row._asdict()) for row in rows]


def artifact_of(connection: sa.Connection, digest: str) -> Artifact:
    """Return a stored artifact; NotFound for an unknown digest."""
    row = connection.execute(sa.select(artifact).where(artifact.c.digest == digest)).first()
    if row is None:
        raise NotFound(f"No artifact is stored under {digest}.")
    return Artifact(row.digest, row.codec, row.size_bytes, row.inline, row.removed_at)


def _runs() -> sa.Select[Any]:
    return sa.select(run, plan.c.document["timezone"].as_string().label("timezone")).join(
        plan, plan.c.digest == run.c.plan_digest
    )


def _running_attempts() -> sa.Select[Any]:
    return (
        sa.select(
            attempt.c.attempt_id,
            attempt.c.number,
            attempt.c.worker_id,
            attempt.c.started_at,
            attempt.c.heartbeat_at,
            attempt.c.reserved_cpu,
            attempt.c.reserved_memory_bytes,
            attempt.c.reserved_gpu,
            attempt.c.step_run_id,
            step_run.c.name.label("step"),
            step_run.c.map_index,
            step_run.c.failures,
            step_run.c.run_id,
            run.c.plan_digest,
            run.c.team,
            run.c.model,
            run.c.environment,
        )
        .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
        .join(run, run.c.run_id == step_run.c.run_id)
        .where(attempt.c.state == "running")
    )


def interval_of(row: "sa.Row[Any] | _RunRow") -> Interval:
    """Return the interval of a row of `run_rows`, in its pipeline's time zone."""
    zone = ZoneInfo(row.timezone)
    return Interval(row.interval_start.astimezone(zone), row.interval_end.astimezone(zone))


class _RunRow(NamedTuple):
    """What of a run's row, and its plan's, makes a Run."""

    run_id: str
    pipeline: str
    plan_digest: str
    interval_start: datetime
    interval_end: datetime
    parameters: Mapping[str, Any]
    idempotency_key: str
    state: RunState
    outcome: str | None
    reason: str | None
    actor: str
    actor_verified: bool
    team: str
    model: str
    environment: str
    uses_cache: bool
    backfill_id: str | None
    timezone: str


def _run_of(row: sa.Row[Any] | _RunRow) -> Run:
    return Run(
        run_id=row.run_id,
        pipeline=row.pipeline,
        plan_digest=row.plan_digest,
        interval=interval_of(row),
        parameters=row.parameters,
        idempotency_key=row.idempotency_key,
        state=row.state,
        outcome=row.outcome,
        reason=row.reason,
        actor=Actor(row.actor, row.actor_verified),
        team=row.team,
        model=row.model,
        environment=row.environment,
        uses_cache=row.uses_cache,
        backfill_id=row.backfill_id,
    )


_OF_STEP = (
    step_run.c.run_id == sa.bindparam("of_run"),
    step_run.c.name == sa.bindparam("of_step"),
    step_run.c.map_index == WHOLE,
)
_RUNS = sa.select(
    *(run.c[name] for name in _RunRow._fields if name != "timezone"),
    plan.c.document["timezone"].as_string().label("timezone"),
).join(plan, plan.c.digest == run.c.plan_digest)
_RUN = Prepared(_RUNS.where(run.c.run_id == sa.bindparam("of_run")))
_RUNS_OF_INTERVAL = Prepared(
    _RUNS.where(
        run.c.pipeline == sa.bindparam("of_pipeline"),
        run.c.interval_start == sa.bindparam("start"),
        run.c.interval_end == sa.bindparam("end"),
    ).order_by(run.c.created_at.desc(), run.c.run_id.desc())
)
_BAD_STEPS = Prepared(
    sa.select(step_run.c.name, step_run.c.state, step_run.c.reason)
    .where(
        step_run.c.run_id == sa.bindparam("of_run"),
        step_run.c.map_index == WHOLE,
        sa.text("step_run.state IN ('failed', 'cancelled')"),
    )
    .order_by(step_run.c.position)
)
_STEP_STATE = Prepared(sa.select(step_run.c.state).where(*_OF_STEP))
_RUN_STATE = Prepared(sa.select(run.c.state).where(run.c.run_id == sa.bindparam("of_run")))
_LAST_EVENT_ID = Prepared(sa.select(sa.func.max(event.c.event_id)))
_EVENTS = Prepared(
    sa.select(*(event.c[name] for name in EventRow._fields))
    .where(event.c.run_id == sa.bindparam("of_run"), event.c.event_id > sa.bindparam("after"))
    .order_by(event.c.event_id)
)
