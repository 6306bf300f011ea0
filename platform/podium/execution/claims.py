"""Claims: which step runs may start, and taking them, each by one conditional statement that says whether it won.

Every function takes the open connection of its caller's transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium import ids
from podium.dag.plan import Plan
from podium.db.engine import try_lock
from podium.db.prepared import Prepared
from podium.db.schema import attempt, run, step_run
from podium.errors import ConfigurationError
from podium.execution import attempt_store, outputs, run_limits, store
from podium.execution.items import item_name
from podium.execution.reads import Stored, digest_of, read_by
from podium.execution.store import LockedRun


@dataclass(frozen=True)
class Claim:
    """A step run that this worker holds now, with the attempt that holds it."""

    attempt_id: str
    number: int
    step_run_id: str
    step: str
    map_index: int
    run_id: str
    failures: int
    stored: Stored  # what it reads, and those that were claimed with it
    generation: int = 0


@dataclass(frozen=True)
class Limits:
    """How many attempts of a pool, and how many runs of a pipeline or a model, may go on at once over all workers."""

    pools: Mapping[str, int] = field(default_factory=dict)
    pipelines: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)


class Candidate(NamedTuple):
    """A step run that may start; `number` is that of the attempt it would get, `failures` counts those before."""

    step_run_id: str
    run_id: str
    step: str
    map_index: int
    failures: int
    number: int
    ready_at: datetime | None
    cache_key: str | None
    generation: int
    may_start_since: datetime | None  # when it became ready, or its back-off or snooze was over


class OpenRun(NamedTuple):
    """A run that something may start of, with what decides whether and when it does."""

    run_id: str
    state: str
    pipeline: str
    model: str
    plan_digest: str
    priority: int
    created_at: datetime
    rank_at: datetime
    ready_at: datetime | None
    backfill_id: str | None = None


def open_runs(
    connection: sa.Connection,
    now: datetime,
    limit: int,
    limits: Limits | None = None,
    after: OpenRun | None = None,
) -> list[OpenRun]:
    """Return up to `limit` runs of which something may start now, those of the highest rank first.

    With `after`, those of a lower rank than that one. Queued runs of pipelines, models and backfills that have as many
    running as their limit are left out.
    """
    left_out = run_limits.full(connection, limits.pipelines, limits.models) if limits is not None else []
    while True:
        if not left_out and after is None:
            found = [OpenRun(*row) for row in _OPEN_RUNS.rows(connection, {"now": now, "count": limit})]
        else:
            query = _open_runs(*_neither(left_out), *_behind(after))
            found = [OpenRun(*row) for row in connection.execute(query, {"now": now, "count": limit})]
        full = [backfill_id for backfill_id, room in run_limits.rooms(connection, found).items() if room <= 0]
        if not full:
            return found
        if len(found) < limit:
            return [each for each in found if each.state == "running" or each.backfill_id not in full]
        left_out.append(sa.and_(run.c.backfill_id.is_not(None), run.c.backfill_id.in_(full)))  # many more, maybe


def open_run(connection: sa.Connection, run_id: str, now: datetime) -> OpenRun | None:
    """Return a run if something may start of it now."""
    row = _OPEN_RUN.first(connection, {"of_run": run_id, "now": now, "count": 1})
    return None if row is None else OpenRun(*row)


def open_runs_of_backfill(connection: sa.Connection, backfill_id: str, now: datetime, limit: int) -> list[OpenRun]:
    """Return up to `limit` runs of a backfill of which something may start now, in its order, within its limit.

    Those that go on come first: runs that are taken up again may be queued before them, as many as you like.
    """
    asked = {"of_backfill": backfill_id, "now": now, "count": limit}
    rows = [*_RUNNING_OF_BACKFILL.rows(connection, asked), *_QUEUED_OF_BACKFILL.rows(connection, asked)]
    found = [OpenRun(*row) for row in rows]
    return run_limits.within(found, run_limits.rooms(connection, found))[:limit]


def candidates(
    connection: sa.Connection, run_id: str, now: datetime, limit: int, *, besides: Collection[str] = ()
) -> list[Candidate]:
    """Return up to `limit` step runs of a run that may start now, in the plan's order; none of the steps `besides`."""
    parameters = {"of_run": run_id, "now": now, "count": limit}
    if not besides:
        return [Candidate(*row) for row in _CANDIDATES.rows(connection, parameters)]
    query = _candidates(step_run.c.name.not_in(besides))
    return [Candidate(*row) for row in connection.execute(query, parameters)]


def candidates_of_step(connection: sa.Connection, run_id: str, step: str, now: datetime, limit: int) -> list[Candidate]:
    """Return up to `limit` step runs of one step, a mapped one's items, that may start now."""
    query = _candidates(step_run.c.name == step)
    return [Candidate(*row) for row in connection.execute(query, {"of_run": run_id, "now": now, "count": limit})]


