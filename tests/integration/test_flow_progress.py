"""Joins, clean-up, deadlines and approvals, moved along in the database by hand."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.dag.options import RUN_IF
from podium.dag.plan import Constant, Plan, Reference, Resources, RunIf, StepNode
from podium.db.engine import Database
from podium.db.schema import attempt, output, step_run
from podium.errors import Conflict, NotFound, Refused, UsageError
from podium.execution import approvals, outputs, queries, skipping, stops
from podium.execution.claims import Claim
from podium.execution.entities import Actor, AttemptEnd, Run, Wait
from podium.execution.reads import Read
from tests.execution_world import CHAIN, USED, HandWorker, check_books, days, everything, node, plan_of


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


def joined(name: str, run_if: RunIf, *after: str, when: tuple[str, ...] = ()) -> StepNode:
    return replace(node(name, *after, when=when), run_if=run_if)


def end_all(hand: HandWorker, run: Run, **ends: str) -> None:
    """Execute a run until nothing of it may start, each step ending as told, else with success."""
    while claims := hand.claim(run):
        for claim in claims:
            hand.end(claim, ends.get(claim.step, "succeeded"))  # type: ignore[arg-type]


class TestJoins:
    def test_a_join_goes_on_after_a_failure_and_the_run_has_failed_all_the_same(self, hand: HandWorker) -> None:
        plan = plan_of(
            node("a"),
            node("b"),
            joined("any", "any_succeeded", "a", "b"),
            joined("none", "none_failed", "a", "b"),
            joined("tidy", "always", "a", "b"),
        )
        started = hand.start(plan)
        end_all(hand, started, a="failed")
        assert hand.states(started) == {
            "a": "failed",
            "b": "succeeded",
            "any": "succeeded",
            "none": "skipped",
            "tidy": "succeeded",
        }
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("failed", "a: a went wrong")

    def test_branches_join_again_behind_a_condition(self, hand: HandWorker) -> None:
        plan = plan_of(
            node("ask"), node("one", when=["ask.result"]), node("two"), joined("join", "none_failed", "one", "two")
        )
        started = hand.start(plan)
        for claim in hand.claim(started):
            hand.end(claim, result="false")
        assert hand.states(started) == {"ask": "succeeded", "one": "skipped", "two": "succeeded", "join": "ready"}
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"

    def test_what_did_not_succeed_is_none_and_was_not_read(self, hand: HandWorker) -> None:
        reads = {"a": Reference("a"), "b": Reference("b")}
        plan = plan_of(node("a"), node("b"), replace(node("join", reads=reads), run_if="always"), node("last", "join"))
        started = hand.start(plan)
        end_all(hand, started, b="failed")
        assert hand.states(started)["last"] == "succeeded"
        with hand.database.read() as connection:
            found = outputs.there(connection, started.run_id, {Read("a", "result"), Read("b", "result")})
            assert found == {Read("a", "result")}
            before = outputs.read_before(connection, started.run_id, plan, Read("join", "result"))
        assert len(before) == 1

    def test_a_mapped_step_that_always_runs_needs_its_list_and_nothing_else(self, hand: HandWorker) -> None:
        each = replace(node("each", "b", over=Reference("a")), run_if="always")
        started = hand.start(plan_of(node("a"), node("b"), each))
        for claim in hand.claim(started):
            hand.end(claim, "failed" if claim.step == "b" else "succeeded", result="[1, 2]")
        assert hand.states(started)["each[1]"] == "ready"
        again = hand.start(plan_of(node("a"), node("b"), each), days(2)[-1])
        end_all(hand, again, a="failed")
        assert hand.states(again)["each"] == "skipped"


TIDIED = plan_of(node("a"), node("b", "a"), node("c", "b"), joined("tidy", "always", "a", "c"))


class TestCleaningUp:
    def test_a_cancelled_run_cleans_up_and_only_then_has_ended(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        (first,) = hand.claim(started)
        hand.service.cancel(started.run_id, reason="enough")
        assert hand.states(started) == {"a": "running", "b": "cancelled", "c": "cancelled", "tidy": "waiting"}
        hand.end(first, "cancelled")
        assert hand.run(started).state == "running"
        (tidy,) = hand.claim(started)
        assert (tidy.step, hand.service.cancel(started.run_id, reason="more").state) == ("tidy", "running")
        hand.end(tidy)
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("cancelled", "enough")
        assert hand.states(started)["tidy"] == "succeeded"
        check_books(hand.database)

    def test_a_clean_up_that_fails_is_told_with_why_it_was_cancelled(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        (first,) = hand.claim(started)
        hand.service.cancel(started.run_id, reason="enough")
        hand.end(first, "cancelled")
        hand.end(hand.claim(started)[0], "failed")
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("cancelled", "enough; tidy: tidy went wrong")

    def test_a_run_of_which_nothing_had_begun_has_nothing_to_clean_up(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        assert hand.service.cancel(started.run_id, reason="enough").state == "cancelled"
        assert set(hand.states(started).values()) == {"cancelled"}

    def test_cancel_now_takes_the_attempts_from_their_worker_and_skips_the_clean_up(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        (first,) = hand.claim(started)
        hand.clock.advance(5)
        hand.service.cancel(started.run_id, reason="enough")
        ended = hand.service.cancel(started.run_id, reason="really", now=True)
        assert (ended.state, ended.reason) == ("cancelled", "enough")
        assert set(hand.states(started).values()) == {"cancelled"}
        assert hand.end(first) is None
        with hand.database.read() as connection:
            (row,) = queries.attempt_rows(connection, started.run_id)
        assert (row.state, row.wall_seconds, row.meter_quality) == ("cancelled", 5, "estimated")
        check_books(hand.database)

    def test_a_resumed_run_cleans_up_again_after_what_it_does_again(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        end_all(hand, started, b="failed")
        assert hand.states(started)["tidy"] == "succeeded"
        hand.service.resume(started.run_id, TIDIED, reason="repaired")
        assert hand.states(started) == {"a": "succeeded", "b": "ready", "c": "waiting", "tidy": "waiting"}
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"
        with hand.database.read() as connection:
            tidied = [row for row in queries.attempt_rows(connection, started.run_id) if row.step == "tidy"]
        assert [row.number for row in tidied] == [1, 2]
        check_books(hand.database)


class TestDeadlines:
    PLAN = replace(TIDIED, deadline_seconds=7200.0)
    REASON = "it did not end within 2h (deadline 2026-11-21 02:00:00 UTC)"

    def test_a_run_that_is_late_is_stopped_cleans_up_and_has_failed(self, hand: HandWorker) -> None:
        started = hand.start(self.PLAN)
        (first,) = hand.claim(started)
        hand.clock.advance(7199)
        before = everything(hand.database)
        hand.enforce()
        assert everything(hand.database) == before
        hand.clock.advance(1)
        hand.enforce()
        with hand.database.read() as connection:
            stop = stops.stops_of(connection, [started.run_id])[started.run_id]
        assert (stop.past_deadline, stop.reason) == (True, self.REASON)
        hand.end(first, "cancelled")
        end_all(hand, started)
        ended = hand.run(started)
        assert (ended.state, ended.reason) == ("failed", self.REASON)
        assert hand.states(started) == {"a": "cancelled", "b": "cancelled", "c": "cancelled", "tidy": "succeeded"}
        assert "run.deadline_passed" in hand.events(started)
        check_books(hand.database)

    def test_a_run_that_nobody_took_up_in_time_has_failed(self, hand: HandWorker) -> None:
        started = hand.start(self.PLAN)
        hand.clock.advance(7200)
        hand.enforce()
        assert hand.run(started).state == "failed"

    def test_a_cancel_that_comes_after_the_deadline_comes_too_late(self, hand: HandWorker) -> None:
        started = hand.start(self.PLAN)
        hand.claim(started)
        hand.clock.advance(7200)
        assert hand.service.cancel(started.run_id, reason="enough").reason == self.REASON

    def test_a_run_that_was_taken_up_again_since_somebody_looked_has_time_until_its_new_deadline(
        self, hand: HandWorker
    ) -> None:
        started = hand.start(self.PLAN)
        hand.clock.advance(7199)
        before = everything(hand.database)
        with hand.database.write() as connection:
            hand.progress.pass_deadline(connection, started.run_id, self.PLAN, hand.clock.now())
        assert everything(hand.database) == before

    def test_a_run_that_cannot_be_stopped_is_told_and_keeps_nobody_from_stopping_the_others(
        self, hand: HandWorker
    ) -> None:
        bad, good = (hand.start(self.PLAN, day) for day in days(2))
        with hand.database.write() as connection:
            connection.execute(step_run.delete().where(step_run.c.run_id == bad.run_id, step_run.c.name == "b"))
        hand.clock.advance(7200)
        hand.enforce()
        assert (hand.run(bad).state, hand.run(good).state) == ("queued", "failed")
        (told,) = hand.told
        assert (told.kind, told.run_id) == ("deadline.failed", bad.run_id)
        assert str(told.reason).startswith("has passed a deadline, which cannot be enforced here: The run ")
        hand.clock.advance(59)
        hand.enforce()
        assert hand.told == [told]
        hand.clock.advance(2)
        hand.enforce()
        assert [each.kind for each in hand.told] == ["deadline.failed"] * 2

    def test_a_run_that_is_resumed_has_its_whole_time_again(self, hand: HandWorker) -> None:
        started = hand.start(self.PLAN)
        hand.clock.advance(7200)
        hand.enforce()
        hand.service.resume(started.run_id, self.PLAN, reason="again")
        hand.enforce()
        with hand.database.read() as connection:
            assert stops.deadline_at(connection, started.run_id) == hand.clock.now() + timedelta(hours=2)
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"


def approval(name: str = "asked", *, default: str = "reject") -> StepNode:
    return replace(
        node(name, reads={"a.result": Reference("a")}, outputs=("approved", "by", "reason")),
        kind="approval",
        message="Is it good?",
        timeout_seconds=3 * 86_400.0,
        default=default,  # type: ignore[arg-type]
        resources=Resources(0.0, 0, 0),
    )


WHY = node("c", reads={"why": Reference("asked", "reason")})
ASKED = plan_of(node("a"), approval(), node("b", when=["asked.approved"]), WHY)
ANN = Actor("ann")


def held(hand: HandWorker, plan: Plan = ASKED) -> Run:
    started = hand.start(plan)
    hand.end(hand.claim(started)[0])
    assert hand.states(started)["asked"] == "held"
    return started


class TestApprovals:
    def told(self, hand: HandWorker, run: Run, kind: str) -> str:
        with hand.database.read() as connection:
            (found,) = [row.reason for row in queries.event_rows(connection, run.run_id) if row.kind == kind]
        return str(found)

    def test_a_held_step_holds_no_worker_and_says_what_is_asked_about_what(self, hand: HandWorker) -> None:
        started = held(hand)
        assert hand.claim(started) == []
        with hand.database.read() as connection:
            assert approvals.waits_for_a_person(connection, started.run_id)
            (row,) = [row for row in queries.step_rows(connection, started.run_id) if row.name == "asked"]
            (made,) = connection.execute(sa.select(output.c.digest).where(output.c.name == "result"))
        assert (row.reason, row.decide_by) == ("Is it good?", hand.clock.now() + timedelta(days=3))
        assert self.told(hand, started, "step.held") == f"Is it good? (about a.result {made.digest[:12]})"

    @pytest.mark.parametrize(("approved", "after"), [(True, "succeeded"), (False, "skipped")])
    def test_what_a_person_decides_is_a_condition_and_a_value(
        self, hand: HandWorker, *, approved: bool, after: str
    ) -> None:
        started = held(hand)
        hand.service.decide(started.run_id, "asked", approved=approved, reason="looked at it", actor=ANN)
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"
        assert hand.states(started) == {"a": "succeeded", "asked": "succeeded", "b": after, "c": "succeeded"}
        with hand.database.read() as connection:
            reads = {Read("asked", name) for name in ("approved", "by", "reason")}
            found = outputs.stored(connection, started.run_id, ASKED, reads)
            by = connection.scalar(sa.select(step_run.c.decided_by).where(step_run.c.name == "asked"))
            attempts = connection.scalar(sa.select(sa.func.count()).select_from(attempt))
        values = {read.output: each.inline for read, each in found.items() if not isinstance(each, tuple)}
        assert values == {"approved": b"true" if approved else b"false", "by": b'"ann"', "reason": b'"looked at it"'}
        assert by == "ann"
        assert attempts == 2 + approved
        event = self.told(hand, started, "step.approved" if approved else "step.rejected")
        assert event.startswith("ann (not verified): looked at it (about a.result ")
        check_books(hand.database)

    @pytest.mark.parametrize(("default", "after"), [("approve", "ready"), ("reject", "skipped")])
    def test_when_nobody_decides_in_time_the_default_does(self, hand: HandWorker, default: str, after: str) -> None:
        plan = plan_of(node("a"), approval(default=default), node("b", when=["asked.approved"]))
        started = held(hand, plan)
        hand.clock.advance(3 * 86_400 - 1)
        hand.enforce()
        assert hand.states(started)["asked"] == "held"
        hand.clock.advance(1)
        hand.enforce()
        assert (hand.states(started)["asked"], hand.states(started)["b"]) == ("succeeded", after)
        assert hand.reasons(started)["asked"] == "nobody decided within 3d"
        with pytest.raises(Conflict, match=r"asked of run .* is succeeded, so there is nothing to decide"):
            hand.service.decide(started.run_id, "asked", approved=True, reason="late", actor=ANN)

    def test_nobody_decides_by_default_about_what_is_held_anew_since_somebody_looked(self, hand: HandWorker) -> None:
        started = held(hand)
        with hand.database.write() as connection:
            plan = hand.plan(connection, started)
            choice = approvals.by_default(plan.step("asked"))
            now = hand.clock.now()
            assert not hand.progress.decide(connection, started.run_id, plan, "asked", choice, now)
        assert hand.states(started)["asked"] == "held"

    def test_only_an_approval_is_decided(self, hand: HandWorker) -> None:
        started = held(hand)
        with pytest.raises(UsageError, match=r"The step a of run .* is no approval; its approvals are asked"):
            hand.service.decide(started.run_id, "a", approved=True, reason="yes", actor=ANN)
        with pytest.raises(NotFound, match=r"has no step 'x'\. Its steps are a, asked, b, c"):
            hand.service.decide(started.run_id, "x", approved=True, reason="yes", actor=ANN)

    def test_a_held_run_that_is_cancelled_asks_again_when_it_is_resumed(self, hand: HandWorker) -> None:
        started = held(hand)
        assert hand.service.cancel(started.run_id, reason="enough").state == "cancelled"
        hand.service.resume(started.run_id, ASKED, reason="after all")
        assert hand.states(started)["asked"] == "held"

    def test_a_decision_is_made_anew_where_what_was_shown_is(self, hand: HandWorker) -> None:
        started = held(hand)
        hand.service.decide(started.run_id, "asked", approved=False, reason="no", actor=ANN)
        end_all(hand, started)
        hand.service.retry(started.run_id, ASKED, from_step="a", reason="better data")
        hand.end(hand.claim(started)[0], result="2")
        assert hand.states(started)["asked"] == "held"
        hand.service.decide(started.run_id, "asked", approved=True, reason="yes", actor=ANN)
        end_all(hand, started)
        assert hand.states(started)["b"] == "succeeded"
        check_books(hand.database)


class TestDoingAgain:
    def keys(self, hand: HandWorker, run: Run) -> dict[str, int]:
        with hand.database.read() as connection:
            return {row.name: row.generation for row in queries.step_rows(connection, run.run_id)}

    def test_a_step_and_all_after_it_are_done_again_and_their_results_replaced(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"), node("c", "b"), node("side", "a"))
        started = hand.start(plan)
        end_all(hand, started)
        assert hand.service.retry(started.run_id, plan, from_step="b", reason="wrong rate").outcome is None
        assert hand.states(started) == {"a": "succeeded", "b": "ready", "c": "waiting", "side": "succeeded"}
        for _ in "bc":
            (claim,) = hand.claim(started)
            assert (claim.number, claim.generation) == (2, 1)
            hand.end(claim, result="2")
        assert hand.run(started).state == "succeeded"
        assert self.keys(hand, started) == {"a": 0, "b": 1, "c": 1, "side": 0}
        with hand.database.read() as connection:
            found = outputs.stored(connection, started.run_id, plan, {Read("a", "result"), Read("c", "result")})
        assert [each.inline for each in found.values() if not isinstance(each, tuple)].count(b"2") == 1
        assert "run.retried" in hand.events(started)
        check_books(hand.database)

    @pytest.mark.parametrize("size", [0, 1, 2, 5])
    def test_a_list_that_is_made_anew_may_have_another_length(self, hand: HandWorker, size: int) -> None:
        plan = plan_of(node("a"), node("each", over=Reference("a")), node("last", reads={"all": Reference("each")}))
        started = hand.start(plan)
        hand.end(hand.claim(started)[0], result="[1, 2]")
        end_all(hand, started)
        hand.service.retry(started.run_id, plan, from_step="a", reason="more data")
        hand.end(hand.claim(started)[0], result=str(list(range(size))))
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"
        with hand.database.read() as connection:
            read = Read("each", "result", None)
            assert len(outputs.stored(connection, started.run_id, plan, {read})[read]) == size  # type: ignore[arg-type]
        assert {state for name, state in hand.states(started).items() if "[" in name} <= {"succeeded", "skipped"}
        check_books(hand.database)

    def test_only_what_has_ended_is_done_again(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        with pytest.raises(Conflict, match="is queued; let it end, or cancel it"):
            hand.service.retry(started.run_id, CHAIN, from_step="b", reason="why not")
        hand.service.cancel(started.run_id, reason="enough")
        before = everything(hand.database)
        with pytest.raises(NotFound, match="no step 'x'"):
            hand.service.retry(started.run_id, CHAIN, from_step="x", reason="why not")
        assert everything(hand.database) == before

    def test_what_is_shown_before_is_what_happens(self, hand: HandWorker) -> None:
        started = hand.start(TIDIED)
        end_all(hand, started, b="failed")
        before = everything(hand.database)
        shown = hand.service.preview(started.run_id, TIDIED)
        assert everything(hand.database) == before
        assert [step.name for step in shown if step.action == "run"] == ["b", "c", "tidy"]

    def test_a_rerun_is_linked_to_the_run_it_repeats(self, hand: HandWorker) -> None:
        first = hand.start(CHAIN)
        end_all(hand, first)
        second = hand.service.rerun(first.run_id, CHAIN, parameters={"depth": 2}, reason="deeper", actor=ANN)
        assert (second.interval, second.parameters, second.state) == (first.interval, {"depth": 2}, "queued")
        with hand.database.read() as connection:
            assert queries.run_rows(connection, [second.run_id])[second.run_id].rerun_of == first.run_id
        assert hand.events(first)[-1] == "run.rerun"

    def test_code_that_changed_is_refused_where_the_policy_says_so_and_both_digests_are_said(
        self, hand: HandWorker
    ) -> None:
        started = hand.start(CHAIN)
        end_all(hand, started, b="failed")
        changed = plan_of(*CHAIN.steps, code="c1")
        digests = f"{CHAIN.code_digest[:12]} → {changed.code_digest[:12]}"
        with pytest.raises(Refused, match=rf"{digests}.*--allow-changed-code"):
            hand.service.resume(started.run_id, changed, reason="repaired", changed_code="refuse")
        hand.service.resume(started.run_id, changed, reason="repaired")
        with hand.database.read() as connection:
            reasons = [row.reason for row in queries.event_rows(connection, started.run_id) if "code" in row.kind]
        assert reasons == [f"code {digests}"]


class TestSkipping:
    def test_an_open_run_goes_on_without_a_step_that_had_not_begun(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b"), joined("c", "none_failed", "a", "b"), node("d", "b"))
        started = hand.start(plan)
        hand.service.skip(started.run_id, "b", reason="not this month", actor=ANN)
        assert hand.states(started) == {"a": "ready", "b": "skipped", "c": "waiting", "d": "skipped"}
        end_all(hand, started)
        assert (hand.run(started).state, hand.states(started)["c"]) == ("succeeded", "succeeded")
        with hand.database.read() as connection:
            assert skipping.by_hand(connection, started.run_id) == {"b"}

    def test_a_step_that_waits_on_others_may_be_skipped_and_they_end_later(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (first,) = hand.claim(started)
        hand.service.skip(started.run_id, "b", reason="not this month", actor=ANN)
        assert hand.states(started) == {"a": "running", "b": "skipped", "c": "skipped"}
        hand.end(first)
        assert hand.run(started).state == "succeeded"

    def test_a_step_that_runs_is_not_skipped_and_one_that_succeeded_neither(self, hand: HandWorker) -> None:
        started = hand.start(CHAIN)
        (first,) = hand.claim(started)
        with pytest.raises(Conflict, match=r"The step a of run .* is running.*runs cancel"):
            hand.service.skip(started.run_id, "a", reason="no", actor=ANN)
        hand.end(first)
        with pytest.raises(UsageError, match=r"a of run .*, which is running, succeeded; there is nothing to skip"):
            hand.service.skip(started.run_id, "a", reason="no", actor=ANN)

    def test_a_run_that_failed_goes_on_without_the_step_that_failed(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"), joined("c", "none_failed", "b"), node("d", "c"))
        started = hand.start(plan)
        end_all(hand, started, b="failed")
        hand.service.skip(started.run_id, "b", reason="nobody reads it", actor=ANN)
        assert hand.run(started).state == "failed"
        hand.service.resume(started.run_id, plan, reason="without b")
        end_all(hand, started)
        assert hand.run(started).state == "succeeded"
        assert hand.states(started) == {"a": "succeeded", "b": "skipped", "c": "succeeded", "d": "succeeded"}

    def test_where_nothing_is_left_to_do_the_resumed_run_ends_at_once(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("b", "a"))
        started = hand.start(plan)
        end_all(hand, started, b="failed")
        hand.service.skip(started.run_id, "b", reason="nobody reads it", actor=ANN)
        assert hand.service.resume(started.run_id, plan, reason="without b").state == "succeeded"

    def test_the_items_of_a_mapped_step_are_skipped_with_it(self, hand: HandWorker) -> None:
        plan = plan_of(node("a"), node("each", over=Reference("a")), joined("last", "none_failed", "each"))
        started = hand.start(plan)
        hand.end(hand.claim(started)[0], result="[1, 2]")
        hand.service.skip(started.run_id, "each", reason="too dear", actor=ANN)
        assert hand.states(started) == {
            "a": "succeeded",
            "each": "skipped",
            "each[0]": "skipped",
            "each[1]": "skipped",
            "last": "ready",
        }
        with pytest.raises(NotFound, match=r"each\[1\] is an item of each"):
            hand.service.skip(started.run_id, "each[1]", reason="too dear", actor=ANN)


class TestSensors:
    PLAN = plan_of(replace(node("it"), every_seconds=60.0, timeout_seconds=150.0))

    def look(self, hand: HandWorker, run: Run) -> None:
        """Look, and find nothing."""
        (claim,) = hand.claim(run)
        with hand.database.write() as connection:
            row = queries.running_attempt(connection, claim.attempt_id)
            assert row is not None
            end = AttemptEnd("snoozed", USED, wait=Wait(60, "nothing has come yet"))
            hand.progress.end(connection, row, self.PLAN, end, hand.clock.now())

    def test_it_looks_for_the_last_time_when_its_time_is_over_and_from_anew_once_resumed(
        self, hand: HandWorker
    ) -> None:
        started = hand.start(self.PLAN)
        for begun in ("started", "resumed"):
            for wait_seconds in (60, 60, 30):
                self.look(hand, started)
                hand.clock.advance(wait_seconds - 1)
                assert hand.claim(started) == [], begun
                hand.clock.advance(1)
            self.look(hand, started)
            ended = hand.run(started)
            assert (ended.state, ended.reason) == ("failed", "it: nothing came within 150s, looked for every 1m")
            hand.service.resume(started.run_id, self.PLAN, reason="it comes tomorrow")
        check_books(hand.database)


@st.composite
def flows(draw: st.DrawFn) -> Plan:
    """A plan of steps, mapped ones and approvals, each running after others as its run_if says."""
    nodes: list[StepNode] = []
    for number in range(draw(st.integers(1, 6))):
        before = [each.name for each in nodes]
        after = draw(st.lists(st.sampled_from(before), unique=True, max_size=2)) if before else []
        kind = draw(st.sampled_from(["step", "step", "mapped", "approval"]))
        made = node(f"s{number}", *after, over=Constant([1, 2]) if kind == "mapped" else None)
        if kind == "approval":
            made = replace(approval(made.name), inputs={}, after=made.after)
        nodes.append(replace(made, run_if=draw(st.sampled_from(RUN_IF)) if kind != "approval" else "all_succeeded"))
    return replace(plan_of(*nodes), deadline_seconds=1e6)


ACTS = ("claim", "claim", "end", "end", "end", "decide", "cancel", "skip", "late")


@dataclass
class Story:
    """One run to which people, workers and time do one thing after another."""

    hand: HandWorker
    run: Run
    draw: Callable[[st.SearchStrategy[Any]], Any]
    running: list[Claim] = field(default_factory=list)
    began: bool = False

    @property
    def is_over(self) -> bool:
        return self.hand.run(self.run).state not in ("queued", "running")

    def claim(self) -> None:
        self.running += self.hand.claim(self.run)
        self.began = self.began or bool(self.running)

    def end(self) -> None:
        if self.running:
            claim = self.running.pop(self.draw(st.integers(0, len(self.running) - 1)))
            self.hand.end(claim, self.draw(st.sampled_from(["succeeded", "failed", "cancelled", "lost"])))

    def decide(self) -> None:
        for name, state in self.hand.states(self.run).items():
            if state == "held":
                approved = self.draw(st.booleans())
                self.hand.service.decide(self.run.run_id, name, approved=approved, reason="so", actor=ANN)

    def cancel(self) -> None:
        with suppress(UsageError):
            self.hand.service.cancel(self.run.run_id, reason="so")

    def skip(self) -> None:
        step = self.draw(st.sampled_from(sorted({name.partition("[")[0] for name in self.hand.states(self.run)})))
        with suppress(Conflict, UsageError):
            self.hand.service.skip(self.run.run_id, step, reason="so", actor=ANN)

    def late(self) -> None:
        self.hand.clock.advance(3e5)
        self.hand.enforce()


def test_whatever_is_done_to_a_run_it_ends_with_every_step_and_its_clean_up_done(hand: HandWorker) -> None:
    numbers = count()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(flows(), st.data())
    def check(plan: Plan, data: st.DataObject) -> None:
        story = Story(hand, hand.start(plan, days(next(numbers) + 1)[-1]), data.draw)
        for act in data.draw(st.lists(st.sampled_from(ACTS), max_size=12), "acts"):
            getattr(story, act)()
        for _ in range(200):  # and then to its end
            if story.is_over:
                break
            for act in ("claim", *["end"] * (len(story.running) + 3), "decide"):
                getattr(story, act)()
        states = hand.states(story.run)
        assert set(states.values()) <= {"succeeded", "failed", "skipped", "cancelled"}, states
        with hand.database.read() as connection:
            row = queries.run_rows(connection, [story.run.run_id])[story.run.run_id]
        assert (row.open_steps, row.ended_at is not None) == (0, True)
        for each in plan.steps:
            assert not (each.run_if == "always" and story.began and states[each.name] == "cancelled")

    check()
    check_books(hand.database)
