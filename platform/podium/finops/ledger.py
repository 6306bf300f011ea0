"""The ledger: immutable entries, posted inside the transaction that ends an attempt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from podium.clock import Clock
from podium.db.prepared import Prepared
from podium.db.schema import ledger_entry, version_lineage
from podium.errors import Conflict, InternalError, NotFound, UsageError
from podium.finops import rollup
from podium.finops.entries import PRICED_LATER, Row, entries_of, priced_anew, reversal_of
from podium.finops.money import total
from podium.finops.prices import prices_between
from podium.finops.pricing import Price
from podium.finops.usage import UsageRecord, billed


@dataclass(frozen=True)
class Ledger:
    """Posts, reverses and prices entries; each method works inside the caller's open write transaction."""

    clock: Clock

    def post(self, connection: sa.Connection, *usages: UsageRecord) -> int:
        """Post what each of `usages` cost and return how many entries that added; posting again adds none.

        Usage whose price is unknown is posted without an amount. A transaction that ends several attempts
        posts them in one call, so that all transactions take their locks in one order. Raises InternalError
        for an attempt that was posted before with another usage.
        """
        if len({usage.attempt_id for usage in usages}) != len(usages):
            raise InternalError("One posting holds the same attempt twice; hand each attempt over once.")
        prices, now = _prices(connection, usages), self.clock.now()
        entries = {usage.attempt_id: entries_of(usage, prices, now) for usage in usages}
        added = _insert(connection, [row for rows in entries.values() for row in rows])
        fresh = [row for rows in entries.values() for row in rows if row["idempotency_key"] in added]
        if len(fresh) != sum(map(len, entries.values())):
            for rows in entries.values():
                _refuse_another_usage(connection, rows, added)
        if fresh:
            rollup.add(connection, fresh)
        return len(fresh)

    def reverse(self, connection: sa.Connection, entry_id: str, reason: str) -> str:
        """Post the entry that negates `entry_id`, and return its id.

        Raises NotFound for an unknown entry, UsageError for one that is itself a reversal or for an empty
        reason, Conflict for an entry that is reversed already.
        """
        query = sa.select(ledger_entry).where(ledger_entry.c.entry_id == entry_id)
        entry = connection.execute(query).first()
        if entry is None:
            raise NotFound(f"The ledger has no entry {entry_id!r}; `podium costs run` shows a run's entries.")
        if entry.kind == "reversal":
            raise UsageError(f"Ledger entry {entry_id} is itself a reversal, which stays; post what is missing anew.")
        if not reason.strip():
            raise UsageError(f"The reversal of ledger entry {entry_id} has no reason; say why it is reversed.")
        row = reversal_of(entry._asdict(), reason, self.clock.now())
        if not _insert(connection, [row]):
            raise Conflict(f"Ledger entry {entry_id} is reversed already, and an entry is reversed once.")
        rollup.add(connection, [row])
        return str(row["entry_id"])

    def price_unpriced(self, connection: sa.Connection) -> int:
        """Replace each entry that was posted without a price and has one now, and return how many.

        The entry is reversed and its quantity posted anew; what had a price when it was posted keeps it.
        Raises Conflict where somebody reverses such an entry meanwhile.
        """
        count, rows, now = 0, list[Row](), self.clock.now()
        for entry in connection.execute(_UNPRICED).all():
            found = prices_between(connection, [entry.sku], entry.charge_start, entry.charge_end)
            replacing = priced_anew(entry._asdict(), found[entry.sku], now)
            if replacing is not None:
                rows += [reversal_of(entry._asdict(), "its price became known", now), *replacing]
                count += 1
        if len(_insert(connection, rows)) != len(rows):
            raise Conflict("Ledger entries without a price were reversed while they were being priced; try again.")
        if rows:
            rollup.add(connection, rows)
        return count

    def record_lineage(self, connection: sa.Connection, model: str, version: str, attempt_ids: Iterable[str]) -> None:
        """Record that `attempt_ids` made `version` of `model`; what is recorded already stays."""
        rows = [
            {"model": model, "version": version, "attempt_id": attempt_id} for attempt_id in sorted(set(attempt_ids))
        ]
        if rows:
            connection.execute(_ADD_LINEAGE[connection.dialect.name], rows)

    def copy_lineage(self, connection: sa.Connection, origin: tuple[str, str], copy: tuple[str, str]) -> None:
        """Record that the attempts that made one version, `(model, version)`, made another; what is there stays."""
        lineage = sa.select(version_lineage.c.attempt_id).where(
            version_lineage.c.model == origin[0], version_lineage.c.version == origin[1]
        )
        self.record_lineage(connection, *copy, connection.scalars(lineage).all())


def _prices(connection: sa.Connection, usages: Sequence[UsageRecord]) -> dict[str, list[Price]]:
    skus = sorted({quantity.resource.sku for usage in usages for quantity in billed(usage)})
    if not skus:
        return {}
    start, end = min(usage.started_at for usage in usages), max(usage.charge_end for usage in usages)
    return prices_between(connection, skus, start, end)


def _insert(connection: sa.Connection, rows: Sequence[Row]) -> set[str]:
    """Insert `rows` and return the idempotency keys of those that were not there yet."""
    add = _ADD_ENTRIES[connection.dialect.name]
    return {added[0] for row in rows if (added := add.first(connection, row)) is not None}


def _refuse_another_usage(connection: sa.Connection, rows: Sequence[Row], added: set[str]) -> None:
    """Raise InternalError unless `rows`, one attempt's, are all new or say what was posted for it before."""
    new = sum(row["idempotency_key"] in added for row in rows)
    if new == len(rows):
        return
    attempt_id = rows[0]["attempt_id"]
    before = [row._asdict() for row in connection.execute(_POSTED, {"attempt_id": attempt_id})]
    if new or _facts(before) != _facts(rows):
        raise InternalError(
            f"Attempt {attempt_id} was posted to the ledger before with another usage, but an attempt is "
            "billed once; this is a bug in what reported it."
        )


def _facts(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return what `rows` say of the usage, however prices split it: quantity and period per resource."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in _USAGE), []).append(row)
    return {
        labels: (
            total(row["quantity"] for row in group),
            min(row["charge_start"] for row in group),
            max(row["charge_end"] for row in group),
        )
        for labels, group in groups.items()
    }


_USAGE = ("resource", "sku", "unit", "run_id", "step", "team", "model", "environment", "outcome")

_POSTED = sa.select(ledger_entry).where(
    ledger_entry.c.attempt_id == sa.bindparam("attempt_id"),
    ledger_entry.c.kind == "direct",
    ~ledger_entry.c.idempotency_key.contains(PRICED_LATER),
)

_reversal = ledger_entry.alias("reversal")
_UNPRICED = (
    sa.select(ledger_entry)
    .outerjoin(_reversal, _reversal.c.reverses_entry_id == ledger_entry.c.entry_id)
    .where(ledger_entry.c.amount.is_(None), ledger_entry.c.kind != "reversal", _reversal.c.entry_id.is_(None))
    .order_by(ledger_entry.c.entry_id)
)

_ENTRY: dict[str, sa.BindParameter[Any]] = {column.name: sa.bindparam(column.name) for column in ledger_entry.c}
_ADD_ENTRIES = {
    dialect: Prepared(
        insert(ledger_entry).values(_ENTRY).on_conflict_do_nothing().returning(ledger_entry.c.idempotency_key)
    )
    for dialect, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_ADD_LINEAGE = {
    "sqlite": sqlite.insert(version_lineage).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(version_lineage).on_conflict_do_nothing(),
}
