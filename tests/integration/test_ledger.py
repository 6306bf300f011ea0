"""The books as a whole: attempts that ended, the ledger, its rollups, and the reports read from them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import attempt, cost_rollup, ledger_entry, plan, run, step_run, worker
from podium.db.schema.columns import Instant
from podium.errors import NotFound, UsageError
from podium.finops.book import load_book, parse_book
from podium.finops.costs import cost_of_attempts, cost_of_runs, run_cost, version_cost
from podium.finops.ledger import Ledger
from podium.finops.prices import import_book
from podium.finops.reconciliation import Reconciliation, reconcile
from podium.finops.reports import GROUP_KEYS, Report, report
from podium.finops.sums import Cost
from podium.finops.usage import UsageRecord

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
CORE_SECOND = Decimal("0.000011244444")
GIB_SECOND = Decimal("0.000001234722")
End = Callable[..., UsageRecord]


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(clock)


@pytest.fixture
def priced(database: Database, clock: FakeClock) -> Database:
    import_book(database, load_book(None), clock)
    return database


@pytest.fixture
def end_attempt(database: Database, ledger: Ledger) -> End:
    """Ends an attempt as the executor does: its row and its ledger entries in one transaction."""
    with database.write() as connection:
        insert_surroundings(connection)

    def end(attempt_id: str, *, post: bool = True, map_index: int = -1, **changes: Any) -> UsageRecord:
        usage = used(attempt_id, **changes)
        with database.write() as connection:
            insert_attempt(connection, usage, map_index)
            if post:
                ledger.post(connection, usage)
        return usage

    return end


def used(attempt_id: str, **changes: Any) -> UsageRecord:
    """A usage record: 100 s of one core and one GiB, unless told otherwise."""
    facts: dict[str, Any] = {
        "run_id": "run-1",
        "step": "train",
        "number": 1,
        "team": "network-ops",
        "model": "flight_delay",
        "environment": "prod",
        "outcome": "succeeded",
        "started_at": NOON,
        "wall_seconds": 100.0,
        "cpu": 1.0,
        "memory_bytes": 2**30,
        "gpu": 0,
        "cpu_seconds": 50.0,
        "peak_memory_bytes": 2**29,
        "meter_source": "slot",
        "meter_quality": "measured",
        **changes,
    }
    ended_at = facts["started_at"] + timedelta(seconds=facts["wall_seconds"])
    return UsageRecord(attempt_id=attempt_id, ended_at=ended_at, **facts)


def insert(connection: sa.Connection, table: sa.Table, **facts: Any) -> None:
    """Insert a row; what it must hold and these tests do not care about is made up."""
    fillers = {Instant: NOON, sa.String: "x", sa.Integer: 0, sa.Boolean: False, sa.JSON: {}}
    for column in table.c:
        if not column.nullable and column.name not in facts:
            facts[column.name] = next(filler for kind, filler in fillers.items() if isinstance(column.type, kind))
    connection.execute(table.insert(), facts)


def insert_surroundings(connection: sa.Connection) -> None:
    insert(connection, plan, digest="p")
    insert(connection, worker, worker_id="w")


def insert_attempt(connection: sa.Connection, usage: UsageRecord, map_index: int = -1) -> None:
    if connection.scalar(sa.select(run.c.run_id).where(run.c.run_id == usage.run_id)) is None:
        insert(
            connection,
            run,
            run_id=usage.run_id,
            pipeline=usage.run_id,  # a pipeline has one open run for an interval
            plan_digest="p",
            trigger="person",
            idempotency_key=usage.run_id,
            interval_start=NOON - timedelta(days=30),
            interval_end=NOON,
            state="running",  # goes on: what is counted at a run's end is not these tests' matter
        )
    step_run_id = f"{usage.run_id}/{usage.step}/{map_index}"
    if connection.scalar(sa.select(step_run.c.name).where(step_run.c.step_run_id == step_run_id)) is None:
        facts = {"step_run_id": step_run_id, "run_id": usage.run_id, "name": usage.step, "map_index": map_index}
        position = 1 if usage.step == "evaluate" else 0  # behind the others
        insert(connection, step_run, state="failed", ended_at=NOON, position=position, **facts)
    insert(
        connection,
        attempt,
        attempt_id=usage.attempt_id,
        step_run_id=step_run_id,
        number=usage.number,
        state=usage.outcome,
        worker_id="w",
        started_at=usage.started_at,
        ended_at=usage.ended_at,
        reserved_cpu=usage.cpu,
        reserved_memory_bytes=usage.memory_bytes,
        reserved_gpu=usage.gpu,
        wall_seconds=usage.wall_seconds,
        cpu_seconds=usage.cpu_seconds,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def reconciled(database: Database) -> Reconciliation:
    with database.read() as connection:
        return reconcile(connection)


def wrong(database: Database) -> set[str]:
    return {check.name for check in reconciled(database).checks if not check.ok}


def reported(database: Database, *by: str, start: date | None = None, end: date | None = None) -> Report:
    with database.read() as connection:
        return report(connection, by, start, end)


def amounts(found: Report) -> dict[tuple[str, ...], Decimal | None]:
    return {tuple(row.keys.values()): row.cost.amount for row in found.rows}


# Reports


def test_costs_are_grouped_by_what_was_asked(priced: Database, end_attempt: End) -> None:
    end_attempt("a", team="network-ops")
    end_attempt("b", team="pricing", model="fares", run_id="run-2", wall_seconds=300.0)
    end_attempt("c", team="pricing", model="fares", run_id="run-2", number=2, outcome="failed")
    both = CORE_SECOND + GIB_SECOND
    assert amounts(reported(priced, "team")) == {("pricing",): 400 * both, ("network-ops",): 100 * both}
    assert amounts(reported(priced, "model", "resource"))["fares", "cpu"] == 400 * CORE_SECOND
    assert amounts(reported(priced, "outcome"))["failed",] == 100 * both
    assert amounts(reported(priced, "run"))["run-2",] == 400 * both
    assert reported(priced).total.amount == 500 * both


@pytest.mark.parametrize("key", GROUP_KEYS)
def test_every_grouping_has_the_same_total(priced: Database, end_attempt: End, key: str) -> None:
    end_attempt("a")
    end_attempt("b", started_at=NOON + timedelta(days=1), step="evaluate", gpu=1)
    found = reported(priced, key)
    assert sum(row.cost.amount or 0 for row in found.rows) == found.total.amount == reported(priced).total.amount


@pytest.mark.parametrize("by", [("day",), ("day", "run")])
def test_a_report_is_of_the_days_from_start_up_to_but_without_end(
    priced: Database, end_attempt: End, by: tuple[str, ...]
) -> None:
    for day in range(3):
        end_attempt(f"a{day}", number=day + 1, started_at=NOON + timedelta(days=day))
    found = reported(priced, *by, start=date(2026, 11, 2), end=date(2026, 11, 3))
    assert {row.keys["day"] for row in found.rows} == {"2026-11-02"}
    assert found.document()["from"] == "2026-11-02T00:00:00Z"


def test_the_report_document_has_the_interface_names_and_plain_decimals(priced: Database, end_attempt: End) -> None:
    end_attempt("a", wall_seconds=0.001)
    document = reported(priced, "team", "resource").document()
    assert document == {
        "currency": "USD",
        "from": None,
        "to": None,
        "rows": [
            {"team": "network-ops", "resource": "cpu", "amount": "0.000000011244444", "unpriced": 0},
            {"team": "network-ops", "resource": "memory", "amount": "0.000000001234722", "unpriced": 0},
        ],
        "total": "0.000000012479166",
        "unpriced": 0,
        "saved": {"amount": "0", "unpriced": 0, "step_runs": 0, "wall_seconds": 0.0},
    }


def test_a_cost_whose_price_is_unknown_is_reported_unknown(database: Database, end_attempt: End) -> None:
    end_attempt("a")
    found = reported(database, "team")
    assert (found.total.amount, found.total.unpriced) == (None, 2)
    assert found.document()["rows"] == [{"team": "network-ops", "amount": None, "unpriced": 2}]


def test_an_empty_ledger_has_a_total_of_zero_in_the_currency_of_its_prices(priced: Database) -> None:
    document = reported(priced, "team").document()
    assert (document["currency"], document["rows"], document["total"]) == ("USD", [], "0")


@pytest.mark.parametrize(
    ("by", "said"), [(["colour"], "grouped by colour; choose among team"), (["team"] * 2, "twice")]
)
def test_a_group_key_that_does_not_exist_is_named(priced: Database, by: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        reported(priced, *by)


def test_a_period_that_ends_before_it_starts_is_refused(priced: Database) -> None:
    with pytest.raises(UsageError, match="from 2026-11-02 to 2026-11-02 is empty"):
        reported(priced, start=date(2026, 11, 2), end=date(2026, 11, 2))


def test_a_run_is_broken_down_by_step_attempt_and_resource(priced: Database, end_attempt: End) -> None:
    end_attempt("a", outcome="lost", cpu_seconds=None)
    end_attempt("b", number=2, started_at=NOON + timedelta(minutes=5))
    end_attempt("c", step="evaluate", started_at=NOON + timedelta(minutes=9))
    both = 100 * (CORE_SECOND + GIB_SECOND)
    with priced.read() as connection:
        found = run_cost(connection, "run-1")
        assert cost_of_attempts(connection, "run-1") == dict.fromkeys("abc", Cost(both, unpriced=0))
        assert cost_of_runs(connection, ["run-1", "run-9"]) == {
            "run-1": Cost(3 * both, 0),
            "run-9": Cost(Decimal(0), 0),
        }
    assert found.total.amount == 3 * both
    assert {name: cost.amount for name, cost in found.steps.items()} == {"train": 2 * both, "evaluate": both}
    assert [(one.attempt_id, one.number, one.outcome) for one in found.attempts[:2]] == [
        ("a", 1, "lost"),
        ("b", 2, "succeeded"),
    ]
    assert [one.cpu_efficiency for one in found.attempts] == [None, 0.5, 0.5]
    assert found.attempts[0].resources["cpu"].amount == 100 * CORE_SECOND
    document = found.document()
    assert document["steps"][0]["attempts"][1]["memory_efficiency"] == 0.5
    assert document["total"] == "0.0037437498"


def test_an_attempt_at_an_item_of_a_mapped_step_says_which(priced: Database, end_attempt: End) -> None:
    end_attempt("a", step="depths")
    for index, attempt_id in enumerate("bc"):
        end_attempt(attempt_id, step="fit", map_index=index, started_at=NOON + timedelta(minutes=5))
    with priced.read() as connection:
        steps = run_cost(connection, "run-1").document()["steps"]
    assert {step["name"]: [(one["map_index"], one["number"]) for one in step["attempts"]] for step in steps} == {
        "depths": [(None, 1)],
        "fit": [(0, 1), (1, 1)],
    }
    assert sorted(row["step"] for row in reported(priced, "step").document()["rows"]) == ["depths", "fit"]


def test_the_cost_of_a_run_that_does_not_exist_is_no_zero(priced: Database) -> None:
    with pytest.raises(NotFound, match="no run 'run-9'"), priced.read() as connection:
        run_cost(connection, "run-9")


def test_a_version_costs_what_the_attempts_that_made_it_cost(
    priced: Database, end_attempt: End, ledger: Ledger
) -> None:
    for number, attempt_id in enumerate("abc", 1):
        end_attempt(attempt_id, number=number)
    with priced.write() as connection:
        ledger.record_lineage(connection, "flight_delay", "3", ["a", "b"])
    with priced.read() as connection:
        found = version_cost(connection, "flight_delay", "3")
        with pytest.raises(NotFound, match="version 4 of flight_delay"):
            version_cost(connection, "flight_delay", "4")
    assert found.total.amount == 200 * (CORE_SECOND + GIB_SECOND)
    assert found.document()["attempts"] == 2


# Reconciliation


def test_the_books_of_honest_attempts_reconcile(priced: Database, end_attempt: End, ledger: Ledger) -> None:
    end_attempt("a", wall_seconds=0.1, cpu=0.3)
    end_attempt("b", number=2, outcome="lost", gpu=1)
    end_attempt("c", number=3, wall_seconds=0.0)
    with priced.write() as connection:
        entry_id = connection.scalar(sa.select(ledger_entry.c.entry_id).where(ledger_entry.c.resource == "gpu"))
        ledger.reverse(connection, str(entry_id), "the device was broken")
    assert wrong(priced) == set()
    assert reconciled(priced).ok


def test_the_reconciliation_document_has_the_interface_names(priced: Database, end_attempt: End) -> None:
    end_attempt("a")
    document = reconciled(priced).document()
    assert document["ok"] is True
    assert {tuple(check) for check in document["checks"]} == {("name", "left", "right", "difference")}
    assert {check["difference"] for check in document["checks"]} == {"0"}


def test_an_attempt_that_was_never_billed_is_found(priced: Database, end_attempt: End) -> None:
    end_attempt("a", post=False)
    assert wrong(priced) == {"ended attempts in the ledger", "reservation * wall time = billed quantity"}


def test_a_bill_for_an_attempt_that_never_was_is_found(priced: Database, end_attempt: End) -> None:
    usage = end_attempt("a")
    with priced.write() as connection:
        connection.execute(attempt.delete().where(attempt.c.attempt_id == usage.attempt_id))
    assert wrong(priced) == {"billed attempts that ended", "reservation * wall time = billed quantity"}


def test_a_bill_for_another_time_than_the_attempt_took_is_found(priced: Database, end_attempt: End) -> None:
    end_attempt("a")
    with priced.write() as connection:
        connection.execute(attempt.update().values(wall_seconds=100.000001))
    assert wrong(priced) == {"reservation * wall time = billed quantity"}


def test_rollups_that_are_wrong_but_sum_up_are_found(priced: Database, end_attempt: End) -> None:
    end_attempt("a", team="network-ops")
    end_attempt("b", number=2, team="pricing")
    with priced.write() as connection:
        for team, amount in (("network-ops", "0.5"), ("pricing", "-0.5")):
            where = (cost_rollup.c.team == team, cost_rollup.c.resource == "cpu")
            before = connection.scalar(sa.select(cost_rollup.c.amount).where(*where))
            assert before is not None
            connection.execute(cost_rollup.update().where(*where).values(amount=before + Decimal(amount)))
    assert wrong(priced) == {"ledger amount = rollup amount"}
    (check,) = (check for check in reconciled(priced).checks if not check.ok)
    assert check.left == check.right
    assert check.difference == 1


def test_unpriced_entries_do_not_reconcile_until_they_are_priced(
    database: Database, end_attempt: End, ledger: Ledger, clock: FakeClock
) -> None:
    end_attempt("a")
    assert wrong(database) == {"entries with a price"}
    import_book(database, load_book(None), clock)
    with database.write() as connection:
        ledger.price_unpriced(connection)
    assert wrong(database) == set()
    found = reported(database, "team")
    assert (found.total.amount, found.total.unpriced) == (100 * (CORE_SECOND + GIB_SECOND), 0)


# Many at once


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    attempts=st.lists(
        st.tuples(
            st.floats(0, 10**6),
            st.sampled_from([0.1, 1.0, 2.5]),
            st.integers(1, 2**40),
            st.integers(0, 2),
            st.sampled_from(["network-ops", "pricing"]),
            st.integers(0, 10**7),
        ),
        max_size=6,
    )
)
def test_any_attempts_reconcile_across_price_changes(
    new_database: Callable[[], Database], attempts: list[tuple[float, float, int, int, str, int]]
) -> None:
    database, clock = new_database(), FakeClock()  # one example is one database
    for day in range(1, 28, 5):
        entry = {
            "sku": "cpu.standard",
            "unit": "core-hours",
            "unit_price": f"0.0{day}",
            "currency": "USD",
            "valid_from": f"2026-11-{day:02}",
            "source": "test",
        }
        import_book(database, parse_book("ours.yaml", [entry]), clock)
    import_book(database, load_book(None), clock)
    with database.write() as connection:
        insert_surroundings(connection)
        for number, (wall_seconds, cpu, memory_bytes, gpu, team, offset) in enumerate(attempts, 1):
            usage = used(
                f"a{number}",
                number=number,
                started_at=NOON + timedelta(microseconds=offset),
                wall_seconds=wall_seconds,
                cpu=cpu,
                memory_bytes=memory_bytes,
                gpu=gpu,
                team=team,
            )
            insert_attempt(connection, usage)
            Ledger(clock).post(connection, usage)
    assert wrong(database) == set()


def test_threads_that_post_at_once_lose_and_double_nothing(priced: Database, end_attempt: End, ledger: Ledger) -> None:
    workers, each = 4, 8
    usages = [
        [
            end_attempt(f"{name}-{number}", post=False, step=f"step-{name}", number=number, outcome=outcome)
            for number, outcome in enumerate(["succeeded", "failed"] * (each // 2), 1)
        ]
        for name in range(workers)
    ]
    ready = Barrier(workers)

    def post(mine: list[UsageRecord]) -> None:
        ready.wait()
        for first, second in zip(mine[::2], mine[1::2], strict=True):
            with priced.write() as connection:
                # In opposite orders: without one order of its own for locks the ledger would deadlock.
                ledger.post(connection, *((first, second) if mine is usages[0] else (second, first)))
            with priced.write() as connection:
                assert ledger.post(connection, first, second) == 0

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(post, usages))
    found = reconciled(priced)
    assert found.ok
    assert reported(priced).total.amount == workers * each * 100 * (CORE_SECOND + GIB_SECOND)


def test_threads_that_post_the_same_attempt_at_once_post_it_once(
    priced: Database, end_attempt: End, ledger: Ledger
) -> None:
    usage = end_attempt("a", post=False)
    ready = Barrier(4)

    def post(_: int) -> int:
        ready.wait()
        with priced.write() as connection:
            return ledger.post(connection, usage)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(post, range(4))) == [0, 0, 0, 2]
    assert reconciled(priced).ok
