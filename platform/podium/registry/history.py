"""The history of a model's champion: append-only, one row per fact, each hash covering the one before.

`verification` says whether it is whole.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.db.prepared import Prepared
from podium.db.schema import promotion_history
from podium.ids import digest_json
from podium.registry.entities import HistoryEntry, instant_text

_COLUMNS = tuple(promotion_history.c[field.name] for field in fields(HistoryEntry))
_APPROVERS = [column.name for column in _COLUMNS].index("approvers")

GENESIS = "0" * 64
"""What the first entry of every model has for a previous hash."""


@dataclass(frozen=True)
class Fact:
    """What an entry of the history tells, before it has its place in the chain."""

    at: datetime
    action: str
    state: str
    from_version: str | None
    to_version: str | None
    actor: str
    actor_verified: bool
    reason: str
    approvers: tuple[str, ...] = ()
    evidence_digest: str | None = None
    promotion_id: str | None = None


def hash_of(entry: HistoryEntry) -> str:
    """Return the SHA-256 of the entry's facts, its model, number and previous hash, in canonical JSON."""
    facts = {**vars(entry), "at": instant_text(entry.at)}
    del facts["hash"]
    return digest_json(facts)


def append(connection: sa.Connection, model: str, fact: Fact) -> HistoryEntry:
    """Add a fact to the history of `model`, in the transaction of a caller who holds the model's lock."""
    number, previous_hash = _LAST.first(connection, {"of_model": model}) or (0, GENESIS)
    unsealed = HistoryEntry(**vars(fact), model=model, id=number + 1, previous_hash=previous_hash, hash="")
    entry = replace(unsealed, hash=hash_of(unsealed))
    _INSERT.run(connection, {**vars(entry), "approvers": list(entry.approvers)})
    return entry


def entries(connection: sa.Connection, model: str) -> list[HistoryEntry]:
    """Return the history of `model`, oldest first."""
    return _entries(connection, _of(model).order_by(promotion_history.c.id))


def newest_entries(connection: sa.Connection, model: str, count: int) -> list[HistoryEntry]:
    """Return the last `count` entries of the history of `model`, oldest first."""
    return _entries(connection, _of(model).order_by(promotion_history.c.id.desc()).limit(count))[::-1]


def entries_on(connection: sa.Connection, model: str, versions: Collection[str]) -> list[HistoryEntry]:
    """Return what the history of `model` tells of these versions, oldest first."""
    return _sorted(_entries(connection, _of(model).where(promotion_history.c.to_version.in_(versions))))


def blocks(connection: sa.Connection, model: str) -> list[HistoryEntry]:
    """Return what the history of `model` tells of versions blocked and let in again, oldest first."""
    return _sorted(_entries(connection, _of(model).where(promotion_history.c.action.in_(("block", "unblock")))))


def _sorted(found: list[HistoryEntry]) -> list[HistoryEntry]:
    """Sort a few of many entries; asked for them in order, SQLite reads all in that order and leaves out the others."""
    return sorted(found, key=lambda entry: entry.id)


def _of(model: str) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(promotion_history.c.model == model)


def _entries(connection: sa.Connection, query: sa.Select[Any]) -> list[HistoryEntry]:
    """Return rows as entries; by position, because every move reads the history, which may be long."""
    rows = connection.execute(query)
    return [_entry([*row[:_APPROVERS], tuple(row[_APPROVERS]), *row[_APPROVERS + 1 :]]) for row in rows]


def _entry(facts: list[Any]) -> HistoryEntry:
    return HistoryEntry(*facts)


_LAST = Prepared(
    sa.select(promotion_history.c.id, promotion_history.c.hash)
    .where(promotion_history.c.model == sa.bindparam("of_model"))
    .order_by(promotion_history.c.id.desc())
    .limit(1)
)
_INSERT = Prepared(sa.insert(promotion_history))
