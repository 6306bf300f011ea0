"""Missed ticks: which of those that are due still run, by the schedule's policy; pure.

A tick is late when it is found more than a minute after it was due: nobody was there for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from podium.dag.schedule import Missed, Tick, Ticks

LATE = timedelta(seconds=60)

_COUNTED = 1_000
_BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True)
class Stretch:
    """Ticks in a row that do not run, the first and the last of them; `count` is None where they are too many."""

    first: Tick
    last: Tick
    count: int | None


@dataclass(frozen=True)
class Decision:
    """What becomes of the ticks that are due: a stretch of missed ones, and then those that run, in order."""

    missed: Stretch | None
    run: Sequence[Tick]

    @property
    def last(self) -> Tick | None:
        """The last tick that is decided about."""
        return self.run[-1] if self.run else self.missed.last if self.missed else None


def decide(ticks: Ticks, since: datetime, now: datetime, missed: Missed, limit: int) -> Decision:
    """Decide about the ticks from the one at `since` on that are due by `now`.

    What is not late runs in any case. Of late ticks none runs under `skip`; under `last` the newest, unless one behind
    it is not late; under `all` the newest `limit`.
    """
    due = list(islice(ticks.due(since - _BEFORE, now), _COUNTED + 1))
    is_whole = len(due) <= _COUNTED
    kept = {"skip": 0, "last": 1, "all": limit}[missed]
    newest = due if is_whole else ticks.newest_due(since - _BEFORE, now, kept + _COUNTED)
    late = [tick for tick in newest if tick.due_at <= now - LATE]
    on_time = newest[len(late) :]
    if missed == "last" and on_time:
        kept = 0
    run = [*late[len(late) - min(kept, len(late)) :], *on_time]
    passed_over = late[: len(late) - min(kept, len(late))]
    if not passed_over:
        return Decision(None, run)
    first = due[0]
    count = len(passed_over) if is_whole else None
    return Decision(Stretch(first, passed_over[-1], count), run)
