from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import price
from podium.errors import ConfigurationError
from podium.finops.book import PriceBook, load_book, parse_book
from podium.finops.ledger import Ledger
from podium.finops.money import decimal_text
from podium.finops.prices import check_priced, import_book, prices_between
from podium.finops.usage import CPU, GPU, UsageRecord, resources_of

Build = Callable[..., UsageRecord]


def book(*spans: tuple[str, str, str]) -> PriceBook:
    """Cpu prices per second, each as (valid_from, valid_to, unit_price)."""
    fields = {"sku": "cpu.standard", "unit": "core-seconds", "currency": "USD", "source": "test"}
    return parse_book(
        "ours.yaml",
        [
            {**fields, "valid_from": since, "valid_to": until, "unit_price": unit_price}
            for since, until, unit_price in spans
        ],
    )


def recorded(database: Database) -> list[tuple[str, str | None, str]]:
    with database.read() as connection:
        rows = connection.execute(sa.select(price).order_by(price.c.valid_from)).all()
    return [
        (
            f"{row.valid_from:%Y-%m-%d}",
            f"{row.valid_to:%Y-%m-%d}" if row.valid_to else None,
            decimal_text(row.unit_price),
        )
        for row in rows
    ]


def test_importing_a_book_again_adds_nothing(database: Database, clock: FakeClock) -> None:
    assert import_book(database, load_book(None), clock) == 3
    before = recorded(database)
    assert import_book(database, load_book(None), clock) == 0
    assert recorded(database) == before


def test_a_later_price_ends_the_open_one(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-01-01", "", "1")), clock)
    later = book(("2026-01-01", "", "1"), ("2026-06-01", "", "2"), ("2026-09-01", "", "3"))
    assert import_book(database, later, clock) == 2
    assert recorded(database) == [
        ("2026-01-01", "2026-06-01", "1"),
        ("2026-06-01", "2026-09-01", "2"),
        ("2026-09-01", None, "3"),
    ]
    assert import_book(database, later, clock) == 0


def test_an_earlier_price_ends_where_the_recorded_one_starts(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-06-01", "", "2")), clock)
    import_book(database, book(("2026-01-01", "", "1")), clock)
    assert recorded(database) == [("2026-01-01", "2026-06-01", "1"), ("2026-06-01", None, "2")]


def test_an_open_price_can_be_ended_once(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-01-01", "", "1")), clock)
    assert import_book(database, book(("2026-01-01", "2026-06-01", "1")), clock) == 0
    assert recorded(database) == [("2026-01-01", "2026-06-01", "1")]
    with pytest.raises(ConfigurationError, match=r"recorded to end at 2026-06-01.*an end is set once"):
        import_book(database, book(("2026-01-01", "2026-07-01", "1")), clock)


def test_a_recorded_price_never_changes(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-01-01", "", "1")), clock)
    with pytest.raises(ConfigurationError, match=r"ours.yaml .* at 2 USD .* but 1 USD .* never changes"):
        import_book(database, book(("2026-01-01", "", "2")), clock)
    assert recorded(database) == [("2026-01-01", None, "1")]


@pytest.mark.parametrize("span", [("2026-02-01", "", "2"), ("2025-01-01", "2026-02-01", "2")])
def test_a_price_that_overlaps_a_recorded_one_is_refused(
    database: Database, clock: FakeClock, span: tuple[str, str, str]
) -> None:
    import_book(database, book(("2026-01-01", "2026-03-01", "1")), clock)
    with pytest.raises(ConfigurationError, match="overlaps"):
        import_book(database, book(span), clock)


def test_a_price_may_not_start_before_charges_posted_at_the_one_it_ends(
    priced: Database, clock: FakeClock, ledger: Ledger, usage: Build
) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage())  # 2026-11-01 from 12:00 to 12:10
    before = recorded(priced)
    with pytest.raises(ConfigurationError, match="charges until 2026-11-01 12:10 UTC are posted at it"):
        import_book(priced, book(("2026-11-01T12:05:00Z", "", "1")), clock)
    assert recorded(priced) == before
    assert import_book(priced, book(("2026-11-01T12:10:00Z", "", "1")), clock) == 1


def test_only_prices_that_touch_the_period_are_found(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-01-01", "", "1"), ("2026-06-01", "", "2"), ("2026-09-01", "", "3")), clock)
    with database.read() as connection:
        found = prices_between(
            connection, ["cpu.standard"], datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
        )
    assert [known.unit_price for known in found["cpu.standard"]] == [2]


def test_a_resource_without_a_price_is_named_before_a_run_starts(database: Database, clock: FakeClock) -> None:
    import_book(database, book(("2026-01-01", "2026-06-01", "1")), clock)
    with database.read() as connection:
        check_priced(connection, [CPU], datetime(2026, 5, 31, tzinfo=UTC))
        with pytest.raises(ConfigurationError, match=r"No price of cpu.standard, gpu.standard .* prices.yaml"):
            check_priced(connection, [CPU, GPU], datetime(2026, 6, 1, tzinfo=UTC))


def test_the_seed_book_is_enough_to_run(priced: Database, clock: FakeClock) -> None:
    with priced.read() as connection:
        check_priced(connection, resources_of(gpu=1), clock.now())
