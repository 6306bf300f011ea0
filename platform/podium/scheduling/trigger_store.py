"""Triggers and what they looked at: their only SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.dag.triggers import PlannedTrigger
from podium.db.engine import insert_unless_present
from podium.db.schema import plan, run, trigger_source, trigger_state
from podium.errors import NotFound
from podium.scheduling.trigger_rules import SourceState


class Known(NamedTuple):
    """What of a trigger tells whether it is what its pipeline says."""

    trigger_id: str
    plan_digest: str
    definition: Any
    file: str
    removed_at: datetime | None


def known(connection: sa.Connection) -> dict[str, Known]:
    """Return every trigger that was ever known."""
    columns = (
        trigger_state.c.trigger_id,
        trigger_state.c.plan_digest,
        trigger_state.c.definition,
        plan.c.file,
        trigger_state.c.removed_at,
    )
    rows = connection.execute(sa.select(*columns).join(plan, plan.c.digest == trigger_state.c.plan_digest))
    return {row.trigger_id: Known(*row) for row in rows}


def lock(connection: sa.Connection, trigger_id: str) -> sa.Row[Any] | None:
    """Return a trigger that nobody else changes until the transaction ends."""
    query = sa.select(trigger_state).where(trigger_state.c.trigger_id == trigger_id).with_for_update()
    return connection.execute(query).first()


def add(connection: sa.Connection, values: dict[str, Any]) -> bool:
    """Add a trigger; False if somebody else was first."""
    return insert_unless_present(connection, trigger_state, values)


def change(connection: sa.Connection, trigger_id: str, **values: Any) -> None:
    """Change a trigger that is locked."""
    connection.execute(trigger_state.update().where(trigger_state.c.trigger_id == trigger_id).values(**values))


def replace_sources(
    connection: sa.Connection,
    trigger_id: str,
    described: Sequence[str],
    now: datetime,
    kept: Mapping[int, SourceState] | None = None,
) -> None:
    """Let a trigger look at these from now on: each of them anew, but for those of which is `kept` what was known."""
    connection.execute(trigger_source.delete().where(trigger_source.c.trigger_id == trigger_id))
    rows = []
    for position, text in enumerate(described):
        known = (kept or {}).get(position)
        rows.append(
            {
                "trigger_id": trigger_id,
                "position": position,
                "described": text,
                "seen": known and known.seen,
                "used": known and known.used,
                "changed_at": known and known.changed_at,
                "looked_at": known and known.looked_at,
                "result": known and known.result,
                "detail": known and known.detail,
                "failures": 0 if known is None else known.failures,
                "next_look_at": now,
            }
        )
    connection.execute(trigger_source.insert(), rows)


def sources(connection: sa.Connection, trigger_id: str) -> list[SourceState]:
    """Return what is known of a trigger's sources, in their order."""
    columns = [column for column in trigger_source.c if column.name != "trigger_id"]
    query = sa.select(*columns).where(trigger_source.c.trigger_id == trigger_id).order_by(trigger_source.c.position)
    return [SourceState(**row._asdict()) for row in connection.execute(query)]


class Look(NamedTuple):
    """A look at a source: what it is compared with, and when it is due; `problem` is what is in its trigger's way."""

    trigger_id: str
    position: int
    plan_digest: str
    used: Any
    seen: Any
    next_look_at: datetime
    problem: str | None


def looks(connection: sa.Connection) -> list[Look]:
    """Return the looks at all sources, the first that is due first."""
    query = (
        sa.select(
            trigger_source.c.trigger_id,
            trigger_source.c.position,
            trigger_state.c.plan_digest,
            trigger_source.c.used,
            trigger_source.c.seen,
            trigger_source.c.next_look_at,
            trigger_state.c.problem,
        )
        .join(trigger_state, trigger_state.c.trigger_id == trigger_source.c.trigger_id)
        .where(trigger_state.c.removed_at.is_(None))
        .order_by(trigger_source.c.next_look_at, trigger_source.c.trigger_id, trigger_source.c.position)
    )
    return [Look(*row) for row in connection.execute(query)]


