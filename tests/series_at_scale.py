"""Whether thousands of finished runs leave the exporter's series as they are."""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from benchmarks.bench_scrape import exporter_of, fill
from podium.db.engine import Database
from podium.db.schema import ledger_entry
from podium.finops.money import total
from podium.finops.tally import ended_runs
from tests.metrics_world import Scraped

FEW = 100
"""So many runs show every series."""


def problems(database: Database, many: int) -> list[str]:
    """Fill an empty database with `FEW` finished runs, then with `many`; return what that changes and must not."""
    fill(database, FEW)
    before = _scraped(database)
    fill(database, many, first=FEW)
    after = _scraped(database)
    found = []
    if _series(after) != _series(before) or len(after.series) != len(before.series):
        new = sorted(map(str, _series(after) ^ _series(before)))
        found.append(f"{len(before.series)} series of {FEW:,} runs, {len(after.series)} of {many:,}: {new}")
    counted = sum(after.all("podium_run_cost_usd_count").values())
    if counted != many:
        found.append(f"{many:,} runs ended, {counted:,.0f} are counted")
    with database.read() as connection:
        amounts = total(row.amount or Decimal(0) for row in ended_runs(connection))
        charged = total(connection.scalars(sa.select(ledger_entry.c.amount)))
    if amounts != charged:
        found.append(f"the runs add up to {amounts}, the ledger to {charged}")
    return found


def _scraped(database: Database) -> Scraped:
    return Scraped(exporter_of(database).render().decode())


def _series(scraped: Scraped) -> set[Any]:
    """Names and labels; which version is champion may change."""
    return {(name, frozenset(each for each in labels if each[0] != "version")) for name, labels in scraped.series}
