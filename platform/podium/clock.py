"""Time as an argument: whoever needs the time is handed a `Clock`."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the time of day as an aware datetime in UTC."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for durations."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day as an aware datetime in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for durations."""
        return time.monotonic()


class FakeClock:
    """A clock that moves only when told to.

    >>> clock = FakeClock()
    >>> before = clock.now()
    >>> clock.advance(90)
    >>> (clock.now() - before).total_seconds()
    90.0
    """

    def __init__(self, start: datetime = datetime(2013, 3, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the time it was last moved to."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds it was advanced in all."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
