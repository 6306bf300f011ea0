"""A step that a person skips: its run goes on without it, now or when it is taken up again."""

from datetime import datetime

import sqlalchemy as sa

from podium.dag.plan import StepNode
from podium.db.schema import step_run
from podium.errors import Conflict, UsageError
from podium.execution import store
from podium.execution.entities import Actor, Run
from podium.execution.items import WHOLE

_OPEN = ("waiting", "ready", "held")
_STOPPED = ("failed", "cancelled", "skipped")


def skip(connection: sa.Connection, run: Run, node: StepNode, reason: str, actor: Actor, now: datetime) -> None:
    """Skip a step that has not begun, or of a run that did not succeed one that did not either; the run is locked.

    Raises Conflict while it runs, UsageError if there is nothing to skip.
    """
    rows = connection.execute(
        sa.select(step_run.c.state, step_run.c.map_index).where(
            step_run.c.run_id == run.run_id, step_run.c.name == node.name
        )
    ).all()
    (state,) = [row.state for row in rows if row.map_index == WHOLE]
    if any(row.state == "running" for row in rows):
        raise Conflict(
            f"The step {node.name} of run {run.run_id} is running, so it cannot be skipped; let it end, or cancel the "
            f"run (`podium runs cancel {run.run_id} --reason …`), skip the step, and resume it."
        )
    allowed = _OPEN if run.state in ("queued", "running") else _STOPPED
    if run.state == "succeeded" or state not in allowed:
        raise UsageError(
            f"The step {node.name} of run {run.run_id}, which {_is(run.state)}, {_is(state)}; there is nothing to skip."
        )
    connection.execute(
        step_run.update()
        .where(
            step_run.c.run_id == run.run_id,
            step_run.c.name == node.name,
            sa.or_(step_run.c.map_index == WHOLE, step_run.c.state.in_((*_OPEN, *_STOPPED))),
        )
        .values(state="skipped", reason=reason, not_before=None, decide_by=None, decided_by=actor.name, ended_at=now)
    )
    store.record(connection, run.run_id, "step.skipped", now, step=node.name, reason=f"{actor.told}: {reason}")


def by_hand(connection: sa.Connection, run_id: str) -> set[str]:
    """Return the steps of a run that a person skipped."""
    query = sa.select(step_run.c.name).where(
        step_run.c.run_id == run_id,
        step_run.c.map_index == WHOLE,
        step_run.c.state == "skipped",
        step_run.c.decided_by.is_not(None),
    )
    return set(connection.scalars(query))


def _is(state: str) -> str:
    return (
        state
        if state in ("succeeded", "failed")
        else f"is {state}"
        if state in ("queued", "running")
        else f"was {state}"
    )
