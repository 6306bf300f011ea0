from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import cost_rollup, ledger_entry, version_lineage
from podium.errors import Conflict, InternalError, NotFound, UsageError
from podium.finops.book import load_book, parse_book
from podium.finops.ledger import Ledger
from podium.finops.prices import import_book
from podium.finops.usage import UNATTRIBUTED, UsageRecord

Build = Callable[..., UsageRecord]

TEN_MINUTES_OF_TWO_CORES = 1200 * Decimal("0.000011244444")


def rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [row._asdict() for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


def entries(database: Database) -> dict[str, dict[str, Any]]:
    return {row["idempotency_key"]: row for row in rows(database, ledger_entry)}


def test_an_attempt_is_posted_by_resource_with_the_price_stamped(
    priced: Database, ledger: Ledger, usage: Build
) -> None:
    with priced.write() as connection:
        assert ledger.post(connection, usage()) == 2
    cpu = entries(priced)["attempt:attempt-1:cpu:0"]
    assert cpu["amount"] == TEN_MINUTES_OF_TWO_CORES
    assert (cpu["quantity"], cpu["unit_price"]) == (1200, Decimal("0.000011244444"))
    assert (cpu["charge_start"], cpu["charge_end"]) == (usage().started_at, usage().ended_at)
    assert (cpu["kind"], cpu["team"], cpu["outcome"], cpu["currency"]) == (
        "direct",
        "network-ops",
        "succeeded",
        "USD",
    )


def test_posting_an_attempt_again_adds_nothing(priced: Database, ledger: Ledger, usage: Build) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage())
    before = rows(priced, ledger_entry), rows(priced, cost_rollup)
    with priced.write() as connection:
        assert ledger.post(connection, usage()) == 0
    assert (rows(priced, ledger_entry), rows(priced, cost_rollup)) == before


@pytest.mark.parametrize("changes", [{"wall_seconds": 601.0}, {"cpu": 3.0}, {"gpu": 1}, {"outcome": "lost"}])
def test_posting_an_attempt_again_with_another_usage_is_a_bug_that_leaves_nothing(
    priced: Database, ledger: Ledger, usage: Build, changes: dict[str, Any]
) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage())
    before = rows(priced, ledger_entry), rows(priced, cost_rollup)
    with (
        pytest.raises(InternalError, match=r"attempt-1 was posted .* with another usage"),
        priced.write() as connection,
    ):
        ledger.post(connection, usage(**changes))
    assert (rows(priced, ledger_entry), rows(priced, cost_rollup)) == before


def test_a_posting_that_is_rolled_back_leaves_nothing(priced: Database, ledger: Ledger, usage: Build) -> None:
    def post_and_fail() -> None:
        with priced.write() as connection:
            ledger.post(connection, usage())
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        post_and_fail()
    assert rows(priced, ledger_entry) == []
    assert rows(priced, cost_rollup) == []


def test_several_attempts_are_posted_in_one_call(priced: Database, ledger: Ledger, usage: Build) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage("a"))
        assert ledger.post(connection, usage("a"), usage("b"), usage("c", gpu=1)) == 5
    assert sum(row["entries"] for row in rows(priced, cost_rollup)) == len(rows(priced, ledger_entry)) == 7


def test_one_call_does_not_take_the_same_attempt_twice(priced: Database, ledger: Ledger, usage: Build) -> None:
    with pytest.raises(InternalError, match="same attempt twice"), priced.write() as connection:
        ledger.post(connection, usage(), usage())


def test_a_price_change_during_an_attempt_splits_its_charge(
    priced: Database, ledger: Ledger, usage: Build, clock: FakeClock
) -> None:
    change_price(priced, clock, "2026-11-01T12:02:00Z", unit_price="0.00002")
    with priced.write() as connection:
        assert ledger.post(connection, usage()) == 3
        assert ledger.post(connection, usage()) == 0
    found = entries(priced)
    before, after = found["attempt:attempt-1:cpu:0"], found["attempt:attempt-1:cpu:1"]
    assert (before["quantity"], after["quantity"]) == (240, 960)
    assert before["charge_end"] == after["charge_start"]
    assert after["amount"] == Decimal("0.0192")


def test_a_charge_belongs_to_the_utc_day_it_starts_on(priced: Database, ledger: Ledger, usage: Build) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage(wall_seconds=13 * 3600.0))
    assert {row["day"] for row in rows(priced, cost_rollup)} == {"2026-11-01"}


def test_a_cost_without_an_owner_is_visible(priced: Database, ledger: Ledger, usage: Build) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage(team=""))
    assert {row["team"] for row in rows(priced, ledger_entry)} == {UNATTRIBUTED}


