"""Reports: what was spent, by team, model, day, run and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from podium.db.schema import cost_rollup, ledger_entry, run
from podium.errors import UsageError
from podium.finops.days import midnight
from podium.finops.savings import Saved, saved_between, saved_document
from podium.finops.sums import Cost, Sum, cost_document, currency_of
from podium.finops.usage import UNATTRIBUTED

_ROLLUP_KEYS = ("team", "model", "environment", "kind", "resource", "sku", "outcome", "day")
_LEDGER_KEYS = {"run": "run_id", "step": "step", "day": "charge_start"}
GROUP_KEYS = (*_ROLLUP_KEYS, "run", "step", "backfill")
"""What a report can be grouped by."""

NO_BACKFILL = "none"
"""The backfill of what no backfill asked for."""


@dataclass(frozen=True)
class ReportRow:
    """The cost of one group: `keys` are its group keys and their values."""

    keys: Mapping[str, str]
    cost: Cost


@dataclass(frozen=True)
class Report:
    """Costs of charges that start in `[start, end)`, by group, dearest first; None is open.

    `saved` is what equal steps would have cost that took over a result in that time; it is in no cost.
    """

    currency: str
    start: date | None
    end: date | None
    rows: tuple[ReportRow, ...]
    total: Cost
    saved: Saved

    def document(self) -> dict[str, Any]:
        """Return the report in the interface's JSON shape."""
        return {
            "currency": self.currency,
            "from": _midnight_text(self.start),
            "to": _midnight_text(self.end),
            "rows": [{**row.keys, **cost_document(row.cost, "amount")} for row in self.rows],
            **cost_document(self.total, "total"),
            "saved": saved_document(self.saved),
        }


def report(
    connection: sa.Connection,
    by: Sequence[str] = ("team", "model"),
    start: date | None = None,
    end: date | None = None,
) -> Report:
    """Return the cost of charges that start in `[start, end)`, UTC days, grouped `by` some of GROUP_KEYS.

    Reads the rollups; only groups by run, step or backfill read the ledger. Raises UsageError for an unknown or
    repeated key, an empty period, and costs in more than one currency.
    """
    unknown = [key for key in by if key not in GROUP_KEYS]
    if unknown or len(set(by)) != len(by):
        wrong = f"costs cannot be grouped by {', '.join(unknown)}" if unknown else "a group key is named twice"
        raise UsageError(f"The report's {wrong}; choose among {', '.join(GROUP_KEYS)}.")
    if start is not None and end is not None and start >= end:
        raise UsageError(f"The report's period from {start} to {end} is empty; the end, exclusive, must be later.")
    reads_ledger = not set(by) <= set(_ROLLUP_KEYS)
    query = _of_ledger(by, start, end) if reads_ledger else _of_rollups(by, start, end)
    sums: dict[tuple[str, ...], Sum] = {}
    whole = Sum()
    for amount, currency, kind, entries, *keys in connection.execute(query):
        group = sums.setdefault(tuple(map(_key_text, keys)), Sum())
        for part in (group, whole):
            part.add(amount, currency, kind, entries)
    rows = [ReportRow(dict(zip(by, keys, strict=True)), group.cost) for keys, group in sums.items()]
    rows.sort(key=lambda row: (-(row.cost.amount or 0), tuple(row.keys.values())))
    saved = saved_between(connection, start, end)
    return Report(currency_of(connection, whole), start, end, tuple(rows), whole.cost, saved)


def _of_rollups(by: Sequence[str], start: date | None, end: date | None) -> sa.Select[Any]:
    columns = cost_rollup.c
    query = sa.select(columns.amount, columns.currency, columns.kind, columns.entries, *(columns[key] for key in by))
    if start is not None:
        query = query.where(columns.day >= start.isoformat())
    return query if end is None else query.where(columns.day < end.isoformat())


def _of_ledger(by: Sequence[str], start: date | None, end: date | None) -> sa.Select[Any]:
    columns = ledger_entry.c
    of_backfill = sa.func.coalesce(run.c.backfill_id, NO_BACKFILL)
    keys = [of_backfill if key == "backfill" else columns[_LEDGER_KEYS.get(key, key)] for key in by]
    query = sa.select(columns.amount, columns.currency, columns.kind, sa.literal(1), *keys)
    if "backfill" in by:
        query = query.select_from(ledger_entry.outerjoin(run, run.c.run_id == columns.run_id))
    if start is not None:
        query = query.where(columns.charge_start >= midnight(start))
    return query if end is None else query.where(columns.charge_start < midnight(end))


def _key_text(key: str | datetime | None) -> str:
    if key is None:
        return UNATTRIBUTED
    return f"{key:%Y-%m-%d}" if isinstance(key, datetime) else key


def _midnight_text(day: date | None) -> str | None:
    return None if day is None else f"{day.isoformat()}T00:00:00Z"
