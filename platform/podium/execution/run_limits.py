"""How many runs may go on at once, over any number of workers: of a pipeline, of a model, and of a backfill.

The first two are the project's settings; a backfill's own is in its row, and costs nothing where none is open.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from podium.db.engine import try_lock
from podium.db.prepared import Prepared
from podium.db.schema import backfill, run


class SeenRun(Protocol):
    """An open run as whoever claims sees it."""

    @property
    def state(self) -> str:
        """Whether it is queued or running."""

    @property
    def model(self) -> str:
        """The model that it retrains."""

    @property
    def backfill_id(self) -> str | None:
        """The backfill that it is of, if any."""


Seen = TypeVar("Seen", bound=SeenRun)


def may_begin(
    connection: sa.Connection,
    pipeline: str,
    model: str,
    backfill_id: str | None,
    pipelines: Mapping[str, int],
    models: Mapping[str, int],
) -> bool:
    """Tell whether another run of a pipeline and a model, and of a backfill, may go on, and keep it so.

    The model is the one in the run's row: what its plan says may have changed since, and runs are counted by rows. On
    PostgreSQL until the transaction ends; False, too, while another transaction begins one of them.
    """
    for kind, name, limit, column in (
        ("model", model, models.get(model), run.c.model),
        ("pipeline", pipeline, pipelines.get(pipeline), run.c.pipeline),
    ):
        if limit is None:
            continue
        if not try_lock(connection, f"{kind}:{name}") or _running_runs(connection, column == name) >= limit:
            return False
    if backfill_id is None:
        return True
    return try_lock(connection, f"backfill:{backfill_id}") and room(connection, backfill_id, model) > 0


def full(
    connection: sa.Connection, pipelines: Mapping[str, int], models: Mapping[str, int]
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of the runs that may not begin now, since as many of a pipeline or a model go on."""
    found = []
    for column, most in ((run.c.pipeline, pipelines), (run.c.model, models)):
        for name, limit in most.items():
            if _running_runs(connection, column == name) >= limit:
                found.append(column == name)
    return found


def rooms(connection: sa.Connection, found: Iterable[SeenRun]) -> dict[str, int]:
    """Return how many more runs may begin of each backfill that has a queued one among these."""
    models = {each.backfill_id: each.model for each in found if each.backfill_id is not None and each.state == "queued"}
    return {backfill_id: room(connection, backfill_id, model) for backfill_id, model in models.items()}


def room(connection: sa.Connection, backfill_id: str, model: str) -> int:
    """Return how many more runs of a backfill, which retrain `model`, may begin."""
    rows = _ROOM.rows(connection, {"of_backfill": backfill_id, "of_model": model})
    left: int = rows[0][0]
    return left


def within(found: Sequence[Seen], left: Mapping[str, int]) -> list[Seen]:
    """Return what was found, in its order, without the queued runs for which their backfill has no room left."""
    if not left:
        return list(found)
    rest, kept = dict(left), []
    for each in found:
        if each.backfill_id is not None and each.state == "queued":
            rest[each.backfill_id] -= 1
            if rest[each.backfill_id] < 0:
                continue
        kept.append(each)
    return kept


def _running_runs(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    # Both conditions: the first word for word the index', so that runs that have ended are not looked at.
    query = sa.select(sa.func.count()).select_from(run).where(condition, _IS_OPEN, run.c.state == "running")
    return connection.scalar(query) or 0


_IS_OPEN = sa.text("run.state IN ('queued', 'running')")
# By the model, since the index of open runs knows it: those that have ended, and those queued, are not looked at.
_running: sa.ScalarSelect[Any] = (
    sa.select(sa.func.count())
    .select_from(run)
    .where(
        run.c.model == sa.bindparam("of_model"),
        _IS_OPEN,
        run.c.state == "running",
        run.c.backfill_id == sa.bindparam("of_backfill"),
    )
    .scalar_subquery()
)
_ROOM = Prepared(
    sa.select((backfill.c.max_parallel - _running).label("room")).where(
        backfill.c.backfill_id == sa.bindparam("of_backfill")
    )
)
