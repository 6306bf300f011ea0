"""Why a cached step was computed: how its key differs from that of the newest equal step before it.

Told afterwards, from what both runs read and which code they had; nothing is written down for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.db.schema import run as run_table
from podium.db.schema import step_run
from podium.execution import outputs, plans, queries
from podium.execution.caching import Key, keys_of
from podium.execution.items import WHOLE
from podium.execution.reads import read_by


@dataclass(frozen=True)
class Miss:
    """The run that a step is compared with (None: no run before had a result of it), and what differs.

    That is `code`, `function`, `outputs`, `input NAME` and `environment`; `no cache` where the run was to take over
    nothing, and `age` where nothing differs but the result was too old, or removed.
    """

    compared_with: str | None
    differs: tuple[str, ...]


def of_run(connection: sa.Connection, run_id: str) -> dict[str, Miss]:
    """Return why the cached steps of a run that were computed were not taken over, by step run; not of items."""
    run = queries.get_run(connection, run_id)
    plan = plans.load(connection, run.plan_digest)
    return {
        row.step_run_id: _miss(connection, row, plan)
        for row in queries.step_rows(connection, run_id)
        if row.cache_key is not None and not row.cached and row.map_index == WHOLE and row.ready_at is not None
    }


def _miss(connection: sa.Connection, row: sa.Row[Any], plan: Plan) -> Miss:
    mine = queries.get_run(connection, row.run_id)
    before = connection.execute(
        sa.select(step_run.c.run_id, step_run.c.cache_key)
        .join(run_table, run_table.c.run_id == step_run.c.run_id)
        .where(
            run_table.c.pipeline == mine.pipeline,
            step_run.c.name == row.name,
            step_run.c.map_index == WHOLE,
            step_run.c.state == "succeeded",
            step_run.c.cache_key.is_not(None),
            step_run.c.ended_at <= row.ready_at,
            step_run.c.run_id != row.run_id,
        )
        .order_by(run_table.c.created_at.desc(), run_table.c.run_id.desc())
        .limit(1)
    ).first()
    if before is None:
        return Miss(None, ())
    if not mine.uses_cache:
        return Miss(before.run_id, ("no cache",))
    if before.cache_key == row.cache_key:
        return Miss(before.run_id, ("age",))
    theirs = queries.get_run(connection, before.run_id)
    other = _key(connection, theirs.run_id, plans.load(connection, theirs.plan_digest), row.name)
    return Miss(before.run_id, tuple(_differences(_key(connection, mine.run_id, plan, row.name), other)))


def _key(connection: sa.Connection, run_id: str, plan: Plan, step: str) -> Key:
    node = plan.step(step)
    stored = outputs.stored(connection, run_id, plan, set(read_by(plan, node, None).values()))
    (key,) = keys_of(queries.get_run(connection, run_id), plan, node, stored)
    return key


def _differences(mine: Key, theirs: Key) -> Iterator[str]:
    parts = [name for name in ("code", "function", "outputs") if getattr(mine, name) != getattr(theirs, name)]
    names = dict.fromkeys((*mine.inputs, *theirs.inputs))
    parts += [f"input {name}" for name in names if mine.inputs.get(name) != theirs.inputs.get(name)]
    yield from parts or ["environment"]  # which is known by its digest in the keys alone
