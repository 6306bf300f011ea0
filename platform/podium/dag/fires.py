"""When a rule fires: cron on the clock of a time zone, or a fixed interval of elapsed time; pure.

The fields of cron are read by cronsim, on a clock without changes. What becomes of them where a zone's clocks are
changed is decided here, by the rule of Debian's cron:

- A rule of fixed times (neither its minutes nor its hours begin with `*`) fires once a day at each of its times: at a
  time that the clocks skip, when they jump; at one that comes twice, the first time.
- A rule of repeated times (`*/15 * * * *`) fires whenever the clock shows one of its times: never at a time that is
  skipped, and twice at one that comes twice.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_SCAN = timedelta(hours=3)
"""No zone of the tz database changes its clocks twice within so short a time."""


class NoRule(ValueError):
    """The text is no rule: states the fact."""


@dataclass(frozen=True)
class Every:
    """A fixed interval of elapsed time, counted from 1970 in UTC: the same moments for whoever asks."""

    seconds: int

    def after(self, moment: datetime) -> datetime | None:
        """Return the first fire behind an aware `moment`, in UTC; None past the year 9999."""
        passed = int(moment.timestamp() // self.seconds)
        try:
            return datetime.fromtimestamp((passed + 1) * self.seconds, UTC)
        except (OverflowError, ValueError):  # which of them depends on the platform
            return None


@dataclass(frozen=True)
class Cron:
    """Five fields of cron on the clock of a zone; a text that has not these fields raises NoRule."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if len(self.expression.split()) != 5:
            raise NoRule("it has not the five fields of cron")
        from cronsim import CronSimError  # authoring alone imports nothing but the standard library

        try:
            self._walls(datetime(2000, 1, 1))  # noqa: DTZ001 - a wall time
        except CronSimError as error:
            raise NoRule(f"cron cannot read its {str(error).removeprefix('Bad ')}") from None

    @property
    def is_of_fixed_times(self) -> bool:
        """Whether it names times of the day, rather than repeating by the clock."""
        minutes, hours, *_ = self.expression.split()
        return not (minutes.startswith("*") or hours.startswith("*"))

    def after(self, moment: datetime) -> datetime | None:
        """Return the first fire behind an aware `moment`, in UTC; None if there is none within 50 years, or by 9999."""
        utc = moment.astimezone(UTC)
        try:
            return self._fixed_after(utc) if self.is_of_fixed_times else self._repeated_after(utc)
        except OverflowError:  # the calendar ends before the next one
            return None

    def _fixed_after(self, moment: datetime) -> datetime | None:
        # No time of the clock before this one can fire behind it: what is skipped fires early, what is repeated once.
        for wall in self._walls(_wall(moment, self.zone)):
            fire = shown_first(wall, self.zone)
            if fire > moment:
                return fire
        return None

    def _repeated_after(self, moment: datetime) -> datetime | None:
        wall = _wall(moment, self.zone)
        while True:
            shown = next(self._walls(wall), None)
            if shown is None:
                return None
            offset = _offset(moment, self.zone)
            fire = shown.replace(tzinfo=UTC) - offset
            change = next_change(moment, self.zone, until=fire)
            if change is None:
                return fire
            # From the change on the clock shows other times, maybe again; what it shows at once counts.
            moment, wall = change, _wall(change, self.zone) - _SECOND

    def _walls(self, after: datetime) -> Iterator[datetime]:
        from cronsim import CronSim

        return CronSim(self.expression, after)


Rule = Cron | Every


def shown_first(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when, in UTC, a clock in `zone` first shows the time `wall`; if it skips that, when it jumps over it."""
    first = wall.replace(tzinfo=zone, fold=0)
    moment = first.astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    second = wall.replace(tzinfo=zone, fold=1)
    before, after = second.astimezone(UTC), moment  # PEP 495: within a gap, the jump lies between the two
    return _first_with(_offset(after, zone), before, after, zone)


def comes_twice(wall: datetime, zone: ZoneInfo) -> bool:
    """Tell whether a clock in `zone` shows the time `wall` twice."""
    first = wall.replace(tzinfo=zone, fold=0)
    return first.utcoffset() > wall.replace(tzinfo=zone, fold=1).utcoffset()  # type: ignore[operator]


def next_change(moment: datetime, zone: ZoneInfo, *, until: datetime) -> datetime | None:
    """Return when, behind `moment` and not behind `until`, the clocks of `zone` are changed first; in UTC."""
    for year in range(moment.year, until.year + 1):
        for change in _changes(zone, year):
            if moment < change <= until:
                return change
    return None


@functools.lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return when the clocks of `zone` are changed in a year of UTC."""
    if zone.key == "UTC":
        return ()
    found = []
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    # The first and the last day of all have no time of their own in each zone.
    at = at + _DAY if year == MINYEAR else at - _SECOND
    end = end - _DAY if year == MAXYEAR else end
    offset = _offset(at, zone)
    while at < end:
        later = min(at + _SCAN, end)
        changed = _offset(later, zone)
        if changed != offset:
            found.append(_first_with(changed, at, later, zone))
        at, offset = later, changed
    return tuple(found)


def _first_with(offset: timedelta, before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second behind `before` with an offset that a zone has at `after`, and not at `before`."""
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(before + middle * _SECOND, zone) == offset:
            high = middle
        else:
            low = middle
    return before + high * _SECOND


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - a zone has one at each moment
    return offset


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what a clock in `zone` shows at a moment, without saying for which time."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)
