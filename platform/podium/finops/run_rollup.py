"""Rollups of runs: how many ended how, what they cost and how long they took, kept in the transaction that ends each.

A run that is resumed ends again. Then it counts what it cost and took since, so that the rollups hold the money of
ended runs exactly once and nothing in them ever falls. For the same reason reversals are left out: they are credits.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from podium.db.prepared import Prepared
from podium.db.schema import event, ledger_entry, run, run_cost, run_rollup
from podium.db.schema.execution import RUN_TAKEN_UP
from podium.db.schema.finops import NO_CURRENCY
from podium.finops.money import USD, decimal_text, difference, total

# 1-2-5, because a quantile read from decades can be wrong tenfold, from these at most 2.5-fold; from seconds on one
# core to days on many GPUs. Never to be changed: a counter is compared with what it was.
BOUNDS = (*(Decimal(step).scaleb(exponent) for exponent in range(-4, 3) for step in (1, 2, 5)), Decimal(1000))
"""Upper bounds, inclusive, of the cost buckets in USD."""

INFINITE = "+Inf"
"""The bucket above all bounds."""

UNPRICED = "unpriced"
"""The bucket of runs whose cost is unknown."""

KEY = tuple(column.name for column in run_rollup.primary_key)
"""The columns that name a rollup."""


@dataclass(frozen=True)
class Posted:
    """What the ledger holds of one run: `amount` is what was ever charged, None while any of it is unknown."""

    amount: Decimal | None
    currency: str


def posted(entries: Iterable[tuple[Decimal | None, str | None, str]]) -> Posted:
    """Add up `entries`, each (amount, currency, kind); amounts in several currencies have no sum, so it is unknown.

    >>> posted([(Decimal("0.02"), "USD", "direct"), (Decimal("-0.02"), "USD", "reversal")])
    Posted(amount=Decimal('0.02'), currency='USD')
    >>> posted([(Decimal("0.02"), "USD", "direct"), (None, None, "direct")])
    Posted(amount=None, currency='XXX')
    """
    amount, unpriced, currencies = Decimal(0), 0, set[str]()
    for charged, currency, kind in entries:
        if charged is None or currency is None:
            unpriced += -1 if kind == "reversal" else 1  # an entry priced later is reversed and posted anew
        elif kind != "reversal":
            amount = total((amount, charged))
            currencies.add(currency)
    if unpriced or len(currencies) > 1:
        return Posted(None, NO_CURRENCY)
    return Posted(amount, currencies.pop() if currencies else USD)  # of nothing: 0, in the price book's currency


def bucket_of(amount: Decimal) -> str:
    """Return the name of the bucket that a cost falls into: its upper bound.

    >>> [bucket_of(Decimal(text)) for text in ("0", "0.0001", "0.00011", "3", "1000", "1000.01")]
    ['0.0001', '0.0001', '0.0002', '5', '1000', '+Inf']
    """
    place = bisect_left(BOUNDS, amount)
    return decimal_text(BOUNDS[place]) if place < len(BOUNDS) else INFINITE


def add(connection: sa.Connection, run_id: str, now: datetime) -> None:
    """Count a run that ended at `now`, all its attempts posted, in the transaction that ends it.

    While its cost is unknown it counts as unpriced; what becomes known later is counted when the run ends again. A
    transaction may end one run only: then it holds the lock of one rollup, and two never wait for each other.
    """
    add_all(connection, [run_id], now)


def add_all(connection: sa.Connection, run_ids: Iterable[str], now: datetime) -> None:
    """Count runs that ended at `now` in one transaction; they are to be alike, so that they share a rollup.

    A rollup is written once: PostgreSQL keeps every version of a row until the transaction has ended.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run_id in run_ids:
        row = _end_of(connection, run_id, now)
        key = tuple(row[name] for name in KEY)
        rows[key] = _together(rows[key], row) if key in rows else row
    for row in rows.values():
        if connection.dialect.name == "postgresql":
            _ADD_ON_POSTGRESQL.run(connection, row)
        else:
            _add_on_sqlite(connection, row)


