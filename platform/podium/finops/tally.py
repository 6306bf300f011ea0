"""What the ledger's rollups come to: totals that only grow, and how much of the ledger is in none of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from podium.db.schema import cost_rollup, ledger_entry, run_rollup
from podium.db.schema.finops import NO_CURRENCY
from podium.errors import UsageError
from podium.finops.costs import version_cost
from podium.finops.money import USD, negative, total
from podium.finops.usage import UNATTRIBUTED


@dataclass(frozen=True)
class CostTally:
    """All that was ever charged and credited, in USD; a credit is a positive amount.

    `charged` is by team, model, environment, kind and resource, `credited` by team, model and environment.
    `unpriced` counts live entries whose price is unknown, `other_currencies` entries by a currency that is not USD:
    both are in no amount.
    """

    charged: Mapping[tuple[str, str, str, str, str], Decimal]
    credited: Mapping[tuple[str, str, str], Decimal]
    unattributed: Decimal
    unpriced: int
    other_currencies: Mapping[str, int]


@dataclass(frozen=True)
class RunTally:
    """One rollup of runs: how many ended there, and their cost; `amount` is None where it is unknown."""

    pipeline: str
    team: str
    model: str
    environment: str
    outcome: str
    currency: str
    cost_bucket: str
    ends: int
    amount: Decimal | None
    wall_seconds: float
    last_ended_at: datetime


def costs(connection: sa.Connection) -> CostTally:
    """Add up the rollups of the ledger."""
    charged: dict[tuple[str, str, str, str, str], Decimal] = {}
    credited: dict[tuple[str, str, str], Decimal] = {}
    unattributed, unpriced, others = Decimal(0), 0, Counter[str]()
    for row in connection.execute(_SUMS_ON_POSTGRESQL if connection.dialect.name == "postgresql" else _ROLLUPS):
        reversal = row.kind == "reversal"
        if row.currency == NO_CURRENCY:
            unpriced += -row.entries if reversal else row.entries
        elif row.currency != USD:
            others[row.currency] += row.entries
        elif reversal:
            whose = row.team, row.model, row.environment
            credited[whose] = total((credited.get(whose, Decimal(0)), negative(row.amount)))
        else:
            what = row.team, row.model, row.environment, row.kind, row.resource
            charged[what] = total((charged.get(what, Decimal(0)), row.amount))
            if row.team == UNATTRIBUTED:
                unattributed = total((unattributed, row.amount))
    return CostTally(charged, credited, unattributed, unpriced, others)


def ended_runs(connection: sa.Connection) -> list[RunTally]:
    """Return every rollup of runs."""
    return [RunTally(**row._asdict()) for row in connection.execute(sa.select(run_rollup))]


def last_posting(connection: sa.Connection) -> datetime | None:
    """Return when the newest entry was posted; None for an empty ledger."""
    # By the sortable id, which has an index.
    newest = sa.select(ledger_entry.c.posted_at).order_by(ledger_entry.c.entry_id.desc()).limit(1)
    return connection.scalar(newest)


def version_cost_usd(connection: sa.Connection, model: str, version: str) -> Decimal | None:
    """Return what a model version cost in USD; None where any part of that is unknown."""
    try:
        cost = version_cost(connection, model, version)
    except UsageError:  # no attempt is recorded to have made it, or they were paid in several currencies
        return None
    return cost.total.complete if cost.currency == USD else None


_LABELS = tuple(cost_rollup.c[name] for name in ("team", "model", "environment", "kind", "resource", "currency"))
_ROLLUPS = sa.select(*_LABELS, cost_rollup.c.amount, cost_rollup.c.entries)
# A row per day and labels is much to fetch after years; its NUMERIC adds exactly, SQLite has nothing that does.
_SUMS_ON_POSTGRESQL = sa.select(
    *_LABELS,
    sa.func.sum(cost_rollup.c.amount, type_=cost_rollup.c.amount.type).label("amount"),
    sa.cast(sa.func.sum(cost_rollup.c.entries), sa.BigInteger).label("entries"),
).group_by(*_LABELS)
