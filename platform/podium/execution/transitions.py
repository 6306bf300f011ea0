"""What the end of an attempt means for its step run; pure.

`failed`, `timed_out` and `lost` attempts count as failures. A step run may fail `retries` times and still go
on; a *lost* attempt (its worker died, through no fault of the step) is always tried again until the step run
failed `LOST_LIMIT` times, so that a step which kills its workers ends too. A `snoozed` attempt waits, as one in
back-off does, and counts as nothing.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from podium.dag.options import duration
from podium.dag.plan import RetryPolicy, StepNode
from podium.execution.entities import AttemptEnd, AttemptError

LOST_LIMIT = 5


@dataclass(frozen=True)
class StepMove:
    """Where a step run goes after an attempt, and why; `not_before` is set for one that waits.

    `event` is how its history calls the move.
    """

    state: Literal["succeeded", "waiting", "ready", "failed"]
    failures: int
    reason: str | None = None
    not_before: datetime | None = None
    snoozed: bool = False

    @property
    def event(self) -> str:
        """The kind of event to record."""
        return "step.snoozed" if self.snoozed else f"step.{self.state}"

    @property
    def told(self) -> str | None:
        """The event's reason; of a snooze, also until when."""
        if self.snoozed and self.not_before is not None:
            return f"waits until {self.not_before:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"
        return self.reason


def after_attempt(
    end: AttemptEnd,
    *,
    attempt_id: str,
    failures: int,
    retries: int,
    now: datetime,
    retry: RetryPolicy,
) -> StepMove:
    """Return the step run's move; `failures` counts those before this attempt.

    By how much a wait varies is drawn from the attempt's id: the same attempt waits the same, whoever asks.
    """
    if end.state == "succeeded":
        return StepMove("succeeded", failures)
    if end.state == "cancelled":  # interrupted by a person: nothing counted, and claimable unless the run is cancelled
        return StepMove("ready", failures, end.error.message if end.error else "interrupted")
    if end.wait is not None:
        until = now + timedelta(seconds=end.wait.seconds)
        return StepMove("waiting", failures, end.wait.reason, until, snoozed=True)
    failures += 1
    reason = end.error.message if end.error else end.state
    if end.error is not None and not end.error.retryable:
        return StepMove("failed", failures, reason)
    limit = max(retries, LOST_LIMIT) if end.state == "lost" else retries
    if failures > limit:
        return StepMove("failed", failures, reason)
    if end.state == "lost":
        return StepMove("ready", failures, reason)
    return StepMove("waiting", failures, reason, now + timedelta(seconds=wait_seconds(retry, failures, attempt_id)))


def within_its_wait(end: AttemptEnd, node: StepNode, waited_seconds: float) -> AttemptEnd:
    """Return the end of a sensor's look `waited_seconds` after its first one began; any other end as it is.

    Its last look is when its time is over; if nothing has come by then, it failed.
    """
    if end.wait is None or node.every_seconds is None or node.timeout_seconds is None:
        return end
    left_seconds = node.timeout_seconds - waited_seconds
    if left_seconds <= 0:
        message = (
            f"nothing came within {duration(node.timeout_seconds)}, looked for every {duration(node.every_seconds)}"
        )
        return replace(end, state="failed", wait=None, error=AttemptError("NothingCame", message, retryable=False))
    return replace(end, wait=replace(end.wait, seconds=min(end.wait.seconds, left_seconds)))


def wait_seconds(retry: RetryPolicy, failures: int, attempt_id: str) -> float:
    """Return how long to wait after the n-th failure, which was this attempt's.

    >>> [wait_seconds(RetryPolicy(), n, "a") for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    try:
        grown = retry.delay_seconds * retry.factor ** (failures - 1)
    except OverflowError:
        grown = retry.longest_seconds
    return min(grown, retry.longest_seconds) * (1 + retry.jitter * _draw(attempt_id))


def _draw(attempt_id: str) -> float:
    """Return a number from -1 to 1 that looks random and is always the same for one attempt."""
    digest = hashlib.sha256(attempt_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**63 - 1
