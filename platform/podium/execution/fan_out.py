"""A mapped step in the database: beside its own row, the whole, a step run for each item.

Items are made when all that the step waits on has succeeded. The whole waits on those that are open and ends with
the last of them; who needs the step looks at the whole alone. A fan-out costs O(items), the end of one item O(1).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium import faults, ids
from podium.dag.plan import Plan, StepNode
from podium.db.engine import wake_workers
from podium.db.schema import step_run
from podium.errors import InternalError
from podium.execution import caching, outputs, queries, store
from podium.execution.items import WHOLE
from podium.execution.reads import items_of, read_by


def open_items(
    connection: sa.Connection, savings: caching.SavingsPort, run_id: str, plan: Plan, node: StepNode, now: datetime
) -> int:
    """Make a mapped step's items ready, or take them over from equal ones; return how many are open then.

    In a run that goes on they are there already: those that succeeded stay, the others are made ready again. Where
    the list was made anew it may be longer or shorter; of items that are no more, the step runs are skipped.
    """
    run = queries.get_run(connection, run_id)
    reads = set(read_by(plan, node, None).values())
    found = reads if node.run_if == "all_succeeded" else outputs.there(connection, run_id, reads)
    stored = outputs.stored(connection, run_id, plan, found)
    count = len(items_of(node, run.parameters, stored))
    rows = _items(connection, run_id, node.name)
    if len(rows) < count:
        rows = _make_items(connection, run_id, node.name, len(rows), count, now)
    if len(rows) > count:
        gone = {"state": "skipped", "reason": f"the list has {count:,} items now", "ended_at": now}
        end_items(connection, run_id, node.name, gone, first=count)
        rows = rows[:count]
    left = [row for row in rows if row.state != "succeeded"]
    if node.cache and found == reads:
        keys = caching.keys_of(run, plan, node, stored)
        keys_of_left = {row: keys[row.map_index].digest for row in left}
        taken = set(caching.settle_ready(connection, savings, run, node, keys_of_left, now))
        left = [row for row in left if row not in taken]
    connection.execute(
        step_run.update()
        .where(*_of_items(run_id, node.name), step_run.c.state == "waiting")
        .values(state="ready", ready_at=now)
    )
    done = f", {count - len(left):,} of them done" if len(left) < count else ""
    store.record(connection, run_id, "step.mapped", now, step=node.name, reason=f"over {count:,} items{done}")
    connection.execute(store.of_step(run_id, node.name).values(waiting_on=len(left), ready_at=now))
    wake_workers(connection)  # others may have free slots
    faults.reach("fan_out.before_commit")
    return len(left)


def close(connection: sa.Connection, run_id: str, step: str, now: datetime) -> None:
    """End a mapped step whose items have all ended: it was cancelled or failed if one of them was or did."""
    rows = _items(connection, run_id, step)
    failed = [row for row in rows if row.state == "failed"]
    cancelled = [row for row in rows if row.state == "cancelled"]
    state, reason = "succeeded", None
    if cancelled:
        state, reason = "cancelled", cancelled[0].reason
    elif failed:
        state = "failed"
        reason = f"{len(failed):,} of {len(rows):,} items failed: [{failed[0].map_index}]: {failed[0].reason}"
    moved = connection.execute(
        store.of_step(run_id, step)
        .where(step_run.c.state == "waiting", step_run.c.waiting_on == 0)
        .values(state=state, reason=reason, ended_at=now)
    )
    if moved.rowcount != 1:
        raise InternalError(f"The mapped step {step} of run {run_id} was not waiting when its last item ended.")
    store.record(connection, run_id, f"step.{state}", now, step=step, reason=reason)


def end_items(connection: sa.Connection, run_id: str, step: str, values: Mapping[str, Any], *, first: int = 0) -> None:
    """End the items of a mapped step from `first` on that are there and wait."""
    items = (*_of_items(run_id, step), step_run.c.map_index >= first, step_run.c.state == "waiting")
    connection.execute(step_run.update().where(*items).values(**values))


def _make_items(
    connection: sa.Connection, run_id: str, step: str, first: int, count: int, now: datetime
) -> list[sa.Row[Any]]:
    whole = connection.execute(
        sa.select(step_run).where(step_run.c.step_run_id == queries.step_run_id(connection, run_id, step))
    ).one()
    made: set[str] = set()
    while len(made) < count - first:  # of thousands of identifiers of one millisecond, two may be equal
        made.add(ids.new_id(now))
    if made:
        items = [
            {**whole._asdict(), "step_run_id": step_run_id, "map_index": index, "waiting_on": 0}
            for index, step_run_id in enumerate(sorted(made), start=first)
        ]
        connection.execute(step_run.insert(), items)
    return _items(connection, run_id, step)


def _items(connection: sa.Connection, run_id: str, step: str) -> list[sa.Row[Any]]:
    columns = (step_run.c.step_run_id, step_run.c.map_index, step_run.c.state, step_run.c.reason)
    query = sa.select(*columns).where(*_of_items(run_id, step)).order_by(step_run.c.map_index)
    return list(connection.execute(query))


def _of_items(run_id: str, step: str) -> tuple[sa.ColumnElement[bool], ...]:
    return step_run.c.run_id == run_id, step_run.c.name == step, step_run.c.map_index > WHOLE
