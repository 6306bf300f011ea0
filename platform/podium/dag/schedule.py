"""Schedules: what a pipeline says of when it retrains, and the ticks that come of it; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from podium.dag.exclusions import Exclusions, NoDay
from podium.dag.fires import Cron, Every, NoRule, Rule, comes_twice, next_change
from podium.dag.interval import Grain, Interval, time_zone
from podium.dag.options import OptionError, duration, seconds, texts
from podium.errors import InvalidInterval

Missed = Literal["skip", "last", "all"]
"""What becomes of ticks that nobody was there for: none of them runs, the newest, or all."""
MISSED: tuple[Missed, ...] = ("skip", "last", "all")

_EVERY = "every "
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""Whatever is due before has a time in each zone."""
_LONGEST_EXCLUDED = timedelta(days=50 * 366)
_LONGEST_SECONDS = 366 * 86_400.0
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """When a pipeline retrains: `@pipeline(schedule=Schedule("0 0 * * *", delay="2h", exclude=("sun",)))`.

    Either five fields of `cron` on the clock of the pipeline's time zone, or `every` so long. Each tick is about the
    last whole interval of the pipeline's grain that has ended by then, and runs `delay` later, plus a part of `jitter`
    that is the pipeline's own, so that not all start at once. `exclude` names days without a tick: `sat`, `12-25`,
    `2026-12-24..2027-01-02`, `holidays:US`. Of ticks that were missed, `missed` says which run ("skip", "last",
    "all"); of "all", the newest `missed_limit`.
    """

    cron: str | None = None
    every: str | float | None = None
    delay: str | float | None = None
    jitter: str | float | None = None
    exclude: tuple[str, ...] = ()
    missed: Missed = "last"
    missed_limit: int = 100


@dataclass(frozen=True)
class Timing:
    """What a plan says of its schedule beside the rule: see `Schedule`."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    exclude: tuple[str, ...] = ()
    missed: Missed = "last"
    missed_limit: int = 100


@dataclass(frozen=True)
class Tick:
    """One moment of a schedule: `at` in its zone, the interval it is about, and when it is acted on, in UTC."""

    at: datetime
    due_at: datetime
    interval: Interval


@dataclass(frozen=True)
class Ticks:
    """The ticks of one pipeline's schedule."""

    rule: Rule
    zone: ZoneInfo
    grain: Grain
    exclusions: Exclusions
    offset: timedelta
    """How long after its moment a tick is acted on."""

    @classmethod
    def of(cls, pipeline: str, schedule: str, timezone: str, grain: Grain, timing: Timing) -> Self:
        """Return the ticks of what a plan says; it was checked when the pipeline was defined."""
        zone = time_zone(timezone)
        offset = timing.delay_seconds + timing.jitter_seconds * _share(pipeline)
        return cls(_rule(schedule, zone), zone, grain, Exclusions(timing.exclude, zone), timedelta(seconds=offset))

    def after(self, moment: datetime) -> Tick | None:
        """Return the first tick behind an aware `moment`; None if there is none in 50 years, or by the year 9999."""
        try:
            return self._after(moment)
        except (OverflowError, InvalidInterval):  # the calendar ends before it is due, or before its interval's grain
            return None

    def _after(self, moment: datetime) -> Tick | None:
        since = moment
        while True:
            fire = self.rule.after(moment)
            if fire is None:
                return None
            due_at = fire + self.offset
            if due_at >= _NEVER:
                return None
            local = fire.astimezone(self.zone)
            if local.date() not in self.exclusions:
                return Tick(local, due_at, interval_before(local, self.grain))
            if fire - since > _LONGEST_EXCLUDED:
                return None  # all of its days are excluded
            tomorrow = datetime.combine(local.date() + _DAY, time(), self.zone).astimezone(UTC)
            moment = max(fire, tomorrow - _MICROSECOND)

    def due(self, after: datetime, now: datetime) -> Iterator[Tick]:
        """Yield the ticks behind `after` that are due by `now`, in order."""
        tick = self.after(after)
        while tick is not None and tick.due_at <= now:
            yield tick
            tick = self.after(tick.at)

    def newest_due(self, after: datetime, now: datetime, count: int) -> list[Tick]:
        """Return the newest `count` of the ticks that `due` yields, in order, without making all those before."""
        span = timedelta(hours=1)
        while True:
            since = max(after, now - self.offset - span)
            found = list(self.due(since, now))
            if len(found) >= count or since == after:
                return found[len(found) - count :] if count < len(found) else found
            span *= 4

    def note(self, tick: Tick, before: datetime | None) -> str | None:
        """Return what a change of the clocks means for a tick, the one before having been at `before`."""
        notes = []
        wall = tick.at.replace(tzinfo=None, fold=0)
        jump = next_change(tick.at.astimezone(UTC) - _MICROSECOND, self.zone, until=tick.at.astimezone(UTC))
        if jump is not None and isinstance(self.rule, Cron) and not self._is_shown(wall):
            notes.append("its time is skipped on this day: it fires when the clocks jump")
        elif comes_twice(wall, self.zone):
            which = "second" if tick.at.fold else "first"
            notes.append(f"{wall:%H:%M} comes twice on this day: this is the {which}")
        if before is not None and before.utcoffset() != tick.at.utcoffset():
            notes.append(f"the clocks were changed: UTC{before:%z} before, UTC{tick.at:%z} now")
        return "; ".join(notes) or None

    def _is_shown(self, wall: datetime) -> bool:
        """Tell whether the rule itself names the time."""
        assert isinstance(self.rule, Cron)  # noqa: S101 - the caller's condition
        named = Cron(self.rule.expression, ZoneInfo("UTC")).after(wall.replace(tzinfo=UTC) - timedelta(seconds=1))
        return named == wall.replace(tzinfo=UTC)


