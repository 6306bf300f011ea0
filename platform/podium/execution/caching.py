"""Cached steps: one that equals another is not executed, it takes over the outputs that the other has or will have.

Equal means: the same code, as far as the step reaches it (`podium.dag.code`), the same function, the same inputs by
digest, interval and parameters included, and the same declared environment. An item of a mapped step equals whatever
got the same item, under whichever number.

Whether there is an equal result is asked when a step becomes ready, and again when a worker claims it: then an equal
one that runs is waited for. What the environment is, only the worker that would execute the step can say.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from podium import ids
from podium.dag import environment, values
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, StepNode
from podium.db.engine import try_locks
from podium.db.schema import artifact, attempt, event, output, step_run
from podium.execution import outputs, queries
from podium.execution.artifacts import Artifact
from podium.execution.entities import Run
from podium.execution.items import item_name
from podium.execution.reads import Stored, digest_of, items_of, read_by

_WITHOUT_CODE = ("arrow", "numpy")
"""Codecs whose values bring no class of their own."""


class SavingsPort(Protocol):
    """Where it is noted what was not computed again, inside the transaction that takes it over."""

    def save(self, connection: sa.Connection, sources: Mapping[str, str], now: datetime) -> None:
        """Note that step runs took over what attempts made; `sources` are attempts by step run."""


@dataclass(frozen=True)
class Key:
    """What equal step runs have in common, part by part."""

    code: str
    function: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, Any]
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The key as it is stored: equal parts, equal digest."""
        return ids.digest_json(
            {
                "code": self.code,
                "function": self.function,
                "outputs": self.outputs,
                "inputs": dict(self.inputs),
                "environment": dict(self.environment),
            }
        )


def keys_of(run: Run, plan: Plan, node: StepNode, stored: Stored) -> list[Key]:
    """Return the key of a step, or of a mapped step those of its items; the environment is that of this process.

    `stored` holds all that the step reads.
    """
    reads = read_by(plan, node, None)

    def identity(name: str, source: Any) -> _Identity:
        if isinstance(source, Constant):
            return _of_value("constant", source.value)
        if isinstance(source, IntervalInput):
            return _Identity({"interval": run.interval.to_document()})
        if isinstance(source, ParameterInput):
            return _of_value("parameter", run.parameters[source.name])
        return _of_artifacts(stored[reads[name]])

    alike = {name: identity(name, source) for name, source in node.inputs.items() if name != node.over}
    known = environment.identity(node.cache_environment)
    if node.over is None:
        return [_key(plan, node, alike, known)]
    kind = "constant" if isinstance(node.inputs[node.over], Constant) else "parameter"
    items = items_of(node, run.parameters, stored)
    each = (_of_artifacts(item) if isinstance(item, Artifact) else _of_value(kind, item) for item in items)
    return [_key(plan, node, {**alike, node.over: item}, known) for item in each]


def settle_ready(
    connection: sa.Connection,
    savings: SavingsPort,
    run: Run,
    node: StepNode,
    keys: Mapping[tuple[str, int], str],
    now: datetime,
) -> set[str]:
    """Note the keys of a step's step runs that wait on nothing, and take over what has an equal result.

    `keys` are by step run and item number. Returns the step runs that succeeded; the others are as before. Where the
    environment counts that is left to the worker that claims them. The statements are as many for ten thousand as
    for one.
    """
    _note(connection, keys)
    return set() if node.cache_environment else _take_over(connection, savings, run, node, keys, now)


def _note(connection: sa.Connection, keys: Mapping[tuple[str, int], str]) -> None:
    noted = [{"mine": mine, "key": key} for (mine, _), key in keys.items()]
    if noted:
        connection.execute(_OF_MINE.values(cache_key=sa.bindparam("key")), noted)


_OF_MINE = step_run.update().where(step_run.c.step_run_id == sa.bindparam("mine"))


def _take_over(
    connection: sa.Connection,
    savings: SavingsPort,
    run: Run,
    node: StepNode,
    keys: Mapping[tuple[str, int], str],
    now: datetime,
) -> set[str]:
    """Let those step runs succeed that have an equal result, with its outputs; return them."""
    if not keys:
        return set()
    results = _results(connection, run, node, set(keys.values()), now)
    taken = {mine: (item_name(node.name, index), results[key]) for (mine, index), key in keys.items() if key in results}
    if taken:
        columns = (sa.bindparam("mine", type_=sa.String), output.c.name, output.c.digest, output.c.attempt_id)
        theirs = sa.select(*columns).where(output.c.step_run_id == sa.bindparam("theirs"))
        connection.execute(
            output.insert().from_select(["step_run_id", "name", "digest", "attempt_id"], theirs),
            [{"mine": mine, "theirs": result.step_run_id} for mine, (_, result) in taken.items()],
        )
        succeeded = {
            "state": "succeeded",
            "cached": True,
            "reason": None,
            "not_before": None,
            "ready_at": sa.func.coalesce(step_run.c.ready_at, now, type_=step_run.c.ready_at.type),
            "ended_at": now,
        }
        connection.execute(_OF_MINE.values(succeeded), [{"mine": mine} for mine in taken])
        rows = [
            {
                "run_id": run.run_id,
                "step": label,
                "kind": "step.cached",
                "reason": f"the same as in run {result.run_id}",
                "at": now,
            }
            for label, result in taken.values()
        ]
        connection.execute(event.insert(), rows)
        savings.save(connection, {mine: result.attempt_id for mine, (_, result) in taken.items()}, now)
    return set(taken)