def take_look(connection: sa.Connection, look: Look, until: datetime) -> bool:
    """Keep others from looking at a source until then; False if somebody else does already."""
    taken = connection.execute(
        trigger_source.update()
        .where(
            trigger_source.c.trigger_id == look.trigger_id,
            trigger_source.c.position == look.position,
            trigger_source.c.next_look_at == look.next_look_at,
        )
        .values(next_look_at=until)
    )
    return taken.rowcount == 1


def change_source(connection: sa.Connection, trigger_id: str, position: int, **values: Any) -> None:
    """Change what is known of a source whose trigger is locked."""
    connection.execute(
        trigger_source.update()
        .where(trigger_source.c.trigger_id == trigger_id, trigger_source.c.position == position)
        .values(**values)
    )


def use_up(connection: sa.Connection, trigger_id: str, found: Sequence[SourceState], now: datetime) -> None:
    """Note that a trigger fired for all that its sources have shown; more of them may be there already."""
    for each in found:
        if each.has_news:
            change_source(connection, trigger_id, each.position, used=each.seen, changed_at=None, next_look_at=now)


def put_off(connection: sa.Connection, trigger_id: str, until: datetime, problem: str) -> None:
    """Leave a trigger that is locked alone until then, and keep what is in its way."""
    in_force = trigger_state.c.trigger_id == trigger_id
    later = sa.case(
        (trigger_state.c.fires_at.is_not(None), sa.bindparam("later", until, trigger_state.c.fires_at.type))
    )
    connection.execute(trigger_state.update().where(in_force).values(problem=problem, fires_at=later))
    connection.execute(
        trigger_source.update().where(trigger_source.c.trigger_id == trigger_id).values(next_look_at=until)
    )


def due_firings(connection: sa.Connection, now: datetime) -> list[str]:
    """Return the triggers whose time to fire has come."""
    query = sa.select(trigger_state.c.trigger_id).where(
        trigger_state.c.removed_at.is_(None), trigger_state.c.fires_at <= now
    )
    return list(connection.scalars(query.order_by(trigger_state.c.fires_at, trigger_state.c.trigger_id)))


def next_firing_at(connection: sa.Connection) -> datetime | None:
    """Return when the next trigger fires by what is known, maybe in the past; None if none does."""
    first = sa.func.min(trigger_state.c.fires_at, type_=trigger_state.c.fires_at.type)
    found: datetime | None = connection.scalar(sa.select(first).where(trigger_state.c.removed_at.is_(None)))
    return found


def get(connection: sa.Connection, trigger_id: str) -> sa.Row[Any]:
    """Return a trigger with its plan's document and the state of its last run; NotFound without one."""
    row = connection.execute(_TRIGGERS.where(trigger_state.c.trigger_id == trigger_id)).first()
    if row is None or row.removed_at is not None:
        raise NotFound(
            f"There is no trigger {trigger_id!r}; `podium triggers list` shows them, as PIPELINE.TRIGGER. A `podium "
            "scheduler` takes up what a pipeline says within seconds."
        )
    return row


def every(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return the triggers in force with their plans' documents and the states of their last runs."""
    query = _TRIGGERS.where(trigger_state.c.removed_at.is_(None))
    return connection.execute(query.order_by(trigger_state.c.trigger_id)).all()


def trigger_of(found: Plan, trigger_id: str) -> PlannedTrigger:
    """Return what the plan that a trigger's row names says of it."""
    name = trigger_id.partition(".")[2]
    return next(each for each in found.triggers if each.name == name)


_TRIGGERS = (
    sa.select(trigger_state, plan.c.document, run.c.state.label("run_state"))
    .join(plan, plan.c.digest == trigger_state.c.plan_digest)
    .outerjoin(run, run.c.run_id == trigger_state.c.fired_run_id)
)
