"""What the faces ask of execution: start, find, resume and cancel a run."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.dag.plan import Resources
from podium.db.engine import Database
from podium.db.schema import run, run_rollup
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.execution import claims, queries, stops
from podium.execution.entities import AttemptEndState
from tests.execution_world import (
    CHAIN,
    DAY,
    HandWorker,
    check_books,
    everything,
    node,
    plan_of,
)


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


SPLIT = plan_of(node("a"), node("b"), node("c", "a"), node("d", "b", "c"))


def closed(hand: HandWorker) -> int:
    """How often the ledger was told that a run ended."""
    with hand.database.read() as connection:
        return connection.scalar(sa.select(sa.func.sum(run_rollup.c.ends))) or 0


def wait_for_a_blocked_writer(database: Database) -> None:
    """Wait until somebody waits for the caller's open transaction; SQLite lets no writer begin, and tells nobody."""
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 10.0
    while not database.is_sqlite:
        with database.read() as connection:
            if connection.scalar(waits):
                return
        assert time.monotonic() < deadline, "nobody came to wait"


class TestAsking:
    def test_the_same_interval_and_parameters_are_the_same_run_ended_or_not(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        assert hand.start(plan_of(node("a"))).run_id == started.run_id
        hand.end(hand.claim(started)[0])
        found = hand.start(plan_of(node("a")))
        assert (found.run_id, found.state) == (started.run_id, "succeeded")

    def test_again_is_another_run_when_the_first_has_ended(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        with pytest.raises(Conflict, match=f"The run {started.run_id} of flow is open for 2026-11-02"):
            hand.start(plan_of(node("a")), again=True)
        hand.end(hand.claim(started)[0])
        assert hand.start(plan_of(node("a")), again=True).run_id != started.run_id

    def test_other_parameters_are_another_run_and_wait_their_turn(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")), parameters={"depth": 1})
        with pytest.raises(Conflict, match="is open"):
            hand.start(plan_of(node("a")), parameters={"depth": 2})
        hand.end(hand.claim(started)[0])
        assert hand.start(plan_of(node("a")), parameters={"depth": 2}).run_id != started.run_id

    def test_the_database_refuses_a_second_open_run_of_an_interval(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        with hand.database.read() as connection:
            row = connection.execute(sa.select(run).where(run.c.run_id == started.run_id)).one()
        second = run.insert().values({**row._asdict(), "run_id": "second", "idempotency_key": "second"})
        with pytest.raises(sa.exc.IntegrityError), hand.database.write() as connection:
            connection.execute(second)

    def test_new_code_with_the_same_graph_goes_on_and_is_recorded(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        after = plan_of(*CHAIN.steps, code="c1")
        assert hand.start(after).plan_digest == after.digest
        assert "run.code_changed" in hand.events(started)

    def test_an_attempt_is_billed_what_it_reserved_whatever_the_code_of_today_reserves(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"))
        more = replace(plan, steps=tuple(replace(each, resources=Resources(4.0, 2**33, 0)) for each in plan.steps))
        started = hand.start(plan)
        (claim,) = hand.claim(started)
        hand.start(more)
        hand.end(claim)
        hand.end(hand.claim(started)[0])
        check_books(hand.database)

    def test_another_graph_is_refused_with_both_ways_out(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        before = everything(hand.database)
        with pytest.raises(Refused, match=rf"cancel {started.run_id}.*--again"):
            hand.start(plan_of(node("a"), node("b", "a")))
        assert everything(hand.database) == before

    def test_a_run_is_found_by_the_beginning_or_the_end_of_its_id(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        with hand.database.read() as connection:
            for text in (started.run_id, started.run_id[:6], started.run_id[-6:]):
                assert queries.get_run(connection, text).run_id == started.run_id
            for text in ("", "%", "nosuchrun"):
                with pytest.raises(NotFound, match="podium runs list"):
                    queries.get_run(connection, text)


class TestResume:
    def test_a_failed_run_goes_on_where_it_stopped(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"), node("c", "b"), node("x", "a"))
        started = hand.start(plan)
        hand.end(hand.claim(started)[0])
        for claim in hand.claim(started):
            hand.end(claim, "failed" if claim.step == "b" else "succeeded")
        assert hand.states(started) == {"a": "succeeded", "b": "failed", "c": "skipped", "x": "succeeded"}
        resumed = hand.service.resume(started.run_id, plan, reason="repaired")
        assert (resumed.state, resumed.reason) == ("running", None)
        assert hand.states(started) == {"a": "succeeded", "b": "ready", "c": "waiting", "x": "succeeded"}
        (claim,) = hand.claim(started)
        assert (claim.step, claim.number) == ("b", 2)
        hand.end(claim)
        hand.end(hand.claim(started)[0])
        assert hand.run(started).state == "succeeded"
        check_books(hand.database)

    def test_a_resumed_step_has_all_its_retries_again(self, hand: HandWorker) -> None:
        plan = plan_of(node("a", retries=1))
        started = hand.start(plan)
        for _ in range(2):
            hand.end(hand.claim(started)[0], "failed")
            hand.clock.advance(1)
        assert hand.run(started).state == "failed"
        hand.service.resume(started.run_id, plan, reason="again")
        hand.end(hand.claim(started)[0], "failed")
        assert hand.states(started) == {"a": "waiting"}

    def test_a_run_that_succeeded_is_not_resumed(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"))
        started = hand.start(plan)
        hand.end(hand.claim(started)[0])
        with pytest.raises(UsageError, match=f"runs retry {started.run_id} --from STEP.*runs rerun {started.run_id}"):
            hand.service.resume(started.run_id, plan, reason="why not")

    def test_an_open_run_is_returned_as_it_is(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        assert hand.service.resume(started.run_id, CHAIN, reason="why not") == hand.run(started)

    def test_a_run_does_not_go_on_beside_another_of_its_interval(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.end(hand.claim(started)[0], "failed")
        hand.start(CHAIN, again=True)
        with pytest.raises(Conflict, match="another run of its interval is open"):
            hand.service.resume(started.run_id, CHAIN, reason="again")
        assert hand.run(started).state == "failed"


class TestCancel:
    def test_a_cancelled_run_ends_with_its_open_steps_and_can_be_resumed(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.end(hand.claim(started)[0])
        cancelled = hand.service.cancel(started.run_id, reason="enough")
        assert (cancelled.state, cancelled.reason) == ("cancelled", "enough")
        assert hand.states(started) == {"a": "succeeded", "b": "cancelled", "c": "cancelled"}
        assert hand.claim(started) == []
        hand.service.resume(started.run_id, CHAIN, reason="after all")
        assert [claim.step for claim in hand.claim(started)] == ["b"]

    def test_a_run_that_never_began_has_a_beginning_once_it_is_resumed(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.service.cancel(started.run_id, reason="enough")
        hand.service.resume(started.run_id, CHAIN, reason="after all")
        with hand.database.read() as connection:
            row = queries.run_rows(connection, [started.run_id])[started.run_id]
        assert row.started_at == hand.clock.now()
        assert row.cancel_requested_at is None

    def test_a_run_whose_steps_run_ends_with_the_last_of_their_attempts(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(*SPLIT.steps, node("e")))
        first, second = hand.claim(started, limit=2)
        assert hand.states(started)["e"] == "ready"
        asked = hand.service.cancel(started.run_id, reason="enough")
        assert (asked.state, asked.reason) == ("running", "enough")
        assert hand.claim(started) == []
        with hand.database.read() as connection:
            assert claims.open_runs(connection, hand.clock.now(), 10) == []
            assert stops.stops_of(connection, [started.run_id]) == {started.run_id: stops.Stop("enough", False)}
        hand.end(first, "cancelled")
        assert hand.run(started).state == "running"
        assert closed(hand) == 0
        hand.end(second, "cancelled")
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("cancelled", "enough")
        assert set(hand.states(started).values()) == {"cancelled"}
        assert closed(hand) == 1
        check_books(hand.database)

    def test_what_succeeds_meanwhile_is_kept_and_nothing_follows_until_the_run_is_resumed(
        self, hand: HandWorker
    ) -> None:
        started = hand.start(SPLIT)
        first, second = hand.claim(started, limit=2)
        hand.service.cancel(started.run_id, reason="enough")
        hand.end(first)
        assert hand.states(started) == {"a": "succeeded", "b": "running", "c": "cancelled", "d": "cancelled"}
        hand.end(second)
        assert hand.run(started).state == "cancelled"
        states = {"a": "succeeded", "b": "succeeded", "c": "cancelled", "d": "cancelled"}
        assert hand.states(started) == states
        hand.service.resume(started.run_id, SPLIT, reason="after all")
        with hand.database.read() as connection:
            row = queries.run_rows(connection, [started.run_id])[started.run_id]
        assert (row.cancel_requested_at, row.reason, row.open_steps) == (None, None, 2)
        while claims := hand.claim(started):
            assert {claim.step for claim in claims} <= {"c", "d"}
            for claim in claims:
                hand.end(claim)
        assert hand.run(started).state == "succeeded"

    @pytest.mark.parametrize("state", ["failed", "timed_out", "snoozed", "lost"])
    def test_no_retry_and_no_wait_keeps_a_run_from_its_cancelled_end(
        self, hand: HandWorker, state: AttemptEndState
    ) -> None:
        started = hand.start(plan_of(node("a", retries=3), node("b", "a")))
        (claim,) = hand.claim(started)
        hand.service.cancel(started.run_id, reason="enough")
        hand.end(claim, state)
        assert hand.run(started).state == "cancelled"
        assert hand.states(started) == {"a": "cancelled", "b": "cancelled"}
        check_books(hand.database)

    def test_a_run_with_nothing_left_to_do_succeeds_though_it_was_to_be_cancelled(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        (claim,) = hand.claim(started)
        hand.service.cancel(started.run_id, reason="enough")
        hand.end(claim)
        ended = hand.run(started)
        assert (ended.state, ended.outcome, ended.reason) == ("succeeded", "none", None)
        assert closed(hand) == 1

    def test_to_cancel_twice_changes_nothing(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (claim,) = hand.claim(started)
        for state in ("running", "cancelled"):
            assert hand.service.cancel(started.run_id, reason="enough").state == state
            before = everything(hand.database)
            assert hand.service.cancel(started.run_id, reason="once more").reason == "enough"
            assert everything(hand.database) == before
            hand.end(claim, "cancelled")
        assert hand.events(started)[-1] == "run.cancelled"
        assert hand.events(started).count("run.cancel_requested") == 1

    def test_a_worker_that_dies_before_it_notices_leaves_the_end_to_the_rescuer(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.claim(started)
        hand.service.cancel(started.run_id, reason="enough")
        hand.clock.advance(31)
        hand.rescue()
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("cancelled", "enough")
        assert "attempt.lost a" in hand.events(started)
        assert closed(hand) == 1
        check_books(hand.database)

    def test_a_dead_worker_s_step_does_not_keep_a_run_from_being_cancelled(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.claim(started)
        hand.clock.advance(31)
        assert hand.service.cancel(started.run_id, reason="enough").state == "cancelled"
        check_books(hand.database)

    def test_a_run_that_ends_while_it_is_cancelled_is_not_cancelled(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        (claim,) = hand.claim(started)
        with ThreadPoolExecutor(1) as pool:
            with hand.database.write() as connection:
                row = queries.running_attempt(connection, claim.attempt_id)
                assert row is not None
                hand.end_row(connection, row)
                cancelled = pool.submit(hand.service.cancel, started.run_id, reason="enough")
                wait_for_a_blocked_writer(hand.database)
            with pytest.raises(UsageError, match="succeeded already; there is nothing to cancel"):
                cancelled.result()
        assert "run.cancelled" not in hand.events(started)

    def test_a_run_that_ended_is_not_cancelled(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        hand.end(hand.claim(started)[0])
        with pytest.raises(UsageError, match="nothing to cancel"):
            hand.service.cancel(started.run_id, reason="enough")


def test_the_interval_of_a_run_is_the_one_it_was_started_for(hand: HandWorker) -> None:
    assert hand.run(hand.start(CHAIN)).interval == DAY
