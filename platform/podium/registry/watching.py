"""What the guard reads of the record: each model's champion by the history, and whether a move is under way."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from podium.db.schema import model_version, promotion, promotion_history
from podium.registry.entities import HistoryEntry
from podium.registry.timeline import LIVE, MOVED


@dataclass(frozen=True)
class Record:
    """The last word of a model's history on its champion: the entry, its state, the version; none without one."""

    entry: int | None = None
    state: str | None = None
    version: str | None = None


def records(connection: sa.Connection) -> dict[str, Record]:
    """Return what the history says is champion of each model that Podium has anything of, sorted by its name."""
    history = promotion_history.c
    models = sa.union(sa.select(history.model), sa.select(model_version.c.model)).order_by("model")
    found: dict[str, Record] = {}
    for model in connection.scalars(models).all():
        # One model at a time, from the newest entry back: that reads a few rows of each, however long its history.
        last = sa.select(history.id, history.state, history.to_version).where(
            history.model == model, history.state.in_(LIVE)
        )
        row = connection.execute(last.order_by(history.id.desc()).limit(1)).first()
        found[model] = Record() if row is None else Record(row.id, row.state, row.to_version)
    return found


def is_moving(connection: sa.Connection, model: str) -> bool:
    """Return whether a move of the champion was begun and not ended."""
    moving = sa.select(promotion.c.promotion_id).where(promotion.c.model == model, promotion.c.state == "applying")
    return connection.scalar(moving.limit(1)) is not None


def last_accepted(history: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """Return the entry by which Podium last made a version champion, or a person accepted it."""
    return next((entry for entry in reversed(history) if entry.state in MOVED), None)


def unaccepted(history: Sequence[HistoryEntry]) -> HistoryEntry | None:
    """Return the entry that noticed the present champion, where nobody accepted that version; else None.

    One that was moved back by hand to the version accepted last needs nobody's word.
    """
    last = next((entry for entry in reversed(history) if entry.state in LIVE), None)
    if last is None or last.state != "noticed":
        return None
    accepted = last_accepted(history)
    return None if accepted is not None and accepted.to_version == last.to_version else last
