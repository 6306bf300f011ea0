"""A run that has ended is taken up again: which of its rows are reset, and what of them can be decided at once."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from podium.dag.plan import Plan, StepNode
from podium.db.schema import output, run, step_run
from podium.db.schema.execution import RUN_ENDED
from podium.errors import Conflict
from podium.execution import outputs, queries, readiness, store
from podium.execution.items import parse_item
from podium.execution.rerun import RerunStep


def reset(connection: sa.Connection, run_id: str, plan: Plan, steps: Sequence[RerunStep], now: datetime) -> bool:
    """Make an ended run and those of its steps that are to run again as they were before; the others stay.

    Of a mapped step that does not run afresh the items that succeeded stay as well. What a step that runs afresh had
    stored is forgotten as its output. A backfilled run is queued again, in its place, as its backfill's limit holds for
    it; tell whether this one is. Raises Conflict if another run of the interval is open, or if this one is, or if what
    a step that stays had made was removed.
    """
    _require_outputs(connection, run_id, steps)
    again = [step for step in steps if step.action == "run"]
    is_queued = queries.get_run(connection, run_id).backfill_id is not None
    try:
        reopened = connection.execute(
            run.update()
            .where(run.c.run_id == run_id, run.c.state.in_(RUN_ENDED))
            .values(
                state="queued" if is_queued else "running",
                outcome=None,
                started_at=sa.func.coalesce(run.c.started_at, now, type_=run.c.started_at.type),
                ended_at=None,
                cancel_requested_at=None,
                deadline_at=None if is_queued else store.deadline_of(plan, now),
                reason=None,
                open_steps=len(again),
            )
        )
    except sa.exc.IntegrityError:
        raise Conflict(
            f"The run {run_id} cannot go on: another run of its interval is open; let that one end first."
        ) from None
    if not reopened.rowcount:
        raise Conflict(f"The run {run_id} is open; look at it with `podium runs show {run_id}`.")
    waits = _waits(plan, steps)
    for step in again:
        rows = sa.and_(step_run.c.run_id == run_id, step_run.c.name == step.name)
        if step.afresh:
            of_step = sa.select(step_run.c.step_run_id).where(rows)
            connection.execute(output.delete().where(output.c.step_run_id.in_(of_step)))
        connection.execute(
            step_run.update()
            .where(rows, sa.true() if step.afresh else step_run.c.state != "succeeded")
            .values(
                state="waiting",
                waiting_on=waits[step.name],
                failures=0,
                cached=False,
                cache_key=None,
                reason=None,
                not_before=None,
                ready_at=None,
                ended_at=None,
                decided_by=None,
                generation=step_run.c.generation + int(step.afresh),
            )
        )
    return is_queued


def waits_on_nothing(plan: Plan, steps: Sequence[RerunStep]) -> Iterator[StepNode]:
    """Yield the steps that are to run again and wait on none that is."""
    waits = _waits(plan, steps)
    return (plan.step(step.name) for step in steps if step.action == "run" and waits[step.name] == 0)


def _require_outputs(connection: sa.Connection, run_id: str, steps: Sequence[RerunStep]) -> None:
    """Raise Conflict where an output that is kept was removed; keep a collection from removing it now."""
    afresh = {step.name for step in steps if step.action == "run" and step.afresh}
    succeeded = {
        step_run_id: label
        for step_run_id, label in queries.step_runs_that_succeeded(connection, run_id).items()
        if parse_item(label)[0] not in afresh
    }
    removed = set(succeeded) - outputs.kept(connection, list(succeeded))
    if removed:
        names = ", ".join(sorted(succeeded[step_run_id] for step_run_id in removed))
        raise Conflict(
            f"The run {run_id} cannot go on: `podium gc` removed what its steps made ({names}), when nothing had "
            "needed it for as long as the setting artifact_retention says. Start anew with `podium run … --again`."
        )


def _waits(plan: Plan, steps: Sequence[RerunStep]) -> dict[str, int]:
    return readiness.waiting_counts(plan, {step.name: step.action for step in steps if step.action == "keep"})
