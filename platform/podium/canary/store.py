"""The canaries' rows and their looks, in the caller's transaction; nobody else writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.canary.entities import Canary, Counts, GuardrailEvidence, Look, State
from podium.canary.plan import CanaryPlan
from podium.db.prepared import Prepared
from podium.db.schema import canary, canary_look
from podium.stats.cells import Cell

_OUTCOMES: dict[str, str] = {
    "promoted": "promoted",
    "rolled_back": "rolled_back",
    "inconclusive": "inconclusive",
    "aborted": "inconclusive",
    "invalid": "inconclusive",
}


def add(connection: sa.Connection, opened: Canary) -> None:
    """Store a canary as it is; a second open one of its model, or of its step key, violates a unique index."""
    facts = {column.name: getattr(opened, column.name) for column in canary.columns if column.name != "plan_digest"}
    documents = {
        "plan": opened.plan.model_dump(mode="json"),
        "plan_digest": opened.plan.digest,
        "counts": counts_document(opened.counts),
        "reasons": list(opened.reasons),
    }
    connection.execute(sa.insert(canary).values(**{**facts, **documents}))


def needed_digests(connection: sa.Connection) -> dict[str, set[str]]:
    """Return the digests of the artifacts that canaries replayed, by the reason why they stay."""
    replayed = sa.select(canary.c.traffic_digest).where(canary.c.traffic_digest.is_not(None)).distinct()
    return {"a canary replayed it": set(connection.scalars(replayed))}


def begin(connection: sa.Connection, canary_id: str, state: State) -> bool:
    """Move a canary from `pending` to `state`; False when it was not pending any more."""
    moved = connection.execute(
        sa.update(canary).where(canary.c.canary_id == canary_id, canary.c.state == "pending").values(state=state)
    )
    return moved.rowcount == 1


def add_look(connection: sa.Connection, looked: Canary, look: Look, reasons: Sequence[str]) -> bool:
    """Store a look and let the canary's position, counts and reasons follow it.

    False, and nothing is stored, when the canary was not as `looked` says any more.
    """
    moved = connection.execute(
        sa.update(canary)
        .where(
            canary.c.canary_id == looked.canary_id,
            canary.c.state == looked.state,
            canary.c.position == looked.position,
        )
        .values(position=look.position, counts=counts_document(look.counts), reasons=list(reasons))
    )
    if moved.rowcount != 1:
        return False
    connection.execute(
        sa.insert(canary_look).values(
            canary_id=looked.canary_id,
            position=look.position,
            at=look.at,
            counts=counts_document(look.counts),
            evidence=[row.to_document() for row in look.evidence],
            verdict=look.verdict,
        )
    )
    return True


def await_approval(connection: sa.Connection, decided: Canary, promotion_id: str) -> bool:
    """Note the promotion that an open canary waits for; False when it was not as `decided` says any more."""
    noted = connection.execute(
        sa.update(canary)
        .where(
            canary.c.canary_id == decided.canary_id,
            canary.c.state == decided.state,
            canary.c.position == decided.position,
        )
        .values(promotion_id=promotion_id)
    )
    return noted.rowcount == 1


def end(
    connection: sa.Connection,
    ended: Canary,
    *,
    state: State,
    reasons: Sequence[str],
    promotion_id: str | None,
    at: datetime,
) -> bool:
    """Move a canary from the state that `ended` has to its final one; False when it was not in that any more."""
    moved = connection.execute(
        sa.update(canary)
        .where(canary.c.canary_id == ended.canary_id, canary.c.state == ended.state)
        .values(state=state, reasons=list(reasons), promotion_id=promotion_id, ended_at=at)
    )
    return moved.rowcount == 1


def find(connection: sa.Connection, canary_id: str) -> Canary | None:
    """Return the canary with that identifier."""
    return _one(connection, canary.c.canary_id == canary_id)


def of_step(connection: sa.Connection, step_key: str) -> Canary | None:
    """Return the canary that a step run asked for."""
    return _one(connection, canary.c.step_key == step_key)


def open_of(connection: sa.Connection, model: str) -> Canary | None:
    """Return the open canary of a model."""
    return _one(connection, canary.c.model == model, canary.c.ended_at.is_(None))


def newest_of(connection: sa.Connection, model: str) -> Canary | None:
    """Return the canary of a model that was opened last, the open one before any that ended at once after it."""
    return _one(connection, canary.c.model == model)


def last_look(connection: sa.Connection, canary_id: str) -> Look | None:
    """Return the newest look of a canary."""
    statement = _looks(canary_id).order_by(canary_look.c.position.desc()).limit(1)
    row = connection.execute(statement).first()
    return None if row is None else _look(row)


def of_run(connection: sa.Connection, run_id: str) -> Canary | None:
    """Return the last canary that a run opened."""
    return _one(connection, canary.c.run_id == run_id)


def of_challenger(connection: sa.Connection, model: str, version: str) -> list[Canary]:
    """Return the canaries that tried a version, oldest first."""
    ids = connection.scalars(
        sa.select(canary.c.canary_id)
        .where(canary.c.model == model, canary.c.challenger_version == version)
        .order_by(canary.c.opened_at, canary.c.canary_id)
    ).all()
    found = (find(connection, canary_id) for canary_id in ids)
    return [each for each in found if each is not None]


def looks(connection: sa.Connection, canary_id: str) -> list[Look]:
    """Return every look of a canary, oldest first."""
    rows = connection.execute(_looks(canary_id).order_by(canary_look.c.position))
    return [_look(row) for row in rows]


def count_looks(connection: sa.Connection, canary_id: str) -> int:
    """Return how often a canary was looked at."""
    statement = sa.select(sa.func.count()).select_from(canary_look).where(canary_look.c.canary_id == canary_id)
    return int(connection.scalar(statement) or 0)


def run_outcome(connection: sa.Connection, run_id: str) -> str | None:
    """Return what a run came to, as its last canary sees it; None without one that has ended.

    A canary that was aborted or turned out invalid has compared nothing: `inconclusive`. Where a promotion did not
    apply, None: the registry knows whether a rule refused it or the champion had moved.
    """
    found = _LAST_OF_RUN.first(connection, {"of_run": run_id})
    if found is None:
        return None
    state, promotion_id = found
    return None if state == "aborted" and promotion_id is not None else _OUTCOMES[state]


def counts_document(counts: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return counts as they are stored: one object for each phase."""
    return [asdict(cell) for cell in counts]