def _end_of(connection: sa.Connection, run_id: str, now: datetime) -> dict[str, Any]:
    """Note what a run cost that ended at `now`, and return what its rollup is to count."""
    of_run = {"of_run": run_id}
    ended = _Ended(*_ENDED.rows(connection, of_run)[0])
    cost = posted((amount, currency, kind) for amount, currency, kind in _ENTRIES.rows(connection, of_run))
    before = _COUNTED.first(connection, of_run)
    counted: Decimal = before[0] if before else Decimal(0)
    since = None if cost.amount is None else difference(cost.amount, counted)
    row = {
        "pipeline": ended.pipeline,
        "team": ended.team,
        "model": ended.model,
        "environment": ended.environment,
        "outcome": ended.outcome or ended.state,
        "currency": cost.currency,
        "cost_bucket": UNPRICED if since is None else bucket_of(since),
        "ends": 1,
        "amount": since,
        "wall_seconds": _seconds_since_it_went_on(connection, run_id, ended.started_at, now),
        "last_ended_at": now,
    }
    counted = counted if cost.amount is None else cost.amount
    put_run_cost = _PUT_RUN_COST[connection.dialect.name]
    put_run_cost.run(connection, {"run_id": run_id, "amount": counted, "ended_at": now})
    return row


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what a rollup is to count of two ends, both of it."""
    return {
        **one,
        "ends": one["ends"] + other["ends"],
        "amount": None if one["amount"] is None else total((one["amount"], other["amount"])),
        "wall_seconds": one["wall_seconds"] + other["wall_seconds"],
        "last_ended_at": max(one["last_ended_at"], other["last_ended_at"]),
    }


def _seconds_since_it_went_on(
    connection: sa.Connection, run_id: str, started_at: datetime | None, now: datetime
) -> float:
    """Return how long the run ran since it was last resumed, else since it started; a run that never did took 0 s."""
    (resumed_at,) = _RESUMED_AT.rows(connection, {"of_run": run_id})[0]
    since = resumed_at or started_at
    # A clock that was set back must not make a counter fall.
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _add_on_sqlite(connection: sa.Connection, row: dict[str, Any]) -> None:
    """Add to a rollup in Python: SQLite has no decimal to add with, but its write transaction excludes every other."""
    stored = _ROLLUP.first(connection, {name: row[name] for name in KEY})
    if stored is not None:
        row = {**row, **_together(_Sums(*stored)._asdict(), row)}
    _PUT_ON_SQLITE.run(connection, row)


class _Ended(NamedTuple):
    """What of a run its rollup wants to know."""

    pipeline: str
    team: str
    model: str
    environment: str
    state: str
    outcome: str | None
    started_at: datetime | None


class _Sums(NamedTuple):
    """What a rollup holds."""

    ends: int
    amount: Decimal | None
    wall_seconds: float
    last_ended_at: datetime


_OF_RUN: sa.BindParameter[Any] = sa.bindparam("of_run")
_ENDED = Prepared(sa.select(*(run.c[name] for name in _Ended._fields)).where(run.c.run_id == _OF_RUN))
_ENTRIES = Prepared(
    sa.select(ledger_entry.c.amount, ledger_entry.c.currency, ledger_entry.c.kind).where(
        ledger_entry.c.run_id == _OF_RUN
    )
)
_COUNTED = Prepared(sa.select(run_cost.c.amount).where(run_cost.c.run_id == _OF_RUN))
_RESUMED_AT = Prepared(
    sa.select(sa.func.max(event.c.at, type_=event.c.at.type)).where(
        event.c.run_id == _OF_RUN, event.c.kind.in_([sa.literal_column(f"'{kind}'") for kind in RUN_TAKEN_UP])
    )
)
_ROLLUP = Prepared(
    sa.select(*(run_rollup.c[name] for name in _Sums._fields)).where(
        *(run_rollup.c[name] == sa.bindparam(name) for name in KEY)
    )
)

_SUMS = ("ends", "amount", "wall_seconds")
_ROW: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in (*KEY, *_SUMS, "last_ended_at")}
_postgresql_insert = postgresql.insert(run_rollup).values(_ROW)
_ADD_ON_POSTGRESQL = Prepared(
    _postgresql_insert.on_conflict_do_update(
        index_elements=KEY,
        set_={
            # op: SQLAlchemy takes an Exact for the text that it is on SQLite, and would write || for +.
            **{name: run_rollup.c[name].op("+")(_postgresql_insert.excluded[name]) for name in _SUMS},
            "last_ended_at": sa.func.greatest(run_rollup.c.last_ended_at, _postgresql_insert.excluded.last_ended_at),
        },
    )
)
_sqlite_insert = sqlite.insert(run_rollup).values(_ROW)
_PUT_ON_SQLITE = Prepared(
    _sqlite_insert.on_conflict_do_update(
        index_elements=KEY,
        set_={name: _sqlite_insert.excluded[name] for name in (*_SUMS, "last_ended_at")},
    )
)
_COST: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in ("run_id", "amount", "ended_at")}
_PUT_RUN_COST = {
    dialect: Prepared(
        (statement := insert(run_cost).values(_COST)).on_conflict_do_update(
            index_elements=["run_id"],
            set_={name: statement.excluded[name] for name in ("amount", "ended_at")},
        )
    )
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
