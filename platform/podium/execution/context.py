"""What code inside a step may know of its own attempt, and how it waits without holding a worker."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from podium.dag.interval import Interval
from podium.errors import UsageError

_LONGEST_SNOOZE_SECONDS = 366 * 86_400.0


class Snooze(Exception):
    """Raised by a step that must wait: its attempt ends, its slot is free, and the step run is tried again later.

    Nothing failed: no retry is spent, and the next attempt begins from the start. What the attempt did outside must
    therefore be idempotent under its step key. `reason` is one line that says what is waited for; `seconds` is at
    most a year.

    >>> str(Snooze(90, "the canary of flight_delay is open"))
    'snoozed for 90 s: the canary of flight_delay is open'
    """

    def __init__(self, seconds: float, reason: str) -> None:
        if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_SNOOZE_SECONDS):
            raise UsageError(f"A step cannot snooze for {seconds!r} s; give seconds > 0 and at most a year of them.")
        if not reason.strip():
            raise UsageError("A step snoozed without a reason; say what it waits for.")
        super().__init__(f"snoozed for {seconds:g} s: {reason}")
        self.seconds = float(seconds)
        self.reason = reason


class Cancelled(BaseException):
    """Raised inside a step whose run is cancelled or past its deadline, so that it can tidy up.

    No `except Exception` catches it. The step has a few seconds (`cancel_grace_seconds`) to end; then it is killed with
    all that it started. Its attempt is `cancelled` unless it returns a result after all.
    """


@dataclass(frozen=True)
class AttemptContext:
    """The attempt that runs now, and the services its stages may ask.

    `step_key` names the step run and stays the same over its attempts, which `number` counts from 1: what a stage does
    outside is idempotent under it. `input_digests` maps each parameter to the digest of the artifact it came from;
    `read_before` returns for a parameter the digests of all that was read on the way to its value. `artifact` reads a
    stored value by its digest. `services` are built when a stage first asks: a step that is no stage does not pay for
    their import.
    """

    run_id: str
    step_key: str
    number: int
    pipeline: str
    model: str
    team: str
    environment: str
    interval: Interval
    code_digest: str
    input_digests: dict[str, str]
    build_services: Callable[[], Any]
    read_before: Callable[[str], list[str]]
    artifact: Callable[[str], Any]

    @cached_property
    def services(self) -> Any:
        """The services, as the wiring knows them."""
        return self.build_services()


_current: ContextVar[AttemptContext | None] = ContextVar("podium_attempt", default=None)


def current() -> AttemptContext:
    """Return the attempt this code runs in; UsageError outside one."""
    context = _current.get()
    if context is None:
        raise UsageError(
            "This stage was called outside a run, so there is no registry to ask; start its pipeline with `podium run`."
        )
    return context


@contextmanager
def entered(context: AttemptContext) -> Iterator[None]:
    """Make `context` the current one for the block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
