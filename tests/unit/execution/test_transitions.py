"""What the end of an attempt means for its step run."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.execution.entities import AttemptEnd, AttemptEndState, AttemptError, Wait
from podium.execution.meter import Usage
from podium.execution.transitions import LOST_LIMIT, StepMove, after_attempt, back_off_seconds

NOW = datetime(2026, 11, 21, tzinfo=UTC)
USED = Usage(1.0, 1.0, 1, source="getrusage", quality="measured")


def move(state: AttemptEndState, *, failures: int = 0, retries: int = 0, retryable: bool = True) -> StepMove:
    error = None if state in ("succeeded", "cancelled") else AttemptError("Boom", "it broke", retryable)
    return after_attempt(AttemptEnd(state, USED, error=error), failures=failures, retries=retries, now=NOW)


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
    move = after_attempt(end, failures=1, retries=1, now=NOW)
    assert (move.state, move.failures, move.not_before) == ("waiting", 1, NOW + timedelta(seconds=90))
    assert (move.event, move.reason) == ("step.snoozed", "the canary is open")
    assert move.told == "waits until 2026-11-21 00:01:30 UTC: the canary is open"


@given(st.integers(1, 10**6))
def test_the_back_off_never_shrinks_and_never_passes_five_minutes(failures: int) -> None:
    assert 1.0 <= back_off_seconds(failures) <= back_off_seconds(failures + 1) <= 300.0
