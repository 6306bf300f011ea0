"""What the end of an attempt means for its step run; pure.

`failed`, `timed_out` and `lost` attempts count as failures. A step run may fail `retries` times and still go
on; a *lost* attempt (its worker died, through no fault of the step) is always tried again until the step run
failed `LOST_LIMIT` times, so that a step which kills its workers ends too. A `snoozed` attempt waits, as one in
back-off does, and counts as nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from podium.execution.entities import AttemptEnd

LOST_LIMIT = 5
_FIRST_BACK_OFF_SECONDS = 1.0
_LONGEST_BACK_OFF_SECONDS = 300.0


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


def after_attempt(end: AttemptEnd, *, failures: int, retries: int, now: datetime) -> StepMove:
    """Return the step run's move; `failures` counts those before this attempt."""
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
    return StepMove("waiting", failures, reason, now + timedelta(seconds=back_off_seconds(failures)))


def back_off_seconds(failures: int) -> float:
    """Return how long to wait after the n-th failure: 1, 2, 4 … seconds, at most 300.

    >>> [back_off_seconds(n) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    return min(_FIRST_BACK_OFF_SECONDS * 2.0 ** min(failures - 1, 30), _LONGEST_BACK_OFF_SECONDS)