def test_usage_without_a_price_is_posted_unpriced_never_as_zero(
    database: Database, ledger: Ledger, usage: Build
) -> None:
    with database.write() as connection:
        assert ledger.post(connection, usage()) == 2
        ledger.post(connection, usage("attempt-2"))
    assert {row["amount"] for row in rows(database, ledger_entry)} == {None}
    assert [(row["currency"], row["amount"], row["entries"]) for row in rows(database, cost_rollup)] == [
        ("XXX", None, 2),
        ("XXX", None, 2),
    ]


def test_an_unpriced_entry_is_priced_once_when_its_price_is_known(
    database: Database, ledger: Ledger, usage: Build, clock: FakeClock
) -> None:
    with database.write() as connection:
        ledger.post(connection, usage())
        assert ledger.price_unpriced(connection) == 0
    import_book(database, load_book(None), clock)
    with database.write() as connection:
        assert ledger.price_unpriced(connection) == 2
        assert ledger.price_unpriced(connection) == 0
        assert ledger.post(connection, usage()) == 0
    assert entries(database)["attempt:attempt-1:cpu:0:priced:0"]["amount"] == TEN_MINUTES_OF_TWO_CORES
    assert sum(row["quantity"] for row in rows(database, ledger_entry) if row["resource"] == "cpu") == 1200


def test_a_reversal_negates_an_entry_once(priced: Database, ledger: Ledger, usage: Build) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage())
    entry = entries(priced)["attempt:attempt-1:cpu:0"]
    with priced.write() as connection:
        reversal_id = ledger.reverse(connection, entry["entry_id"], "the meter was wrong")
    reversal = entries(priced)[f"reversal:{entry['entry_id']}"]
    assert reversal["entry_id"] == reversal_id
    assert (reversal["quantity"], reversal["amount"]) == (-1200, -TEN_MINUTES_OF_TWO_CORES)
    assert (reversal["kind"], reversal["reason"], reversal["team"]) == (
        "reversal",
        "the meter was wrong",
        "network-ops",
    )
    with pytest.raises(Conflict, match="reversed already"), priced.write() as connection:
        ledger.reverse(connection, entry["entry_id"], "again")
    with pytest.raises(UsageError, match="itself a reversal"), priced.write() as connection:
        ledger.reverse(connection, reversal_id, "undo")
    cpu = [row for row in rows(priced, cost_rollup) if row["resource"] == "cpu"]
    assert sum(row["amount"] for row in cpu) == 0
    assert {row["kind"] for row in cpu} == {"direct", "reversal"}


def test_a_reversal_names_an_entry_and_a_reason(priced: Database, ledger: Ledger, usage: Build) -> None:
    with pytest.raises(NotFound, match="no entry 'nothing'"), priced.write() as connection:
        ledger.reverse(connection, "nothing", "because")
    with priced.write() as connection:
        ledger.post(connection, usage())
    entry_id = rows(priced, ledger_entry)[0]["entry_id"]
    with pytest.raises(UsageError, match="has no reason"), priced.write() as connection:
        ledger.reverse(connection, entry_id, " ")


@pytest.mark.parametrize("statement", ["UPDATE ledger_entry SET amount = NULL", "DELETE FROM ledger_entry"])
def test_the_database_refuses_to_change_or_delete_an_entry(
    priced: Database, ledger: Ledger, usage: Build, statement: str
) -> None:
    with priced.write() as connection:
        ledger.post(connection, usage())
    with pytest.raises(sa.exc.DBAPIError, match="ledger_entry is append-only"), priced.write() as connection:
        connection.execute(sa.text(statement))
    assert len(rows(priced, ledger_entry)) == 2


def test_lineage_is_recorded_once(priced: Database, ledger: Ledger) -> None:
    with priced.write() as connection:
        ledger.record_lineage(connection, "flight_delay", "3", ["a", "b", "a"])
        ledger.record_lineage(connection, "flight_delay", "3", ["b", "c"])
        ledger.record_lineage(connection, "flight_delay", "4", [])
    assert [row["attempt_id"] for row in rows(priced, version_lineage)] == ["a", "b", "c"]


def change_price(database: Database, clock: FakeClock, valid_from: str, unit_price: str) -> None:
    entry = {
        "sku": "cpu.standard",
        "unit": "core-seconds",
        "unit_price": unit_price,
        "currency": "USD",
        "valid_from": valid_from,
        "source": "test",
    }
    import_book(database, parse_book("ours.yaml", [entry]), clock)
