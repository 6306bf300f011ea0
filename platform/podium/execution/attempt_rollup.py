"""Rollups of attempts: how many ended how, and how long they had waited for a worker.

Those of an ended run are added to the stored rollups in the transaction that ends it, so that the end of an attempt
costs nothing more; those of open runs are counted where somebody asks. A run that is resumed ends again, and then
adds what it made since.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from podium.db.prepared import Prepared
from podium.db.schema import attempt, attempt_rollup, event, run, step_run
from podium.db.schema.execution import RUN_TAKEN_UP
from podium.execution.tally import OPEN_RUN_STATES

# From "at once" to "nobody was there". Never to be changed: a counter is compared with what it was.
BOUNDS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
"""Upper bounds, inclusive, of the buckets of seconds waited."""

INFINITE = "+Inf"
"""The bucket above all bounds."""

UNKNOWN = "unknown"
"""The bucket of attempts of which nobody noted how long they had waited."""


@dataclass(frozen=True)
class Sums:
    """So many attempts, and how long they had waited together."""

    attempts: int
    waited_seconds: float

    def plus(self, other: "Sums") -> "Sums":
        """Return both together."""
        return Sums(self.attempts + other.attempts, self.waited_seconds + other.waited_seconds)


Key = tuple[str, str, str]
"""Pipeline, state and bucket."""


def add(connection: sa.Connection, run_id: str) -> None:
    """Add the attempts of a run that has just ended, in the transaction that ends it.

    Those it had made before it was last resumed are added already. Rows are touched in the order of their keys, so
    that two transactions never wait for each other.
    """
    rows = sorted(_OF_RUN.rows(connection, {"of_run": run_id}))
    _ADD[connection.dialect.name].run_all(connection, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])


def ended(connection: sa.Connection) -> Mapping[Key, Sums]:
    """Return all attempts that ever ended, those of open runs included, by pipeline, state and bucket."""
    found: dict[Key, Sums] = {}
    for query in (sa.select(attempt_rollup), _OF_OPEN_RUNS):
        for row in connection.execute(query):
            key, sums = (row.pipeline, row.state, row.waited), Sums(row.attempts, row.waited_seconds)
            found[key] = found[key].plus(sums) if key in found else sums
    return found


def running(connection: sa.Connection) -> Mapping[str, int]:
    """Count the attempts that run, by pipeline."""
    return {row.pipeline: row.attempts for row in connection.execute(_RUNNING)}


# Constants, not parameters: PostgreSQL takes two parameters for different values, and a column for not grouped by.
_BUCKET = sa.literal_column(
    f"CASE WHEN attempt.waited_seconds IS NULL THEN '{UNKNOWN}' "
    + " ".join(f"WHEN attempt.waited_seconds <= {bound} THEN '{bound}'" for bound in BOUNDS)
    + f" ELSE '{INFINITE}' END",
    sa.String,
)
_SUMS = (
    sa.select(
        run.c.pipeline,
        attempt.c.state,
        _BUCKET.label("waited"),
        sa.func.count().label("attempts"),
        sa.func.coalesce(sa.func.sum(attempt.c.waited_seconds), 0.0).label("waited_seconds"),
    )
    .select_from(run.join(step_run).join(attempt))
    .where(attempt.c.state != "running")
    .group_by(run.c.pipeline, attempt.c.state, _BUCKET)
)
_TAKEN_UP: list[sa.ColumnElement[str]] = [sa.literal_column(f"'{kind}'") for kind in RUN_TAKEN_UP]
_OF_RUN = Prepared(
    _SUMS.where(
        step_run.c.run_id == sa.bindparam("of_run"),
        attempt.c.started_at
        >= sa.func.coalesce(
            sa.select(sa.func.max(event.c.at))
            .where(event.c.run_id == sa.bindparam("of_run"), event.c.kind.in_(_TAKEN_UP))
            .scalar_subquery(),
            attempt.c.started_at,
        ),
    )
)

_OPEN = sa.select(run.c.run_id).where(run.c.state.in_([sa.literal_column(f"'{each}'") for each in OPEN_RUN_STATES]))
_RESUMED = (
    sa.select(event.c.run_id, sa.func.max(event.c.at).label("at"))
    .where(event.c.run_id.in_(_OPEN), event.c.kind.in_(_TAKEN_UP))
    .group_by(event.c.run_id)
    .subquery("resumed")
)
_OF_OPEN_RUNS = (
    _SUMS.join(_RESUMED, _RESUMED.c.run_id == run.c.run_id, isouter=True)
    .where(attempt.c.started_at >= sa.func.coalesce(_RESUMED.c.at, attempt.c.started_at))
    # From the open runs to their attempts, never the other way round: there are millions of attempts.
    .where(attempt.c.step_run_id.in_(sa.select(step_run.c.step_run_id).where(step_run.c.run_id.in_(_OPEN))))
)
_RUNNING = (
    sa.select(run.c.pipeline, sa.func.count().label("attempts"))
    .select_from(attempt.join(step_run).join(run))
    .where(sa.text("attempt.state = 'running'"))  # word for word the index's
    .group_by(run.c.pipeline)
)
_COLUMNS = tuple(column.name for column in attempt_rollup.columns)
_ADD = {
    dialect: Prepared(
        (
            statement := insert(attempt_rollup).values({name: sa.bindparam(name) for name in _COLUMNS})
        ).on_conflict_do_update(
            index_elements=["pipeline", "state", "waited"],
            set_={name: attempt_rollup.c[name] + statement.excluded[name] for name in ("attempts", "waited_seconds")},
        )
    )
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
