"""A database that does not answer: how long a worker waits for it, and when it asks again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from podium.clock import Clock
from podium.errors import ServiceUnavailable
from podium.execution.entities import Happening

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass
class Outage:
    """Whether the database is away, told to the observer when it goes and comes; `longest_seconds` is waited for it."""

    clock: Clock
    longest_seconds: float
    observe: Callable[[Happening], None]
    _began: float | None = None
    _pause_seconds: float = field(default=_FIRST_PAUSE_SECONDS, init=False)

    @property
    def goes_on(self) -> bool:
        """Whether the last thing that was asked of the database was not answered."""
        return self._began is not None

    def sit_out(self, error: ServiceUnavailable) -> float:
        """Return how long to wait before the next try: 0.1, 0.2, 0.4 … seconds, at most 2; at last raise the error."""
        now = self.clock.monotonic()
        if self._began is None:
            self._began, self._pause_seconds = now, _FIRST_PAUSE_SECONDS
            self.observe(Happening("database.away", "", self.clock.now(), reason=str(error)))
        if now - self._began > self.longest_seconds:
            raise error
        pause = self._pause_seconds
        self._pause_seconds = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return pause

    def is_over(self) -> None:
        """Take note that the database answers, after all that was to be asked of it."""
        if self._began is not None:
            self._began = None
            self.observe(Happening("database.back", "", self.clock.now()))
