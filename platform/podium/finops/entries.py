"""Ledger entries as rows, before they are posted; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from podium.finops.money import negative
from podium.finops.pricing import Charge, Price, charges
from podium.finops.usage import UNATTRIBUTED, Quantity, UsageRecord, billed
from podium.ids import new_id

Row = dict[str, Any]
"""One row of `ledger_entry`, by column."""

PRICED_LATER = ":priced:"
"""Marks the idempotency key of an entry that replaces one posted without a price."""


def entries_of(usage: UsageRecord, prices: Mapping[str, Sequence[Price]], now: datetime) -> list[Row]:
    """Return the entries of an attempt, per resource and price period; `prices` are by sku.

    The idempotency key is `attempt:{id}:{resource}:{number of the period}`.
    """
    return [
        _entry(
            _labels(usage, quantity),
            part,
            f"attempt:{usage.attempt_id}:{quantity.resource.name}:{number}",
            now,
        )
        for quantity in billed(usage)
        for number, part in enumerate(
            charges(quantity.amount, usage.started_at, usage.charge_end, prices[quantity.resource.sku])
        )
    ]


def reversal_of(entry: Mapping[str, Any], reason: str, now: datetime) -> Row:
    """Return the entry that negates `entry`."""
    return {
        **entry,
        "entry_id": new_id(now),
        "idempotency_key": f"reversal:{entry['entry_id']}",
        "posted_at": now,
        "kind": "reversal",
        "reverses_entry_id": entry["entry_id"],
        "quantity": negative(entry["quantity"]),
        "amount": None if entry["amount"] is None else negative(entry["amount"]),
        "reason": reason,
    }


def priced_anew(entry: Mapping[str, Any], prices: Sequence[Price], now: datetime) -> list[Row] | None:
    """Return the entries that replace the unpriced `entry`; None while part of its period has no price."""
    parts = charges(entry["quantity"], entry["charge_start"], entry["charge_end"], prices)
    if any(part.price is None for part in parts):
        return None
    return [
        _entry(entry, part, f"{entry['idempotency_key']}{PRICED_LATER}{number}", now)
        for number, part in enumerate(parts)
    ]


def _labels(usage: UsageRecord, quantity: Quantity) -> Row:
    return {
        "kind": "direct",
        "reverses_entry_id": None,
        "team": usage.team or UNATTRIBUTED,
        "model": usage.model or UNATTRIBUTED,
        "environment": usage.environment or UNATTRIBUTED,
        "subject_type": "attempt",
        "subject_id": usage.attempt_id,
        "run_id": usage.run_id,
        "step": usage.step,
        "attempt_id": usage.attempt_id,
        "outcome": usage.outcome,
        "resource": quantity.resource.name,
        "sku": quantity.resource.sku,
        "unit": quantity.resource.unit,
        "meter_source": usage.meter_source,
        "meter_quality": usage.meter_quality,
        "allocation_rule": None,
        "allocation_source": None,
        "reason": None,
    }


def _entry(labels: Mapping[str, Any], charge: Charge, key: str, now: datetime) -> Row:
    return {
        **labels,
        "entry_id": new_id(now),
        "idempotency_key": key,
        "posted_at": now,
        "charge_start": charge.start,
        "charge_end": charge.end,
        "quantity": charge.quantity,
        "price_id": charge.price.price_id if charge.price else None,
        "unit_price": charge.price.unit_price if charge.price else None,
        "amount": charge.amount,
        "currency": charge.price.currency if charge.price else None,
    }
