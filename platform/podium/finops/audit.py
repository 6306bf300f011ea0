"""Every ended attempt against what it was billed, one by one: what `reconcile` has as sums, named."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from podium.db.schema import attempt, ledger_entry
from podium.db.violations import Violation
from podium.finops.entries import PRICED_LATER
from podium.finops.money import decimal_text, total
from podium.finops.reconciliation import reconcile
from podium.finops.usage import quantities

_ROWS_AT_ONCE = 1_000
_REPAIR = (
    "Entries are never changed: compare with a backup, and restore it if somebody changed the database; else report it "
    "as a bug. `podium costs reconcile` shows the sums."
)

_COLUMNS = (
    ledger_entry.c.attempt_id,
    ledger_entry.c.resource,
    ledger_entry.c.quantity,
    ledger_entry.c.outcome,
    ledger_entry.c.meter_quality,
    ledger_entry.c.amount,
    ledger_entry.c.unit_price,
)


def violations(connection: sa.Connection) -> Iterator[Violation]:
    """Yield every attempt that is not billed exactly once for each resource, and every figure that is off.

    `connection` must see one consistent state, as `Database.read` gives. It streams attempts and ledger twice.
    """
    # What was posted at an attempt's end; a reversal or a later price is reconciliation's.
    posted = (ledger_entry.c.kind == "direct", ~ledger_entry.c.idempotency_key.contains(PRICED_LATER))
    join = attempt.outerjoin(ledger_entry, sa.and_(ledger_entry.c.attempt_id == attempt.c.attempt_id, *posted))
    query = sa.select(attempt, *(column.label(f"entry_{column.name}") for column in _COLUMNS)).select_from(join)
    rows = connection.execute(query.order_by(attempt.c.attempt_id), execution_options={"yield_per": _ROWS_AT_ONCE})
    for attempt_id, group in groupby(rows, key=lambda row: row.attempt_id):
        for fact in _faults(list(group)):
            yield Violation("money", f"attempt {attempt_id}", fact, _REPAIR)
    orphans = (
        sa.select(ledger_entry.c.entry_id, ledger_entry.c.attempt_id)
        .outerjoin(attempt, attempt.c.attempt_id == ledger_entry.c.attempt_id)
        .where(ledger_entry.c.attempt_id.is_not(None), attempt.c.attempt_id.is_(None))
    )
    for row in connection.execute(orphans):
        yield Violation("money", f"ledger entry {row.entry_id}", f"it bills {row.attempt_id}, no attempt", _REPAIR)
    for check in reconcile(connection).checks:
        if not check.ok:
            figures = " and ".join(decimal_text(figure) for figure in (check.left, check.right))
            yield Violation("money", "the books", f"{check.name} does not hold: {figures}", _REPAIR)


def _faults(rows: list[sa.Row[Any]]) -> Iterator[str]:
    """Yield what is wrong with one attempt's entries; `rows` has its columns in each, and one entry or none."""
    found = rows[0]
    entries = [row for row in rows if row.entry_attempt_id is not None]
    if found.ended_at is None:
        if entries:
            yield f"it is running, and {len(entries)} ledger entries bill it"
        return
    billed: dict[str, list[Decimal]] = {}
    for entry in entries:
        billed.setdefault(entry.entry_resource, []).append(entry.entry_quantity)
    reserved = found.reserved_cpu, found.reserved_memory_bytes, found.reserved_gpu
    for owed in quantities(found.wall_seconds, *reserved):
        parts, unit = billed.pop(owed.resource.name, []), owed.resource.unit
        if not parts:
            yield f"it ended, and its {owed.resource.name} is not billed"
        elif total(parts) != owed.amount:
            yield f"it used {decimal_text(owed.amount)} {unit}, and {decimal_text(total(parts))} are billed"
    for resource in billed:
        yield f"it reserved no {resource}, and some is billed"
    for entry in entries:
        if (entry.entry_outcome, entry.entry_meter_quality) != (found.state, found.meter_quality):
            told = f"{entry.entry_outcome}, {entry.entry_meter_quality}"
            yield f"it is {found.state}, {found.meter_quality}, and its {entry.entry_resource} is billed as {told}"
        free = entry.entry_quantity == 0 or entry.entry_unit_price == 0
        if entry.entry_amount == 0 and not free:
            yield f"its {entry.entry_resource} is billed with nothing: an unknown price is NULL, not 0"
