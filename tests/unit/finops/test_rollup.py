from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from podium.finops.entries import Row, entries_of
from podium.finops.pricing import Price
from podium.finops.rollup import key_of, rolled_up
from podium.finops.usage import UsageRecord

Build = Callable[..., UsageRecord]


def posted(*usages: UsageRecord) -> list[Row]:
    prices: dict[str, list[Price]] = {"cpu.standard": [], "memory.standard": []}
    return [row for usage in usages for row in entries_of(usage, prices, usages[0].ended_at)]


def test_rollups_are_touched_in_one_order_whatever_the_order_of_posting(usage: Build) -> None:
    # Two PostgreSQL transactions that took the same row locks in opposite orders would deadlock.
    usages = [usage("a", team="pricing"), usage("b", team="network-ops"), usage("c", outcome="failed")]
    assert list(rolled_up(posted(*usages))) == list(rolled_up(posted(*reversed(usages))))


def test_the_day_is_utc_wherever_the_clock_stands(usage: Build) -> None:
    new_york = timezone(timedelta(hours=-5))
    (cpu, _) = posted(usage(started_at=datetime(2026, 11, 1, 20, tzinfo=new_york)))
    assert key_of(cpu)[0] == "2026-11-02"


def test_a_rollup_adds_quantities_and_keeps_an_unknown_amount_unknown(usage: Build) -> None:
    sums = rolled_up(posted(usage("a"), usage("b")))
    cpu, memory = sums.values()
    assert (cpu.amount, cpu.quantity, cpu.entries) == (None, Decimal(2400), 2)
    assert (memory.amount, memory.quantity, memory.entries) == (None, Decimal(3600), 2)
