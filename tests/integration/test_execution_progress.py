"""Runs moved along in the database, by hand: fences, claims, rescue, resume, and one order for everybody."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.db.engine import Database
from podium.db.schema import attempt, event, step_run
from podium.errors import Conflict
from podium.execution import attempt_store, queries
from podium.execution.claims import Claim
from podium.execution.entities import AttemptError
from podium.execution.liveness import WorkerLock, host_name
from podium.execution.transitions import LOST_LIMIT
from tests.execution_world import (
    CHAIN,
    HandWorker,
    check_books,
    days,
    everything,
    node,
    plan_of,
)


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Do something in so many threads at the same time; an error of one is raised here."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class TestMoving:
    def test_a_chain_runs_in_order_and_each_end_makes_the_next_ready(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        for name in "abc":
            (claim,) = hand.claim(started)
            assert claim.step == name
            hand.end(claim)
        assert (hand.run(started).state, hand.run(started).outcome) == ("succeeded", "none")
        assert hand.claim(started) == []
        check_books(hand.database)

    def test_events_tell_the_story_in_order(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a"), node("b", "a")))
        hand.end(hand.claim(started)[0])
        hand.end(hand.claim(started)[0], "failed")
        assert hand.events(started) == [
            "run.created",
            "step.ready a",
            "attempt.started a",
            "run.started",
            "attempt.succeeded a",
            "step.succeeded a",
            "step.ready b",
            "attempt.started b",
            "attempt.failed b",
            "step.failed b",
            "run.failed",
        ]

    def test_a_failure_skips_what_needs_it_and_nothing_else(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"), node("c", "b"), node("x"), node("y", "x"))
        started = hand.start(plan)
        first, x = hand.claim(started)
        hand.end(first, "failed")
        hand.end(x)
        assert hand.run(started).state == "running"
        hand.end(hand.claim(started)[0])
        assert hand.states(started) == {
            "a": "failed",
            "b": "skipped",
            "c": "skipped",
            "x": "succeeded",
            "y": "succeeded",
        }
        assert hand.reasons(started)["b"] == "a failed"
        assert hand.reasons(started)["c"] == "b was skipped"
        assert (hand.run(started).state, hand.run(started).reason) == ("failed", "a: a went wrong")

    @pytest.mark.parametrize(("value", "state"), [("true", "ready"), ("false", "skipped"), ("null", "skipped")])
    def test_a_condition_is_read_from_what_the_step_stored(self, hand: HandWorker, value: str, state: str) -> None:
        started = hand.start(plan_of(node("a", outputs=("passed",)), node("b", when=["a.passed"])))
        hand.end(hand.claim(started)[0], result=value)
        assert hand.states(started)["b"] == state

    def test_a_run_whose_last_step_is_skipped_succeeds(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a"), node("b", when=["a.result"]), node("c", "b")))
        hand.end(hand.claim(started)[0], result="false")
        assert (hand.run(started).state, hand.states(started)["c"]) == ("succeeded", "skipped")

    def test_a_retry_waits_for_its_back_off_and_not_longer(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a", retries=1)))
        hand.end(hand.claim(started)[0], "failed")
        assert hand.claim(started) == []
        hand.clock.advance(1.0)
        (again,) = hand.claim(started)
        assert again.number == 2
        hand.end(again)
        assert hand.run(started).state == "succeeded"
        check_books(hand.database)

    def test_an_error_that_cannot_be_helped_is_not_retried(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a", retries=5)))
        hand.end(hand.claim(started)[0], "failed", error=AttemptError("NoCodec", "no", retryable=False))
        assert hand.run(started).state == "failed"

    def test_an_interrupted_attempt_is_claimable_again_and_counts_as_nothing(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("a")))
        hand.end(hand.claim(started)[0], "cancelled")
        (again,) = hand.claim(started)
        assert (again.number, hand.end(again, "failed")) != (1, None)
        assert hand.run(started).state == "failed"
        check_books(hand.database)


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """For each step, which earlier ones it is ordered behind."""
    size = draw(st.integers(2, 6))
    return [draw(st.lists(st.integers(0, n - 1), unique=True, max_size=3)) if n else [] for n in range(size)]


def test_every_order_of_ends_leads_to_the_same_final_states(hand: HandWorker) -> None:
    numbers = count()

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(graphs(), st.data())
    def check(graph: list[list[int]], data: st.DataObject) -> None:
        plan = plan_of(*(node(f"s{n}", *(f"s{each}" for each in after)) for n, after in enumerate(graph)))
        fails = {f"s{n}" for n in data.draw(st.lists(st.integers(0, len(graph) - 1), max_size=2))}
        started = hand.start(plan, days(next(numbers) + 1)[-1])
        running = hand.claim(started)
        while running:
            claim = running.pop(data.draw(st.integers(0, len(running) - 1)))
            hand.end(claim, "failed" if claim.step in fails else "succeeded")
            running += hand.claim(started)
        expected: dict[str, str] = {}
        for each in plan.steps:
            ready = all(expected[name] == "succeeded" for name in each.dependencies)
            expected[each.name] = ("failed" if each.name in fails else "succeeded") if ready else "skipped"
        assert hand.states(started) == expected
        assert hand.run(started).state == ("failed" if "failed" in expected.values() else "succeeded")

    check()
    check_books(hand.database)


class TestFences:
    def test_a_worker_that_lost_its_attempt_can_write_nothing_for_it(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (claim,) = hand.claim(started)
        with hand.database.read() as connection:
            row = queries.running_attempt(connection, claim.attempt_id)
        assert row is not None
        hand.clock.advance(31)
        assert [lost.step for lost in hand.rescue()] == ["a"]
        before = everything(hand.database)
        with hand.database.write() as connection:
            assert hand.end_row(connection, row) is None
            assert attempt_store.heartbeat(connection, "w", [claim.attempt_id], 30, hand.clock.now()) == set()
            assert not attempt_store.holds(connection, "w", claim.attempt_id)
        assert everything(hand.database) == before
        check_books(hand.database)

    def test_nobody_ends_an_attempt_of_another_worker(self, hand: HandWorker) -> None:
        (claim,) = hand.claim(hand.start(CHAIN))
        with hand.database.write() as connection:
            assert not attempt_store.holds(connection, "another", claim.attempt_id)
            assert attempt_store.heartbeat(connection, "another", [claim.attempt_id], 30, hand.clock.now()) == set()
            assert attempt_store.holds(connection, "w", claim.attempt_id)

    def test_a_heartbeat_renews_the_lease(self, hand: HandWorker) -> None:
        (claim,) = hand.claim(hand.start(CHAIN))
        hand.clock.advance(29)
        with hand.database.write() as connection:
            held = attempt_store.heartbeat(connection, "w", [claim.attempt_id], 30, hand.clock.now())
        assert held == {claim.attempt_id}
        hand.clock.advance(29)
        assert hand.rescue() == []
        hand.clock.advance(2)
        assert len(hand.rescue()) == 1

    def test_a_lost_attempt_is_billed_up_to_its_last_heartbeat_and_tried_again(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (claim,) = hand.claim(started)
        hand.clock.advance(20)
        with hand.database.write() as connection:
            attempt_store.heartbeat(connection, "w", [claim.attempt_id], 30, hand.clock.now())
        hand.clock.advance(1000)
        hand.rescue()
        with hand.database.read() as connection:
            (row,) = queries.attempt_rows(connection, started.run_id)
        assert (row.state, row.wall_seconds, row.cpu_seconds, row.meter_quality) == ("lost", 20.0, None, "estimated")
        assert "process 4242 on elsewhere" in row.error
        (again,) = hand.claim(started)
        assert (again.step, again.number) == ("a", 2)
        check_books(hand.database)

    def test_a_clock_set_back_bills_nothing_negative(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (claim,) = hand.claim(started)
        with hand.database.write() as connection:
            attempt_store.heartbeat(connection, "w", [claim.attempt_id], 30, hand.clock.now() - timedelta(hours=1))
        assert len(hand.rescue()) == 1
        check_books(hand.database)

    def test_a_free_lock_on_this_host_is_rescued_at_once_and_a_held_one_never(
        self, hand: HandWorker, tmp_path: Path
    ) -> None:
        lock = WorkerLock(tmp_path, "here")
        hand.worker("here", host_name())
        started = hand.start(CHAIN)
        hand.claim(started, "here")
        hand.clock.advance(1000)
        assert hand.rescue() == []
        lock.release(left_attempts=True)
        assert hand.rescue(besides="here") == []
        assert [lost.step for lost in hand.rescue()] == ["a"]

    def test_a_step_that_kills_every_worker_fails_in_the_end(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        for _ in range(LOST_LIMIT + 1):
            assert len(hand.claim(started)) == 1
            hand.clock.advance(31)
            hand.rescue()
        assert hand.run(started).state == "failed"
        assert "died" in str(hand.run(started).reason)
        check_books(hand.database)

    def test_two_rescuers_at_once_lose_each_attempt_once(self, hand: HandWorker) -> None:
        started = [hand.start(plan_of(node("a"), node("b")), day) for day in days(3)]
        for each in started:
            hand.claim(each)
        hand.clock.advance(31)
        lost = at_once(3, lambda _: hand.rescue())
        assert len([row for rows in lost for row in rows]) == 6
        check_books(hand.database)

    def test_an_attempt_that_cannot_be_ended_is_told_and_the_others_are_rescued(self, hand: HandWorker) -> None:
        bad, good = (hand.start(CHAIN, day) for day in days(2))
        for each in (bad, good):
            hand.claim(each)
        with hand.database.write() as connection:
            connection.execute(step_run.update().where(step_run.c.run_id == bad.run_id).values(state="ready"))
        hand.clock.advance(31)
        assert [lost.run_id for lost in hand.rescue()] == [good.run_id]
        (told,) = hand.told
        assert (told.kind, told.run_id) == ("rescue.failed", bad.run_id)
        assert "was not running while an attempt of it was" in str(told.reason)
        assert hand.rescue() == []
        assert hand.told == [told]
        hand.clock.advance(61)
        with hand.database.write() as connection:
            connection.execute(
                step_run.update().where(step_run.c.run_id == bad.run_id, step_run.c.name == "a").values(state="running")
            )
            connection.execute(
                step_run.update().where(step_run.c.run_id == bad.run_id, step_run.c.name != "a").values(state="waiting")
            )
        assert [lost.run_id for lost in hand.rescue()] == [bad.run_id]

    @pytest.mark.parametrize("state", ["running", "succeeded"])
    def test_the_database_refuses_two_running_attempts_and_an_end_without_time(
        self, hand: HandWorker, state: str
    ) -> None:
        (claim,) = hand.claim(hand.start(CHAIN))
        with hand.database.read() as connection:
            row = connection.execute(sa.select(attempt).where(attempt.c.attempt_id == claim.attempt_id)).one()
        second = attempt.insert().values({**row._asdict(), "attempt_id": "second", "number": 2, "state": state})
        with pytest.raises(sa.exc.IntegrityError), hand.database.write() as connection:
            connection.execute(second)


class TestAtOnce:
    def test_each_step_is_claimed_once_by_workers_that_claim_at_once(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(*(node(f"s{n}") for n in range(24))))
        for n in range(4):
            hand.worker(f"w{n}")
        claims = at_once(4, lambda n: hand.claim(started, f"w{n}", 3) + hand.claim(started, f"w{n}", 4))
        claimed = [claim.step for each in claims for claim in each]
        assert len(claimed) == len(set(claimed)) == 24
        assert hand.events(started).count("run.started") == 1

    def test_ends_at_once_neither_lose_a_count_nor_block_each_other(self, hand: HandWorker) -> None:
        # Skips travel down through joins that other ends are just counting down: any order of locks but one deadlocks.
        layers = [node(f"a{n}") for n in range(6)]
        layers += [node(f"b{n}", f"a{n}", f"a{(n + 1) % 6}") for n in range(6)]
        layers += [node(f"c{n}", f"b{5 - n}", f"a{(n + 3) % 6}") for n in range(6)]
        plan = plan_of(*layers, node("last", *(f"c{n}" for n in range(6))))
        for round_, day in enumerate(days(4)):
            started = hand.start(plan, day)
            while claims := hand.claim(started):

                def end(n: int, claims: list[Claim] = claims, round_: int = round_) -> None:
                    hand.end(claims[n], "failed" if round_ and claims[n].step == "a0" else "succeeded")

                at_once(len(claims), end)
            assert hand.run(started).state == ("failed" if round_ else "succeeded")
            assert set(hand.states(started).values()) <= {"succeeded", "failed", "skipped"}
        check_books(hand.database)

    def test_the_same_start_by_many_is_one_run(self, hand: HandWorker) -> None:
        runs = at_once(6, lambda _: hand.start(CHAIN).run_id)
        assert len(set(runs)) == 1
        with hand.database.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(step_run)) == 3
            assert connection.scalar(sa.select(sa.func.count()).select_from(event).where(event.c.step == "a")) == 1

    def test_a_cancel_and_a_claim_at_once_leave_no_step_running_in_a_cancelled_run(self, hand: HandWorker) -> None:
        for day in days(8):
            started = hand.start(CHAIN, day)

            def act(n: int, started: Any = started) -> Any:
                return hand.claim(started) if n else hand.service.cancel(started.run_id, reason="enough").state

            state, claims = at_once(2, act)
            assert (state == "running") == bool(claims)
            assert hand.states(started)["a"] == ("running" if claims else "cancelled")
            for claim in claims:
                hand.end(claim, "cancelled")
            assert hand.run(started).state == "cancelled"

    def test_a_cancel_and_the_ends_of_two_attempts_at_once_end_the_run_once(self, hand: HandWorker) -> None:
        for day in days(8):
            started = hand.start(plan_of(node("a"), node("b"), node("c", "a", "b")), day)
            claims = hand.claim(started)

            def act(n: int, started: Any = started, claims: Any = claims) -> Any:
                return hand.end(claims[n]) if n < 2 else hand.service.cancel(started.run_id, reason="enough")

            at_once(3, act)
            assert hand.run(started).state == "cancelled"
            assert hand.events(started).count("run.cancelled") == 1
            assert hand.states(started) == {"a": "succeeded", "b": "succeeded", "c": "cancelled"}
        check_books(hand.database)

    def test_two_resumes_at_once_reopen_a_run_once(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        hand.end(hand.claim(started)[0], "failed")

        def resume(_: int) -> bool:
            try:
                hand.service.resume(started.run_id, CHAIN, reason="again")
            except Conflict:
                return False
            return True

        assert any(at_once(3, resume))
        assert hand.events(started).count("run.resumed") == 1
        hand.end(hand.claim(started)[0])
        assert hand.states(started) == {"a": "succeeded", "b": "ready", "c": "waiting"}
