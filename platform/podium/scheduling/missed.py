"""Missed ticks: which of those that are due still run, by the schedule's policy, and which are decided about already.

A tick is late when it is found more than a minute after it was due: nobody was there for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import sqlalchemy as sa

from podium.dag.schedule import Missed, Tick, Ticks
from podium.db.prepared import Prepared
from podium.db.schema import schedule_tick

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


def last_decided(connection: sa.Connection, pipeline: str, now: datetime) -> datetime | None:
    """Return the last tick of a pipeline that was decided about by `now`.

    What was decided behind `now` was decided by a clock that was ahead, and says nothing of the ticks between.
    """
    row = _LAST_DECIDED.first(connection, {"of_pipeline": pipeline, "now": now})
    return None if row is None else row[0]


def undecided_after(connection: sa.Connection, pipeline: str, ticks: Ticks, moment: datetime) -> Tick | None:
    """Return the first tick behind `moment` without a fate on record: a clock that was ahead may have decided some."""
    tick = ticks.after(moment)
    while tick is not None and _FATE.first(connection, {"of_pipeline": pipeline, "at": tick.at}) is not None:
        tick = ticks.after(tick.at)
    return tick


_OF_PIPELINE = schedule_tick.c.pipeline == sa.bindparam("of_pipeline")
_LAST = sa.func.coalesce(schedule_tick.c.until, schedule_tick.c.tick_at, type_=schedule_tick.c.tick_at.type)
_LAST_DECIDED = Prepared(
    sa.select(_LAST)
    .where(_OF_PIPELINE, schedule_tick.c.decided_at <= sa.bindparam("now"))
    .order_by(schedule_tick.c.tick_at.desc())
    .limit(1)
)
_FATE = Prepared(sa.select(schedule_tick.c.fate).where(_OF_PIPELINE, schedule_tick.c.tick_at == sa.bindparam("at")))
