"""Who owns what, and how much work is open: reads that do not take longer the more runs there were."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from podium.db.schema import plan, run, step_run
from podium.execution.items import WHOLE

OPEN_RUN_STATES = ("queued", "running")
OPEN_STEP_STATES = ("waiting", "ready", "running", "held")


@dataclass(frozen=True, order=True)
class Owner:
    """Whose a pipeline is, and which model it makes in which environment."""

    pipeline: str
    team: str
    model: str
    environment: str


def owners(connection: sa.Connection) -> list[Owner]:
    """Return the owner of each pipeline that was ever traced, as its newest stored plan names it."""
    newest = (
        sa.select(plan.c.pipeline, sa.func.max(plan.c.stored_at).label("stored_at"))
        .group_by(plan.c.pipeline)
        .subquery("newest")
    )
    rows = connection.execute(
        sa.select(
            plan.c.pipeline,
            *(plan.c.document[name].as_string().label(name) for name in ("team", "model", "environment")),
        ).join(newest, sa.and_(newest.c.pipeline == plan.c.pipeline, newest.c.stored_at == plan.c.stored_at))
    )
    return sorted({Owner(**row._asdict()) for row in rows})


def open_runs(connection: sa.Connection) -> Mapping[tuple[str, str], int]:
    """Count the runs that have not ended, by pipeline and state."""
    query = (
        sa.select(run.c.pipeline, run.c.state, sa.func.count()).where(_IS_OPEN).group_by(run.c.pipeline, run.c.state)
    )
    return {(pipeline, state): runs for pipeline, state, runs in connection.execute(query)}


@dataclass(frozen=True)
class OpenSteps:
    """The step runs of one pipeline in one state: how many, and since when the first of them is or was ready.

    `first_due_at` is when the first back-off or snooze is over; it may lie ahead.
    """

    count: int
    first_ready_at: datetime | None
    first_due_at: datetime | None


def open_steps(connection: sa.Connection) -> Mapping[tuple[str, str], OpenSteps]:
    """Return the step runs of open runs that have not ended, by pipeline and state.

    A mapped step counts once before its list is known, and from then on with its items alone.
    """
    item = step_run.alias("item")
    has_items = sa.exists().where(
        item.c.run_id == step_run.c.run_id, item.c.name == step_run.c.name, item.c.map_index > WHOLE
    )
    first_ready_at = sa.func.min(step_run.c.ready_at, type_=step_run.c.ready_at.type)
    first_due_at = sa.func.min(step_run.c.not_before, type_=step_run.c.not_before.type)
    query = (
        sa.select(run.c.pipeline, step_run.c.state, sa.func.count(), first_ready_at, first_due_at)
        .select_from(run.join(step_run))
        .where(_IS_OPEN, step_run.c.state.in_(OPEN_STEP_STATES), sa.or_(step_run.c.map_index > WHOLE, ~has_items))
        .group_by(run.c.pipeline, step_run.c.state)
    )
    return {(pipeline, state): OpenSteps(*found) for pipeline, state, *found in connection.execute(query)}


# In the very words of the partial index: SQLite uses one only where it sees the constants.
_IS_OPEN = run.c.state.in_([sa.literal_column(f"'{state}'") for state in OPEN_RUN_STATES])