def _counts(document: Sequence[Mapping[str, Any]]) -> Counts:
    return tuple(Cell(**cell) for cell in document)


def _one(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Canary | None:
    row = (
        connection.execute(
            sa.select(canary)
            .where(*conditions)
            .order_by(canary.c.ended_at.is_not(None), canary.c.opened_at.desc(), canary.c.canary_id.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    facts = {name: value for name, value in row.items() if name != "plan_digest"}
    read = {
        "plan": CanaryPlan.model_validate(row["plan"]),
        "counts": _counts(row["counts"]),
        "reasons": tuple(row["reasons"]),
    }
    return Canary(**{**facts, **read})


def _looks(canary_id: str) -> sa.Select[Any]:
    return sa.select(canary_look).where(canary_look.c.canary_id == canary_id)


def _look(row: sa.Row[Any]) -> Look:
    return Look(
        position=row.position,
        at=row.at,
        counts=_counts(row.counts),
        verdict=row.verdict,
        evidence=tuple(GuardrailEvidence.from_document(document) for document in row.evidence),
    )


_LAST_OF_RUN = Prepared(
    sa.select(canary.c.state, canary.c.promotion_id)
    .where(canary.c.run_id == sa.bindparam("of_run"), canary.c.ended_at.is_not(None))
    .order_by(canary.c.opened_at.desc(), canary.c.canary_id.desc())
    .limit(1)
)
