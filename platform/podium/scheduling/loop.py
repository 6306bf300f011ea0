"""The scheduler's loop: parts that each make one step and say when the next is useful, one after another.

No part ends it: what goes wrong in one is told, and the part has its turn again later, while the others go on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from podium.clock import Clock
from podium.errors import PodiumError, ServiceUnavailable

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_AFTER_AN_ERROR_SECONDS = 60.0

Wait = Callable[[float], bool]
"""Waits so many seconds; True, at once, as soon as the loop is to end."""


class Part(Protocol):
    """Something that goes on in the background."""

    def advance(self) -> float:
        """Make one step, and return after how many seconds the next one is useful."""


class LoopObserver(Protocol):
    """Is told what goes wrong in a loop."""

    def failed(self, part: str, error: BaseException) -> None:
        """Take note that a part failed; it is tried again."""

    def away(self, error: ServiceUnavailable) -> None:
        """Take note that the database does not answer; it is waited for."""

    def back(self) -> None:
        """Take note that it answers again."""


@dataclass
class Loop:
    """Gives each part its turn, until it is told to end; a database that is away is waited for, however long."""

    parts: Mapping[str, Part]
    clock: Clock
    observe: LoopObserver
    _next: dict[str, float] = field(default_factory=dict)
    _pause_seconds: float = 0.0
    _told: dict[str, str] = field(default_factory=dict)

    def run(self, wait: Wait) -> None:
        """Go on until `wait` says to end."""
        while not wait(self.advance()):
            pass

    def advance(self) -> float:
        """Give every part whose time has come its turn; return after how many seconds the next one's comes."""
        for name, part in self.parts.items():
            if self._next.get(name, 0.0) > self.clock.monotonic():
                continue
            try:
                pause = part.advance()
                self._told.pop(name, None)
            except ServiceUnavailable as error:
                return self._wait_for_the_database(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
                self._tell(name, error)
                pause = _AFTER_AN_ERROR_SECONDS
            self._next[name] = self.clock.monotonic() + pause
        if self._pause_seconds:
            self._pause_seconds = 0.0
            self.observe.back()
        return max(0.0, min(self._next.values(), default=1.0) - self.clock.monotonic())

    def _wait_for_the_database(self, error: ServiceUnavailable) -> float:
        if not self._pause_seconds:
            self.observe.away(error)
        self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        return self._pause_seconds

    def _tell(self, name: str, error: Exception) -> None:
        """Tell what is wrong with a part, once until it is something else."""
        text = str(error) if isinstance(error, PodiumError) else repr(error)
        if self._told.get(name) != text:
            self._told[name] = text
            self.observe.failed(name, error)
