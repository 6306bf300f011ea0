"""A step that must wait: it holds no slot, spends no retry, is billed like any, and says what it waits for."""

from datetime import timedelta
from pathlib import Path

import pytest

from podium.db.engine import Database
from podium.execution import approvals, claims, plans, queries, waking
from podium.execution.entities import AttemptEnd, Happening, Wait
from tests.execution_world import USED, FlowProject, HandWorker, attempts, check_books, node, plan_of

REASON = "the canary of flight_delay is open"


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


def snooze(hand: HandWorker, attempt_id: str, seconds: float) -> None:
    with hand.database.write() as connection:
        row = queries.running_attempt(connection, attempt_id)
        assert row is not None
        end = AttemptEnd("snoozed", USED, wait=Wait(seconds, REASON))
        hand.progress.end(connection, row, plans.load(connection, row.plan_digest), end, hand.clock.now())


class TestInTheDatabase:
    def test_a_snoozed_step_is_claimable_again_when_its_time_has_come_and_no_earlier(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it")))
        (first,) = hand.claim(started)
        snooze(hand, first.attempt_id, 90)
        assert hand.states(started) == {"it": "waiting"}
        assert hand.reasons(started) == {"it": REASON}
        hand.clock.advance(89)
        assert hand.claim(started) == []
        with hand.database.read() as connection:
            assert claims.open_runs(connection, hand.clock.now(), 10) == []
            (waiting,) = claims.open_runs(connection, hand.clock.now() + timedelta(seconds=1), 10)
        assert waiting.run_id == started.run_id
        hand.clock.advance(1)
        (second,) = hand.claim(started)
        assert (first.number, second.number) == (1, 2)
        hand.end(second)
        assert hand.run(started).state == "succeeded"
        check_books(hand.database)

    def test_a_snooze_spends_no_retry_however_often(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it", retries=1)))
        for _ in range(3):
            (claim,) = hand.claim(started)
            snooze(hand, claim.attempt_id, 10)
            hand.clock.advance(10)
        hand.end(hand.claim(started)[0], "failed")
        assert hand.states(started) == {"it": "waiting"}  # the one retry is still there
        hand.clock.advance(10)
        hand.end(hand.claim(started)[0], "failed")
        assert hand.run(started).state == "failed"
        with hand.database.read() as connection:
            states = [row.state for row in queries.attempt_rows(connection, started.run_id)]
        assert states == ["snoozed", "snoozed", "snoozed", "failed", "failed"]
        check_books(hand.database)

    def test_its_history_says_until_when_it_waits_and_for_what(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it")))
        snooze(hand, hand.claim(started)[0].attempt_id, 90)
        with hand.database.read() as connection:
            *_, ended, waits = queries.event_rows(connection, started.run_id)
        assert (ended.kind, ended.attempt, ended.reason) == ("attempt.snoozed", 1, None)
        assert (waits.kind, waits.reason) == ("step.snoozed", f"waits until 2026-11-21 00:01:30 UTC: {REASON}")

    def test_a_run_whose_step_snoozes_can_be_given_up(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it")))
        snooze(hand, hand.claim(started)[0].attempt_id, 90)
        assert hand.service.cancel(started.run_id, reason="enough").state == "cancelled"

    def test_what_it_waits_for_makes_it_due_at_once(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it"), node("other", retries=1), node("third")))
        it, other, third = hand.claim(started)
        snooze(hand, it.attempt_id, 3_600)
        hand.end(other, "failed")
        wake(hand, "another_model")
        assert hand.claim(started) == []
        wake(hand, plan_of(node("it")).model)
        assert [claim.step for claim in hand.claim(started)] == ["it"], (
            "the other backs off, of the third an attempt is made"
        )
        hand.end(third)

    def test_a_run_waits_for_a_person_whose_every_snooze_ends_with_a_decision_elsewhere(self, hand: HandWorker) -> None:
        started = hand.start(plan_of(node("it"), node("other")))
        it, other = hand.claim(started)
        asked = [f"{started.run_id}/it"]
        snooze(hand, it.attempt_id, 3_600)
        assert not waits_for_a_person(hand, started.run_id, asked), "the other runs"
        snooze(hand, other.attempt_id, 90)
        assert not waits_for_a_person(hand, started.run_id, asked), "the other has a time of its own"
        hand.clock.advance(90)
        (again,) = hand.claim(started)
        hand.end(again)
        assert waits_for_a_person(hand, started.run_id, asked)
        assert not waits_for_a_person(hand, started.run_id, []), "nobody is asked any more"


def wake(hand: HandWorker, model: str) -> None:
    with hand.database.write() as connection:
        waking.wake_model(connection, model, hand.clock.now())


def waits_for_a_person(hand: HandWorker, run_id: str, elsewhere: list[str]) -> bool:
    with hand.database.read() as connection:
        return approvals.waits_for_a_person(connection, run_id, elsewhere)


SNOOZING = """
from podium.execution.context import Snooze

@step
def it() -> int:
    if not Path("open").exists():
        Path("open").touch()
        raise Snooze({arguments})
    return 1
---
def flow(day: Interval) -> None:
    it()
"""


class TestInASlot:
    @pytest.fixture
    def flow(self, tmp_path: Path) -> FlowProject:
        return FlowProject(tmp_path / "flows")

    def test_a_foreground_run_waits_for_it_and_goes_on(self, flow: FlowProject) -> None:
        told: list[Happening] = []
        document = flow.run(SNOOZING.format(arguments='0.3, "the door is open"'), told.append)
        assert document["state"] == "succeeded"
        first, second = attempts(document, "it")
        assert (first["state"], first["error"], second["state"]) == ("snoozed", None, "succeeded")
        assert first["meter_quality"] == "measured"
        assert first["cost_usd"] is not None
        assert second["started_at"] > first["ended_at"]
        (waits,) = [each.reason for each in told if each.kind == "step.snoozed"]
        assert waits is not None
        assert waits.endswith(" UTC: the door is open")
        assert flow.log(document, "it") == "podium: the step snoozed for 0.3 s: the door is open\n"

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ('0, "x"', "A step cannot snooze for 0 s"),
            ('float("nan"), "x"', "A step cannot snooze for nan s"),
            ('1e12, "x"', "at most a year"),
            ('1, " "', "without a reason"),
        ],
    )
    def test_a_wait_that_is_none_is_the_step_s_error(self, flow: FlowProject, arguments: str, complaint: str) -> None:
        document = flow.run(SNOOZING.format(arguments=arguments))
        assert document["state"] == "failed"
        assert complaint in document["reason"]