class RunIsBusy(Exception):
    """Another transaction moves the run right now."""


def lock(
    connection: sa.Connection, run_id: str, plan: Plan, limits: Limits | None = None, *, wait: bool = True
) -> LockedRun | None:
    """Lock a run to claim of it; None if nothing of it may start, not yet or not any more, or not under this plan.

    While another transaction moves the run, this waits for its end, or without `wait` raises RunIsBusy: who holds the
    lock of a run waits for that of no other, or two could wait for each other.
    """
    locked = store.lock_run(connection, run_id) if wait else store.try_lock_run(connection, run_id)
    if locked is None:
        raise RunIsBusy
    if locked.state not in ("queued", "running"):
        return None
    if locked.plan_digest != plan.digest:
        return None
    if locked.state == "queued":
        limits = limits or Limits()
        of_run = plan.pipeline, locked.model, locked.backfill_id
        if not run_limits.may_begin(connection, *of_run, limits.pipelines, limits.models):
            return None
    return locked


def claim(
    connection: sa.Connection,
    worker_id: str,
    locked: LockedRun,
    wanted: Iterable[Candidate],
    plan: Plan,
    *,
    lease_seconds: float,
    now: datetime,
) -> list[Claim]:
    """Claim those of `wanted`, all of one `locked` run and its `plan`, each with a new running attempt.

    Who wants one whose step has a pool asks `has_room` first.
    """
    taken = [each for each in wanted if _take(connection, each, now)]
    if not taken:
        return []
    run_id = taken[0].run_id
    reads = {each.step_run_id: read_by(plan, plan.step(each.step), each.map_index) for each in taken}
    read = {read for own in reads.values() for read in own.values()}
    if any(plan.step(each.step).run_if != "all_succeeded" for each in taken):
        read = outputs.there(connection, run_id, read)
    stored = outputs.stored(connection, run_id, plan, read)
    claims = []
    for each in taken:
        made = Claim(
            ids.new_id(now),
            each.number,
            each.step_run_id,
            each.step,
            each.map_index,
            run_id,
            each.failures,
            stored,
            each.generation,
        )
        own = reads[each.step_run_id].items()
        digests = {name: digest_of(stored[read]) for name, read in own if read in stored}
        waited = now - (each.may_start_since or now)
        _begin(connection, worker_id, made, plan, digests, lease_seconds, now, max(0.0, waited.total_seconds()))
        claims.append(made)
    if locked.state == "queued":
        store.begin_run(connection, run_id, now)
    return claims


def _take(connection: sa.Connection, wanted: Candidate, now: datetime) -> bool:
    """Take one step run, if nobody was first."""
    return _TAKE.run(connection, {"of_step_run": wanted.step_run_id, "next": wanted.number, "now": now}) == 1


def _begin(
    connection: sa.Connection,
    worker_id: str,
    claim: Claim,
    plan: Plan,
    digests: Mapping[str, str],
    lease_seconds: float,
    now: datetime,
    waited_seconds: float,
) -> None:
    """Add the running attempt of a step run that was taken."""
    node, label = plan.step(claim.step), item_name(claim.step, claim.map_index)
    _ADD_ATTEMPT.run(
        connection,
        {
            "attempt_id": claim.attempt_id,
            "step_run_id": claim.step_run_id,
            "number": claim.number,
            "state": "running",
            "worker_id": worker_id,
            "code_digest": plan.code_digest,
            "reserved_cpu": node.resources.cpu,
            "reserved_memory_bytes": node.resources.memory_bytes,
            "reserved_gpu": node.resources.gpu,
            "lease_expires_at": now + timedelta(seconds=lease_seconds),
            "heartbeat_at": now,
            "started_at": now,
            "waited_seconds": waited_seconds,
            "log": attempt_store.log_name(claim.run_id, label, claim.number),
            "pool": node.pool,
            "reads": digests or None,
        },
    )
    store.record(connection, claim.run_id, "attempt.started", now, step=label, number=claim.number)


def has_room(connection: sa.Connection, pool: str, pools: Mapping[str, int]) -> bool:
    """Tell whether one more attempt of a pool may run; on PostgreSQL, until the transaction ends.

    Raises ConfigurationError for a pool that is not known.
    """
    if pool not in pools:
        known = f"it has {', '.join(sorted(pools))}" if pools else "there is none"
        raise ConfigurationError(
            f"The pool {pool!r} is not in podium.toml ({known}); write how many attempts of it may run at once, as "
            f"[pools] {pool} = 2."
        )
    if not try_lock(connection, f"pool:{pool}"):
        return False  # somebody else claims of it; who waited here, holding other locks, could wait crosswise
    query = sa.select(sa.func.count()).where(attempt.c.pool == pool, sa.text("attempt.state = 'running'"))
    return (connection.scalar(query.select_from(attempt)) or 0) < pools[pool]


