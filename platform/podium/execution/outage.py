"""How long the database has been away, and when to try it again."""

from dataclasses import dataclass

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass
class Outage:
    """A database that does not answer, since `began` on the monotonic clock."""

    began: float
    _pause_seconds: float = _FIRST_PAUSE_SECONDS

    def seconds(self, now: float) -> float:
        """Return for how long."""
        return now - self.began

    def next_pause(self) -> float:
        """Return how long to wait before the next try: 0.1, 0.2, 0.4 … seconds, at most 2."""
        pause = self._pause_seconds
        self._pause_seconds = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return pause
