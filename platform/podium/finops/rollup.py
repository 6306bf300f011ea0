"""Rollups: the ledger's sums per UTC day and labels, kept in the transaction that posts the entries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from podium.db.prepared import Prepared
from podium.db.schema import cost_rollup
from podium.db.schema.finops import NO_CURRENCY
from podium.finops.money import total

KEY = tuple(column.name for column in cost_rollup.primary_key)
"""The columns that name a rollup."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Sums:
    """What the entries of one rollup come to; `amount` is None where their price is unknown."""

    amount: Decimal | None
    quantity: Decimal
    entries: int

    def plus(self, other: "Sums") -> "Sums":
        """Return both together; an unknown amount stays unknown."""
        amount = None if self.amount is None or other.amount is None else total((self.amount, other.amount))
        return Sums(amount, total((self.quantity, other.quantity)), self.entries + other.entries)


def key_of(entry: Mapping[str, Any]) -> Key:
    """Return which rollup a ledger entry belongs to: the UTC day its charge starts, and its labels."""
    labels = {
        **entry,
        "day": f"{entry['charge_start'].astimezone(UTC):%Y-%m-%d}",
        "currency": entry["currency"] or NO_CURRENCY,
    }
    return tuple(labels[name] for name in KEY)


def rolled_up(entries: Iterable[Mapping[str, Any]]) -> dict[Key, Sums]:
    """Return the rollups of `entries`, in the order of their keys."""
    sums: dict[Key, Sums] = {}
    for entry in entries:
        include(sums, entry)
    return dict(sorted(sums.items()))


def include(sums: dict[Key, Sums], entry: Mapping[str, Any]) -> None:
    """Add `entry` to the rollup among `sums` that it belongs to."""
    key, one = key_of(entry), Sums(entry["amount"], entry["quantity"], 1)
    sums[key] = sums[key].plus(one) if key in sums else one


def add(connection: sa.Connection, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add newly posted `entries` to the stored rollups.

    Rows are touched in the order of their keys, so that two transactions posting at once never deadlock.
    """
    changes = rolled_up(entries)
    if connection.dialect.name == "postgresql":
        _ADD_ON_POSTGRESQL.run_all(connection, [_row(key, sums) for key, sums in changes.items()])
        return
    # SQLite has no decimal to add with; but its write transaction excludes every other, so this is safe.
    for key, sums in changes.items():
        stored = _ROLLUP.first(connection, dict(zip(KEY, key, strict=True)))
        _PUT_ON_SQLITE.run(connection, _row(key, sums if stored is None else sums.plus(Sums(*stored))))


def _row(key: Key, sums: Sums) -> dict[str, Any]:
    return {**dict(zip(KEY, key, strict=True)), **vars(sums)}


_ROW: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in (*KEY, "amount", "quantity", "entries")}
_ROLLUP = Prepared(
    sa.select(cost_rollup.c.amount, cost_rollup.c.quantity, cost_rollup.c.entries).where(
        *(cost_rollup.c[name] == sa.bindparam(name) for name in KEY)
    )
)
_postgresql_insert = postgresql.insert(cost_rollup).values(_ROW)
_ADD_ON_POSTGRESQL = Prepared(
    _postgresql_insert.on_conflict_do_update(
        index_elements=KEY,
        set_={
            # op: SQLAlchemy takes an Exact for the text that it is on SQLite, and would write || for +.
            name: cost_rollup.c[name].op("+")(_postgresql_insert.excluded[name])
            for name in ("amount", "quantity", "entries")
        },
    )
)
_sqlite_insert = sqlite.insert(cost_rollup).values(_ROW)
_PUT_ON_SQLITE = Prepared(
    _sqlite_insert.on_conflict_do_update(
        index_elements=KEY,
        set_={name: _sqlite_insert.excluded[name] for name in ("amount", "quantity", "entries")},
    )
)
