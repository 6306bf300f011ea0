"""The view of a backfill while it goes on: one live line at a terminal, now and then a plain one elsewhere."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from podium.cli import output
from podium.clock import Clock
from podium.execution.entities import Happening

_LOOK_SECONDS = 0.5
_SAY_SECONDS = 5.0
_BAR = 24

Counts = Mapping[str, int]


class BackfillProgress:
    """Shows how many intervals are done; `look` returns a backfill's counts, and is asked twice a second at most."""

    def __init__(self, label: str, clock: Clock, look: Callable[[], Counts]) -> None:
        self._label = label
        self._clock = clock
        self._look = look
        self._counts: Counts = look()
        self._began_at = self._looked_at = self._said_at = clock.monotonic()
        self._done_before = done(self._counts)
        console = output.progress_console()
        self._live = (
            Live(console=console, get_renderable=self._line, refresh_per_second=4, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is None:
            self._say()
        else:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def observe(self, happening: Happening) -> None:
        """Show what went wrong with a run, and how many are done by now."""
        subject, _, what = happening.kind.partition(".")
        if what == "failed" and subject not in ("step", "attempt"):
            text = f"failed: {happening.reason}" if subject == "run" else happening.reason
            self._print(f"{self._label}  run {happening.run_id} {text}")
        self.refresh()

    def refresh(self) -> None:
        """Look how many are done, if that was not done just now."""
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at, before = now, self._counts
        self._counts = self._look()
        if self._live is None and now - self._said_at >= _SAY_SECONDS and self._counts != before:
            self._say()

    def end(self) -> None:
        """Show how it stands at the end."""
        self._counts = self._look()
        if self._live is None:
            self._say()

    def _say(self) -> None:
        self._said_at = self._clock.monotonic()
        output.note(f"{self._label}  {self._told()}")

    def _print(self, text: str) -> None:
        if self._live is None:
            output.note(text)
        else:
            self._live.console.print(text, markup=False)

    def _line(self) -> Text:
        filled = _BAR * done(self._counts) // max(1, self._counts["total"])
        return Text(f"{self._label}  {'━' * filled}{'╌' * (_BAR - filled)}  {self._told()}")

    def _told(self) -> str:
        elapsed_seconds = self._clock.monotonic() - self._began_at
        return told(self._counts, self._done_before, elapsed_seconds)


def done(counts: Counts) -> int:
    """Return how many intervals have a run that ended."""
    return counts["total"] - counts["queued"] - counts["running"]


def told(counts: Counts, done_before: int, elapsed_seconds: float) -> str:
    """Return how far a backfill is in words; when `done_before` were done so many seconds ago, how long it still takes.

    >>> told({"total": 90, "queued": 60, "running": 4, "succeeded": 25, "failed": 1, "cancelled": 0}, 0, 52.0)
    '26 of 90 done, 1 failed, 4 running, about 2 min 8 s left'
    """
    parts = [f"{done(counts):,} of {counts['total']:,} done"]
    parts += [f"{counts[state]:,} {state}" for state in ("failed", "cancelled", "running") if counts[state]]
    left, by_now = counts["queued"] + counts["running"], done(counts) - done_before
    if left and by_now > 0:
        parts.append(f"about {output.seconds(max(1.0, float(round(left * elapsed_seconds / by_now))))} left")
    return ", ".join(parts)