def interval_before(moment: datetime, grain: Grain) -> Interval:
    """Return the last whole `grain` of its zone's calendar that has ended by an aware `moment`.

    >>> interval_before(datetime(2013, 3, 1, 6, tzinfo=UTC), "month").name
    '2013-02'
    """
    found = Interval.around(moment, grain)
    while True:
        found = Interval.around((found.start.astimezone(UTC) - _MICROSECOND).astimezone(moment.tzinfo), grain)
        if found.end.astimezone(UTC) <= moment.astimezone(UTC):  # not so where clocks change by a part of an hour
            return found


def read_schedule(given: Any, *, pipeline: str, timezone: str, grain: Grain) -> tuple[str | None, Timing]:
    """Return a `schedule` option as plans say it: the rule, and the rest; OptionError where it is none, or never."""
    if given is None:
        return None, Timing()
    schedule = Schedule(cron=given) if isinstance(given, str) else given
    if not isinstance(schedule, Schedule):
        raise OptionError(f"schedule={given!r} is neither five fields of cron, as '0 6 1 * *', nor a Schedule(…).")
    if (schedule.cron is None) == (schedule.every is None):
        raise OptionError("schedule=Schedule(…) takes either cron='0 6 1 * *' or every='6h'; give one of them.")
    rule = schedule.cron if schedule.every is None else _EVERY + duration(_whole_seconds(schedule.every))
    if not isinstance(rule, str):
        raise OptionError(f"schedule={rule!r} is no text; write five fields of cron, as '0 6 1 * *'.")
    if schedule.missed not in MISSED:
        raise OptionError(f"missed={schedule.missed!r} of Schedule is not one of {', '.join(MISSED)}.")
    limit = schedule.missed_limit
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 1000:
        raise OptionError(f"missed_limit={limit!r} of Schedule is no whole number from 1 to 1000.")
    timing = Timing(
        delay_seconds=0.0 if schedule.delay is None else _at_most_a_year("delay", schedule.delay),
        jitter_seconds=0.0 if schedule.jitter is None else _at_most_a_year("jitter", schedule.jitter),
        exclude=texts("exclude", schedule.exclude, "sun"),
        missed=schedule.missed,
        missed_limit=limit,
    )
    try:
        first = Ticks.of(pipeline, rule, timezone, grain, timing).after(_FIRST)
    except NoRule as error:
        raise OptionError(f"schedule={rule!r} is no schedule: {error}. Write five fields, as '0 6 1 * *'.") from None
    except NoDay as error:
        raise OptionError(f"exclude={schedule.exclude!r} of Schedule: {error}.") from None
    if first is None:
        days = f" on a day that exclude={schedule.exclude!r} leaves" if schedule.exclude else ""
        raise OptionError(f"schedule={rule!r} never fires{days}: no such day comes. Correct it.")
    return rule, timing


def _at_most_a_year(name: str, value: Any) -> float:
    given = seconds(name, value)
    if given > _LONGEST_SECONDS:
        raise OptionError(f"{name}={value!r} of Schedule is more than 366 days; give a shorter one.")
    return given


def _whole_seconds(every: Any) -> float:
    given = _at_most_a_year("every", every)
    if given < 1 or given != int(given):
        raise OptionError(f"every={every!r} of Schedule is no whole number of seconds; give at least '1s'.")
    return given


def _rule(text: str, zone: ZoneInfo) -> Rule:
    if text.startswith(_EVERY):
        return Every(int(seconds("every", text.removeprefix(_EVERY))))
    return Cron(text, zone)


def _share(pipeline: str) -> float:
    """Return a number from 0 to 1 that is the pipeline's own, always the same."""
    from podium.ids import digest_bytes  # hashlib, which authoring does without

    return int(digest_bytes(pipeline.encode())[:8], 16) / 2**32
