"""The rollups of runs: every ended run is counted with its money, once, whatever happens to it afterwards."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import ledger_entry, price, run, run_cost, run_rollup
from podium.execution import attempt_rollup
from podium.execution.entities import Actor, AttemptEndState, Run
from podium.finops.ledger import Ledger
from podium.finops.reconciliation import reconcile
from podium.wiring.project import LedgerAdapter
from tests.earlier_schema import take_back
from tests.execution_world import CHAIN, DAY, HandWorker, days, node, plan_of

ONE = plan_of(node("it"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> HandWorker:
    made = HandWorker(database, tmp_path)
    made.worker("w")
    return made


def rollups(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        query = sa.select(run_rollup).order_by(*run_rollup.primary_key)
        return [row._asdict() for row in connection.execute(query)]


def by_outcome(database: Database) -> dict[str, dict[str, Any]]:
    return {row["outcome"]: row for row in rollups(database)}


def charged(database: Database) -> Decimal:
    """What the ledger charged ended runs, reversals left out, added up by hand."""
    with database.read() as connection:
        amounts = connection.scalars(
            sa.select(ledger_entry.c.amount)
            .join(run, run.c.run_id == ledger_entry.c.run_id)
            .where(run.c.ended_at.is_not(None), ledger_entry.c.kind != "reversal", ledger_entry.c.amount.is_not(None))
        ).all()
    return sum((amount for amount in amounts if amount is not None), Decimal(0))


def rolled_up(database: Database) -> Decimal:
    return sum((row["amount"] or Decimal(0) for row in rollups(database)), Decimal(0))


def wrong(database: Database) -> set[str]:
    with database.read() as connection:
        return {check.name for check in reconcile(connection).checks if not check.ok}


def step(world: HandWorker, started: Run, state: AttemptEndState = "succeeded", seconds: float = 2.0) -> None:
    """Let one step of a run take some time and end like this."""
    (claim,) = world.claim(started)
    world.clock.advance(seconds)
    world.end(claim, state)


def forget_prices(database: Database) -> list[dict[str, Any]]:
    """Take every price out of the database, and return them."""
    with database.write() as connection:
        known = [row._asdict() for row in connection.execute(sa.select(price))]
        connection.execute(price.delete())
    return known


def test_a_run_that_ended_is_in_one_rollup_with_its_money_and_time(world: HandWorker) -> None:
    started = world.start(CHAIN)
    for _ in range(3):
        step(world, started)
    (row,) = rollups(world.database)
    assert row["amount"] == charged(world.database) > 0
    assert (row["pipeline"], row["team"], row["model"], row["environment"]) == ("flow", "research", "model", "dev")
    assert (row["outcome"], row["currency"], row["cost_bucket"], row["ends"]) == ("none", "USD", "0.0001", 1)
    assert (row["wall_seconds"], row["last_ended_at"]) == (6.0, world.clock.now())
    assert wrong(world.database) == set()


def test_an_open_run_is_in_none(world: HandWorker) -> None:
    step(world, world.start(CHAIN))
    assert rollups(world.database) == []
    assert wrong(world.database) == set()


def test_runs_of_the_same_labels_add_up_exactly(world: HandWorker) -> None:
    for day in days(7):
        step(world, world.start(ONE, day), seconds=0.1)
    (row,) = rollups(world.database)
    assert (row["ends"], row["amount"]) == (7, charged(world.database))
    assert row["wall_seconds"] == pytest.approx(0.7)
    assert wrong(world.database) == set()


def test_a_run_that_is_resumed_counts_what_it_cost_and_took_since(world: HandWorker) -> None:
    started = world.start(CHAIN)
    step(world, started)
    step(world, started, "failed", seconds=3.0)
    before = by_outcome(world.database)["failed"]
    assert (before["amount"], before["wall_seconds"]) == (charged(world.database), 5.0)

    world.clock.advance(86_400)  # nobody waits for it meanwhile
    world.service.resume(started.run_id, CHAIN, reason="repaired")
    world.clock.advance(1.0)
    step(world, started)
    assert by_outcome(world.database) == {"failed": before}
    assert wrong(world.database) == set()
    step(world, started)
    found = by_outcome(world.database)
    assert found["failed"] == before
    assert (found["none"]["ends"], found["none"]["wall_seconds"]) == (1, 5.0)
    assert found["none"]["amount"] == before["amount"]  # two attempts each time
    assert rolled_up(world.database) == charged(world.database)
    assert wrong(world.database) == set()


def test_a_run_of_which_a_part_is_done_again_counts_what_it_cost_and_took_since(world: HandWorker) -> None:
    started = world.start(CHAIN)
    for _ in range(3):
        step(world, started)
    before, attempts_before = by_outcome(world.database)["none"], counted_attempts(world.database)
    world.clock.advance(86_400)
    world.service.retry(started.run_id, CHAIN, from_step="c", reason="with another view")
    world.clock.advance(1.0)
    step(world, started)
    found = by_outcome(world.database)["none"]
    assert (before["ends"], found["ends"]) == (1, 2)
    assert found["wall_seconds"] == before["wall_seconds"] + 3.0
    assert (attempts_before, counted_attempts(world.database)) == (3, 4)
    assert rolled_up(world.database) == charged(world.database)
    assert wrong(world.database) == set()


def counted_attempts(database: Database) -> int:
    with database.read() as connection:
        return sum(each.attempts for each in attempt_rollup.ended(connection).values())


def test_a_cancelled_run_that_nothing_of_was_executed_cost_and_took_nothing(world: HandWorker) -> None:
    started = world.start(CHAIN)
    world.clock.advance(60)
    world.service.cancel(started.run_id, reason="not needed")
    (row,) = rollups(world.database)
    assert (row["outcome"], row["amount"], row["currency"], row["wall_seconds"]) == ("cancelled", 0, "USD", 0.0)
    assert wrong(world.database) == set()


def test_a_run_with_an_entry_without_a_price_is_unpriced_not_free(world: HandWorker) -> None:
    known = forget_prices(world.database)
    started = world.start(CHAIN)
    step(world, started)
    with world.database.write() as connection:
        connection.execute(price.insert(), known)
    step(world, started, "failed")
    (row,) = rollups(world.database)
    assert (row["amount"], row["currency"], row["cost_bucket"], row["ends"]) == (None, "XXX", "unpriced", 1)
    assert wrong(world.database) == {"entries with a price"}


def test_what_became_known_later_is_counted_when_the_run_ends_again(world: HandWorker) -> None:
    known = forget_prices(world.database)
    started = world.start(CHAIN)
    step(world, started)
    step(world, started, "failed")
    with world.database.write() as connection:
        connection.execute(price.insert(), known)
        Ledger(world.clock).price_unpriced(connection)
    assert wrong(world.database) == set()
    assert rolled_up(world.database) == 0
    world.service.resume(started.run_id, CHAIN, reason="repaired")
    step(world, started)
    step(world, started)
    assert by_outcome(world.database)["none"]["amount"] == charged(world.database)
    assert by_outcome(world.database)["failed"]["amount"] is None
    assert wrong(world.database) == set()


def test_a_reversal_takes_nothing_out_of_a_rollup(world: HandWorker) -> None:
    started = world.start(CHAIN)
    step(world, started)
    step(world, started, "failed")
    before = rollups(world.database)
    with world.database.write() as connection:
        entry_id = connection.scalars(sa.select(ledger_entry.c.entry_id).order_by(ledger_entry.c.entry_id)).first()
        assert entry_id is not None
        Ledger(world.clock).reverse(connection, entry_id, "a test run")
    assert rollups(world.database) == before
    world.service.resume(started.run_id, CHAIN, reason="repaired")
    step(world, started)
    step(world, started)
    assert rolled_up(world.database) == charged(world.database)
    assert wrong(world.database) == set()


def test_a_clock_that_is_set_back_makes_no_counter_fall(world: HandWorker) -> None:
    started = world.start(ONE)
    step(world, started, seconds=-60.0)
    assert rollups(world.database)[0]["wall_seconds"] == 0.0


def test_ending_a_run_and_counting_it_are_one_transaction(world: HandWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectionAbortedError

    started = world.start(ONE)
    monkeypatch.setattr(LedgerAdapter, "close", fail)
    with pytest.raises(ConnectionAbortedError):
        step(world, started)
    assert world.run(started).state == "running"
    assert rollups(world.database) == []


def test_reconciliation_finds_a_run_that_was_not_counted(world: HandWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    step(world, world.start(ONE))
    with monkeypatch.context() as patch:
        patch.setattr(LedgerAdapter, "close", lambda *_: None)
        step(world, world.start(ONE, days(2)[1]))
    assert wrong(world.database) == {"ended runs in the rollups of runs"}


def test_reconciliation_finds_a_rollup_that_holds_other_money_than_its_runs(world: HandWorker) -> None:
    step(world, world.start(ONE))
    with world.database.write() as connection:
        connection.execute(run_rollup.update().values(amount=Decimal(1)))
    assert wrong(world.database) == {"counted cost = run rollup amount"}


def test_reconciliation_finds_a_run_whose_ledger_holds_other_money_than_was_counted(world: HandWorker) -> None:
    step(world, world.start(ONE))
    with world.database.write() as connection:
        connection.execute(run_cost.update().values(amount=Decimal(1)))
        connection.execute(run_rollup.update().values(amount=Decimal(1)))
    assert wrong(world.database) == {"ledger of ended runs = counted cost"}


def test_runs_that_end_at_once_in_many_threads_are_all_counted(world: HandWorker) -> None:
    workers, each = 4, 6
    every = days(workers * each)
    actor = Actor("tester")
    claims = []
    for day in every:
        started = world.service.start(ONE, day, parameters={}, actor=actor)
        claims += world.claim(started)
    ready = Barrier(workers)

    def end(worker: int) -> None:
        ready.wait()
        for number, claim in enumerate(claims[worker::workers]):
            world.end(claim, "failed" if number % 2 else "succeeded")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(end, range(workers)))
    found = by_outcome(world.database)
    assert {outcome: row["ends"] for outcome, row in found.items()} == {"none": 12, "failed": 12}
    assert rolled_up(world.database) == charged(world.database)
    assert wrong(world.database) == set()


def test_the_last_end_is_the_latest_of_all(world: HandWorker) -> None:
    first, second = (world.start(ONE, day) for day in (DAY, days(2)[1]))
    ((late,), (early,)) = world.claim(first), world.claim(second)
    world.clock.advance(10)
    latest = world.clock.now()
    world.end(late)
    world.clock.advance(-5)
    world.end(early)
    (row,) = rollups(world.database)
    assert row["last_ended_at"] == latest == world.clock.now() + timedelta(seconds=5)


def test_runs_that_ended_before_there_were_rollups_are_counted_by_the_upgrade(world: HandWorker) -> None:
    """Every way in which a run can have ended, taken back to revision 0001."""
    every = iter(days(6))
    known = forget_prices(world.database)
    step(world, world.start(ONE, next(every)))
    with world.database.write() as connection:
        connection.execute(price.insert(), known)
    for seconds in (2.0, 4_000.0):  # two buckets
        step(world, world.start(ONE, next(every)), seconds=seconds)
    reversed_in = world.start(CHAIN, next(every))
    step(world, reversed_in)
    step(world, reversed_in, "failed")
    with world.database.write() as connection:
        entry_id = connection.scalar(
            sa.select(ledger_entry.c.entry_id).where(ledger_entry.c.run_id == reversed_in.run_id).limit(1)
        )
        Ledger(world.clock).reverse(connection, str(entry_id), "a test run")
    world.service.cancel(world.start(CHAIN, next(every)).run_id, reason="not needed")
    step(world, open_run := world.start(CHAIN, next(every)))
    expected = rollups(world.database)
    assert {row["outcome"] for row in expected} == {"none", "failed", "cancelled"}
    assert {row["currency"] for row in expected} == {"USD", "XXX"}
    take_back(world.database, "0001")

    assert migrate.upgrade(world.database) == "0001"

    assert rollups(world.database) == expected
    assert wrong(world.database) == {"entries with a price"}
    step(world, open_run)
    step(world, open_run)
    assert rolled_up(world.database) == charged(world.database)


def test_a_run_that_was_resumed_before_the_upgrade_is_counted_once_with_all_its_money(world: HandWorker) -> None:
    again, open_again = world.start(CHAIN), world.start(CHAIN, days(2)[1])
    for resumed in (again, open_again):
        step(world, resumed)
        step(world, resumed, "failed")
    world.clock.advance(86_400)
    for resumed in (again, open_again):
        world.service.resume(resumed.run_id, CHAIN, reason="repaired")
    step(world, again)
    step(world, again)
    take_back(world.database, "0001")

    migrate.upgrade(world.database)

    (row,) = rollups(world.database)
    assert (row["outcome"], row["ends"], row["wall_seconds"]) == ("none", 1, 4.0)
    assert row["amount"] == charged(world.database)
    assert wrong(world.database) == set()
    step(world, open_again)
    step(world, open_again)
    assert rolled_up(world.database) == charged(world.database)
    assert wrong(world.database) == set()


def test_a_run_that_was_charged_in_two_currencies_is_unpriced_and_no_discrepancy(world: HandWorker) -> None:
    started = world.start(CHAIN)
    step(world, started)
    with world.database.write() as connection:
        connection.execute(price.update().values(currency="EUR"))
    step(world, started, "failed")
    (row,) = rollups(world.database)
    assert (row["amount"], row["currency"], row["cost_bucket"]) == (None, "XXX", "unpriced")
    assert wrong(world.database) == set()