@dataclass(frozen=True)
class Settled:
    """What is to be done with step runs that may start: execute some, leave others; some were taken over."""

    execute: list[queries.Claimable]
    taken_over: list[queries.Claimable]
    passed_over: Collection[str]  # keys of which nothing more is to be executed now


def settle_claimable(
    connection: sa.Connection,
    savings: SavingsPort,
    run: Run,
    plan: Plan,
    rows: Sequence[queries.Claimable],
    limit: int,
    now: datetime,
) -> Settled:
    """Take over what of a run's claimable step runs has an equal result by now; choose up to `limit` to be executed.

    Of equal ones, here or in other runs, one is executed at a time: nobody else can begin one of those chosen before
    this transaction ends.
    """
    cached = {row: key for name in {row.name for row in rows} for row, key in _keys(connection, run, plan, name, rows)}
    keys = set(cached.values())
    held = try_locks(connection, [f"cache:{key}" for key in sorted(keys)])
    free = {key for key in keys if f"cache:{key}" in held}
    running = connection.scalars(
        sa.select(step_run.c.cache_key).where(step_run.c.cache_key.in_(keys), sa.text("step_run.state = 'running'"))
    )
    busy = (keys - free) | set(running)
    _note(connection, {(row.step_run_id, row.map_index): key for row, key in cached.items() if row.cache_key != key})
    taken: set[str] = set()
    for name in {row.name for row in cached}:
        mine = {(row.step_run_id, row.map_index): key for row, key in cached.items() if row.name == name}
        taken |= _take_over(connection, savings, run, plan.step(name), mine, now)
    execute: list[queries.Claimable] = []
    for row in rows:
        if row.step_run_id in taken or cached.get(row) in busy or len(execute) == limit:
            continue
        execute.append(row)
        busy |= {cached[row]} if row in cached else set()
    return Settled(execute, [row for row in rows if row.step_run_id in taken], busy)


def _keys(
    connection: sa.Connection, run: Run, plan: Plan, name: str, rows: Sequence[queries.Claimable]
) -> list[tuple[queries.Claimable, str]]:
    """Return the keys of a cached step's claimable step runs: as noted, or as this process' environment makes them."""
    node = plan.step(name)
    of_step = [row for row in rows if row.name == name] if node.cache else []
    if not node.cache_environment and all(row.cache_key is not None for row in of_step):
        return [(row, row.cache_key) for row in of_step if row.cache_key is not None]
    stored = outputs.stored(connection, run.run_id, plan, set(read_by(plan, node, None).values()))
    keys = keys_of(run, plan, node, stored)
    return [(row, keys[max(row.map_index, 0)].digest) for row in of_step]


def _results(
    connection: sa.Connection, run: Run, node: StepNode, keys: Collection[str], now: datetime
) -> "dict[str, _Result]":
    """Return the newest usable result under each key that has one.

    One that was itself taken over is none: how old a result is and what it cost is told by the attempt that made it.
    """
    removed = (
        sa.exists()
        .select_from(output.join(artifact))
        .where(output.c.step_run_id == step_run.c.step_run_id, artifact.c.removed_at.is_not(None))
    )
    query = (
        sa.select(step_run.c.cache_key, step_run.c.step_run_id, step_run.c.run_id, attempt.c.attempt_id)
        .join(attempt, attempt.c.step_run_id == step_run.c.step_run_id)
        .where(
            step_run.c.cache_key.in_(keys),
            sa.text("step_run.state = 'succeeded' AND step_run.cache_key IS NOT NULL"),  # word for word the index'
            ~step_run.c.cached,
            attempt.c.state == "succeeded",
            ~removed,
        )
        .order_by(attempt.c.ended_at, attempt.c.attempt_id)
    )
    if node.cache_ttl_seconds is not None:
        query = query.where(attempt.c.ended_at >= now - timedelta(seconds=node.cache_ttl_seconds))
    if not run.uses_cache:  # equal items of its own are computed once, even so
        query = query.where(step_run.c.run_id == run.run_id)
    return {row.cache_key: _Result(*row[1:]) for row in connection.execute(query)}


class _Result(NamedTuple):
    """A step run that was computed, and the attempt that made its outputs."""

    step_run_id: str
    run_id: str
    attempt_id: str


@dataclass(frozen=True)
class _Identity:
    """What tells an input from another, and whether it brings a class of its own, whose code then counts."""

    document: Mapping[str, Any]
    brings_code: bool = False


def _of_value(kind: str, value: Any) -> _Identity:
    return _Identity({kind: value}, bool(values.named_types(value)))


def _of_artifacts(found: Artifact | tuple[Artifact, ...]) -> _Identity:
    each = (found,) if isinstance(found, Artifact) else found
    return _Identity({"digest": digest_of(found)}, any(map(_brings_code, each)))


def _brings_code(found: Artifact) -> bool:
    if found.inline is not None:
        return bool(values.named_types(json.loads(found.inline)))
    return found.codec not in _WITHOUT_CODE


def _key(plan: Plan, node: StepNode, inputs: Mapping[str, _Identity], known: Mapping[str, str | None]) -> Key:
    # An object's methods are code that the step may run without naming it; a step before it named it.
    brings_code = any(each.brings_code for each in inputs.values())
    given = any(each.brings_code and "digest" not in each.document for each in inputs.values())
    own = node.upstream_code_digest if brings_code else node.code_digest
    split = plan.split_outputs(node.name)
    return Key(
        code=plan.code_digest if own is None or given else own,
        function=f"{node.module}.{node.qualname}",
        outputs=tuple(sorted(f"{name}[]" if name in split else name for name in node.outputs)),
        inputs={name: each.document for name, each in inputs.items()},
        environment=known,
    )
