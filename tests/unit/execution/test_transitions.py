"""What the end of an attempt means for its step run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.plan import RetryPolicy
from podium.execution.entities import AttemptEnd, AttemptEndState, AttemptError, Wait
from podium.execution.meter import Usage
from podium.execution.transitions import LOST_LIMIT, StepMove, after_attempt, wait_seconds, within_its_wait
from tests.execution_world import node

NOW = datetime(2026, 11, 21, tzinfo=UTC)
USED = Usage(1.0, 1.0, 1, source="getrusage", quality="measured")


def after(end: AttemptEnd, *, failures: int = 0, retries: int = 0, retry: RetryPolicy | None = None) -> StepMove:
    policy = retry or RetryPolicy()
    return after_attempt(end, attempt_id="a", failures=failures, retries=retries, now=NOW, retry=policy)


def move(state: AttemptEndState, *, failures: int = 0, retries: int = 0, retryable: bool = True) -> StepMove:
    error = None if state in ("succeeded", "cancelled") else AttemptError("Boom", "it broke", retryable)
    return after(AttemptEnd(state, USED, error=error), failures=failures, retries=retries)


def test_success_ends_the_step_run_and_keeps_the_count_of_failures() -> None:
    assert move("succeeded", failures=2, retries=3) == StepMove("succeeded", 2)


@pytest.mark.parametrize("state", ["failed", "timed_out"])
def test_a_failure_without_retries_is_final_and_says_why(state: AttemptEndState) -> None:
    assert move(state) == StepMove("failed", 1, "it broke")


@pytest.mark.parametrize("state", ["failed", "timed_out"])
def test_a_failure_with_retries_left_waits_for_its_back_off(state: AttemptEndState) -> None:
    assert move(state, failures=1, retries=2) == StepMove("waiting", 2, "it broke", NOW + timedelta(seconds=2))


def test_the_failure_after_the_last_retry_is_final() -> None:
    assert move("failed", failures=2, retries=2).state == "failed"


def test_an_error_that_trying_again_cannot_help_is_final_whatever_retries_are_left() -> None:
    assert move("failed", retries=5, retryable=False) == StepMove("failed", 1, "it broke")


def test_a_lost_attempt_is_tried_again_at_once_without_any_retries() -> None:
    assert move("lost") == StepMove("ready", 1, "it broke")


def test_a_step_that_keeps_killing_its_workers_fails_in_the_end() -> None:
    moves = [move("lost", failures=failures).state for failures in range(LOST_LIMIT + 1)]
    assert moves == ["ready"] * LOST_LIMIT + ["failed"]


def test_more_retries_than_the_lost_limit_hold_for_lost_attempts_too() -> None:
    assert move("lost", failures=LOST_LIMIT, retries=LOST_LIMIT + 1).state == "ready"


def test_an_interrupted_attempt_counts_as_nothing() -> None:
    assert move("cancelled", failures=1, retries=1) == StepMove("ready", 1, "interrupted")


def test_a_snoozed_attempt_waits_as_long_as_it_asked_and_counts_as_nothing() -> None:
    end = AttemptEnd("snoozed", USED, wait=Wait(90, "the canary is open"))
    move = after(end, failures=1, retries=1)
    assert (move.state, move.failures, move.not_before) == ("waiting", 1, NOW + timedelta(seconds=90))
    assert (move.event, move.reason) == ("step.snoozed", "the canary is open")
    assert move.told == "waits until 2026-11-21 00:01:30 UTC: the canary is open"


@given(st.integers(1, 10**6), st.text(), st.floats(0, 1))
def test_a_wait_grows_up_to_the_longest_and_varies_by_the_jitter_at_most(
    failures: int, attempt_id: str, jitter: float
) -> None:
    exact = RetryPolicy(delay_seconds=2, factor=3, longest_seconds=60)
    waits = [wait_seconds(exact, count, attempt_id) for count in (failures, failures + 1)]
    assert 2 <= waits[0] <= waits[1] <= 60
    varied = wait_seconds(RetryPolicy(2, 3, 60, jitter), failures, attempt_id)
    assert abs(varied - waits[0]) <= jitter * waits[0] + 1e-9


def test_attempts_that_fail_together_come_back_one_by_one_and_each_always_at_its_own_time() -> None:
    policy = RetryPolicy(delay_seconds=10, jitter=0.5)
    waits = [wait_seconds(policy, 1, f"attempt {n}") for n in range(50)]
    assert len(set(waits)) == 50
    assert min(waits) < 7 < 13 < max(waits)
    assert waits == [wait_seconds(policy, 1, f"attempt {n}") for n in range(50)]


def test_a_failure_waits_as_its_own_policy_says() -> None:
    end = AttemptEnd("failed", USED, error=AttemptError("Boom", "it broke"))
    policy = RetryPolicy(delay_seconds=30, factor=1)
    assert after(end, failures=2, retries=3, retry=policy).not_before == NOW + timedelta(seconds=30)


SENSOR = replace(node("it"), every_seconds=60.0, timeout_seconds=3600.0)
NOTHING_YET = AttemptEnd("snoozed", USED, wait=Wait(60, "nothing has come yet"))


def test_a_sensor_looks_again_for_the_last_time_when_its_time_is_over() -> None:
    assert within_its_wait(NOTHING_YET, SENSOR, 10) == NOTHING_YET
    last = within_its_wait(NOTHING_YET, SENSOR, 3590)
    assert last.wait == Wait(10, "nothing has come yet")


def test_a_sensor_to_which_nothing_came_in_time_has_failed_for_good() -> None:
    end = within_its_wait(NOTHING_YET, SENSOR, 3600)
    assert (end.state, end.wait) == ("failed", None)
    assert end.error == AttemptError("NothingCame", "nothing came within 1h, looked for every 1m", retryable=False)


def test_what_came_at_last_and_a_step_that_snoozes_by_itself_have_no_such_limit() -> None:
    came = AttemptEnd("succeeded", USED)
    assert within_its_wait(came, SENSOR, 4000) == came
    assert within_its_wait(NOTHING_YET, replace(SENSOR, every_seconds=None), 4000) == NOTHING_YET