def _neither(left_out: Sequence[sa.ColumnElement[bool]]) -> list[sa.ColumnElement[bool]]:
    """Return the condition that leaves out queued runs for which one of these holds."""
    return [sa.or_(run.c.state == "running", ~sa.or_(*left_out))] if left_out else []


def _behind(after: OpenRun | None) -> list[sa.ColumnElement[bool]]:
    if after is None:
        return []
    return [sa.or_(run.c.rank_at > after.rank_at, sa.and_(run.c.rank_at == after.rank_at, run.c.run_id > after.run_id))]


def _open_runs(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    first_ready_at = (
        sa.select(sa.func.min(step_run.c.ready_at, type_=step_run.c.ready_at.type))
        .where(step_run.c.run_id == run.c.run_id, _STEP_MAY_START)
        .correlate(run)
        .scalar_subquery()
    )
    columns = (
        run.c.run_id,
        run.c.state,
        run.c.pipeline,
        run.c.model,
        run.c.plan_digest,
        run.c.priority,
        run.c.created_at,
        run.c.rank_at,
        first_ready_at.label("ready_at"),
        run.c.backfill_id,
    )
    may_start = sa.exists().where(step_run.c.run_id == run.c.run_id, _STEP_MAY_START).correlate(run)
    return (
        sa.select(*columns)
        .where(_IS_OPEN, may_start, *conditions)
        .order_by(run.c.rank_at, run.c.run_id)
        .limit(sa.bindparam("count"))
    )


def _candidates(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    columns = (
        step_run.c.step_run_id,
        step_run.c.run_id,
        step_run.c.name,
        step_run.c.map_index,
        step_run.c.failures,
        _NEXT_NUMBER.label("number"),
        step_run.c.ready_at,
        step_run.c.cache_key,
        step_run.c.generation,
        sa.func.coalesce(step_run.c.not_before, step_run.c.ready_at, type_=step_run.c.ready_at.type),
    )
    return (
        sa.select(*columns)
        .where(step_run.c.run_id == sa.bindparam("of_run"), _STEP_MAY_START, *conditions)
        .order_by(step_run.c.position, step_run.c.map_index)
        .limit(sa.bindparam("count"))
    )


_NEXT_NUMBER = (
    sa.select(sa.func.coalesce(sa.func.max(attempt.c.number), 0) + 1)
    .where(attempt.c.step_run_id == step_run.c.step_run_id)
    .correlate(step_run)
    .scalar_subquery()
)
# The states word for word as in the indexes: SQLite uses a partial index only where it sees the constants.
_IS_OPEN = sa.text("run.state IN ('queued', 'running')")
_equal = step_run.alias("equal")
_EQUAL_RUNS = (
    sa.exists()
    .select_from(_equal)
    .where(_equal.c.cache_key == step_run.c.cache_key, sa.text("equal.state = 'running'"))
    .correlate(step_run)
)
_STEP_MAY_START = sa.and_(
    sa.text("step_run.state IN ('ready', 'waiting')"),
    sa.or_(step_run.c.state == "ready", step_run.c.not_before <= sa.bindparam("now")),
    sa.or_(step_run.c.cache_key.is_(None), ~_EQUAL_RUNS),  # else it waits for what its equal comes to
)
# Not the column itself: the databases would take the backfill's index, and read all its runs, for the first few.
_OF_BACKFILL = sa.func.coalesce(run.c.backfill_id, sa.literal_column("''")) == sa.bindparam("of_backfill")
_OPEN_RUNS = Prepared(_open_runs())
_OPEN_RUN = Prepared(_open_runs(run.c.run_id == sa.bindparam("of_run")))
_RUNNING_OF_BACKFILL = Prepared(_open_runs(_OF_BACKFILL, run.c.state == "running"))
_QUEUED_OF_BACKFILL = Prepared(_open_runs(_OF_BACKFILL, run.c.state == "queued"))
_CANDIDATES = Prepared(_candidates())
_TAKE = Prepared(
    step_run.update()
    .where(
        step_run.c.step_run_id == sa.bindparam("of_step_run"),
        _STEP_MAY_START,
        sa.bindparam("next") == _NEXT_NUMBER,  # nobody made an attempt since the candidate was seen
    )
    .values(state="running", not_before=None, reason=None)
)
_ADD_ATTEMPT = Prepared(
    attempt.insert().values(
        {
            name: sa.bindparam(name)
            for name in (
                "attempt_id",
                "step_run_id",
                "number",
                "state",
                "worker_id",
                "code_digest",
                "reserved_cpu",
                "reserved_memory_bytes",
                "reserved_gpu",
                "lease_expires_at",
                "heartbeat_at",
                "started_at",
                "waited_seconds",
                "log",
                "pool",
                "reads",
            )
        }
    )
)
