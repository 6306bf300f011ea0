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
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa

from podium import ids
from podium.dag import environment, values
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, StepNode
from podium.db.engine import try_lock
from podium.db.schema import artifact, attempt, event, output, step_run
from podium.db.schema import run as run_table
from podium.execution import claims, outputs
from podium.execution.artifacts import Artifact
from podium.execution.claims import Candidate
from podium.execution.entities import Run
from podium.execution.items import item_name
from podium.execution.reads import Stored, digest_of, items_of, read_by

_WITHOUT_CODE = ("arrow", "numpy")
"""Codecs whose values bring no class of their own."""

_TOGETHER = 500
"""So many items of a mapped step are looked at together where one was taken over."""


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


class Open(Protocol):
    """A step run that waits on nothing; of a mapped step, an item."""

    @property
    def step_run_id(self) -> str:
        """Its row."""

    @property
    def map_index(self) -> int:
        """The item's number; WHOLE for a step that is not mapped."""


AnyOpen = TypeVar("AnyOpen", bound=Open)


def settle_ready(
    connection: sa.Connection,
    savings: SavingsPort,
    run: Run,
    node: StepNode,
    keys: Mapping[AnyOpen, str],
    now: datetime,
) -> list[AnyOpen]:
    """Note the keys of a step's open step runs, and take over what has an equal result; return those that succeeded.

    Where the environment counts that is left to the worker that claims them. The statements are as many for ten
    thousand as for one.
    """
    _note(connection, keys)
    return [] if node.cache_environment else _take_over(connection, savings, run, node, keys, now)


def _note(connection: sa.Connection, keys: Mapping[AnyOpen, str]) -> None:
    noted = [{"mine": each.step_run_id, "key": key} for each, key in keys.items()]
    if noted:
        connection.execute(_OF_MINE.values(cache_key=sa.bindparam("key")), noted)


_OF_MINE = step_run.update().where(step_run.c.step_run_id == sa.bindparam("mine"))


def _take_over(
    connection: sa.Connection,
    savings: SavingsPort,
    run: Run,
    node: StepNode,
    keys: Mapping[AnyOpen, str],
    now: datetime,
) -> list[AnyOpen]:
    """Let those step runs succeed that have an equal result, with its outputs; return them."""
    if not keys:
        return []
    results = _results(connection, run, node, set(keys.values()), now)
    if not results:
        return []
    kept = outputs.kept(connection, [each.step_run_id for each in results.values()])
    results = {key: each for key, each in results.items() if each.step_run_id in kept}
    taken = {each: results[key] for each, key in keys.items() if key in results}
    if taken:
        columns = (sa.bindparam("mine", type_=sa.String), output.c.name, output.c.digest, output.c.attempt_id)
        theirs = sa.select(*columns).where(output.c.step_run_id == sa.bindparam("theirs"))
        connection.execute(
            output.insert().from_select(["step_run_id", "name", "digest", "attempt_id"], theirs),
            [{"mine": each.step_run_id, "theirs": result.step_run_id} for each, result in taken.items()],
        )
        succeeded = {
            "state": "succeeded",
            "cached": True,
            "reason": None,
            "not_before": None,
            "ready_at": sa.func.coalesce(step_run.c.ready_at, now, type_=step_run.c.ready_at.type),
            "ended_at": now,
        }
        connection.execute(_OF_MINE.values(succeeded), [{"mine": each.step_run_id} for each in taken])
        events = [
            {
                "run_id": run.run_id,
                "step": item_name(node.name, each.map_index),
                "kind": "step.cached",
                "reason": f"the same as in run {result.run_id}",
                "at": now,
            }
            for each, result in taken.items()
        ]
        connection.execute(event.insert(), events)
        savings.save(connection, {each.step_run_id: result.attempt_id for each, result in taken.items()}, now)
    return list(taken)


Settled = Literal["execute", "taken over", "busy"]


def settle_claimable(
    connection: sa.Connection, savings: SavingsPort, run: Run, plan: Plan, wanted: Candidate, now: datetime
) -> tuple[Settled, list[Candidate]]:
    """Say what is to be done with a cached step's candidate, and return what was taken over: of a mapped step, many.

    What is to be `execute`d nobody else can begin an equal of before this transaction ends; `busy` is what somebody
    else is about to begin, or has begun.
    """
    keys = _keys(connection, run, plan, [wanted])
    key = keys[wanted]
    if not try_lock(connection, f"cache:{key}"):
        return "busy", []
    _note(connection, keys)
    node = plan.step(wanted.step)
    taken = _take_over(connection, savings, run, node, keys, now)
    if taken:
        if node.over is not None:
            others = claims.candidates_of_step(connection, run.run_id, node.name, now, _TOGETHER)
            keys = _keys(connection, run, plan, others)
            _note(connection, keys)
            taken += _take_over(connection, savings, run, node, keys, now)
        return "taken over", taken
    running = sa.select(step_run.c.step_run_id).where(
        step_run.c.cache_key == key, sa.text("step_run.state = 'running' AND step_run.cache_key IS NOT NULL")
    )
    return "execute" if connection.execute(running).first() is None else "busy", []


def _keys(connection: sa.Connection, run: Run, plan: Plan, wanted: Sequence[Candidate]) -> dict[Candidate, str]:
    """Return the keys of candidates of one step: as noted, or as this process' environment makes them."""
    noted = {each: each.cache_key for each in wanted if each.cache_key is not None}
    node = plan.step(wanted[0].step) if wanted else None
    if node is None or (len(noted) == len(wanted) and not node.cache_environment):
        return noted
    stored = outputs.stored(connection, run.run_id, plan, set(read_by(plan, node, None).values()))
    keys = keys_of(run, plan, node, stored)
    return {each: keys[max(each.map_index, 0)].digest for each in wanted}


def leave(connection: sa.Connection, run_id: str) -> None:
    """Let a run compute from now on what other runs computed before it."""
    connection.execute(run_table.update().where(run_table.c.run_id == run_id).values(uses_cache=False))


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
