"""Intervals: half-open spans of data time, their texts, and the grains a pipeline retrains by."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from podium.errors import InvalidInterval

Grain = Literal["hour", "day", "week", "month", "year"]
GRAINS: tuple[Grain, ...] = get_args(Grain)

FORMS = "2013, 2013-03, 2013-03-05, 2013-03-05T06 or START..END (END exclusive)"

_MOMENT = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)(T(?P<hour>\d\d)"
    r"(:(?P<rest>\d\d(:\d\d(\.\d{1,6})?)?)(?P<offset>Z|[+-]\d\d:\d\d)?)?)?)?)?",
    re.ASCII,
)
_FORMS = ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, eq=False)
class Interval:
    """A half-open span of data time `[start, end)`, both aware and in one time zone.

    Two intervals are equal when they span the same instants, in whatever zone they are written. A naive
    datetime, or an end that is not after the start, raises InvalidInterval.

    >>> march = Interval.parse("2013-03", "America/New_York")
    >>> march.name, march.end.isoformat()
    ('2013-03', '2013-04-01T00:00:00-04:00')
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        zone = self.start.tzinfo
        if zone is None or self.end.tzinfo is None:
            raise InvalidInterval(
                f"The interval {self.start.isoformat()}..{self.end.isoformat()} has no time zone; give both "
                "of its datetimes a tzinfo."
            )
        if self.start.astimezone(UTC) >= self.end.astimezone(UTC):
            raise InvalidInterval(
                f"The interval {self.start.isoformat()}..{self.end.isoformat()} is empty: its end must lie "
                "after its start."
            )
        object.__setattr__(self, "end", self.end.astimezone(zone))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._instants == other._instants

    def __hash__(self) -> int:
        return hash(self._instants)

    def __str__(self) -> str:
        return self.name

    def __contains__(self, moment: datetime) -> bool:
        start, end = self._instants
        return start <= moment.astimezone(UTC) < end

    @property
    def _instants(self) -> tuple[datetime, datetime]:
        # Two datetimes of one zone compare by wall clock, which repeats an hour each autumn; UTC does not.
        return self.start.astimezone(UTC), self.end.astimezone(UTC)

    @property
    def name(self) -> str:
        """The shortest text that `parse` reads back as this interval in its zone, both sides in one form."""
        for form in _FORMS:
            first, second = _write(self.start, form), _write(self.end, form)
            if _reads_back(first, self.start):
                _, grain = _read(first, self.start.tzinfo) or (None, None)
                if grain and _following(self.start, grain).astimezone(UTC) == self.end.astimezone(UTC):
                    return first
                if _reads_back(second, self.end):
                    return f"{first}..{second}"
        return f"{self.start.isoformat()}..{self.end.isoformat()}"

    @classmethod
    def parse(cls, text: str, timezone: str | tzinfo = "UTC") -> Self:
        """Return the interval that `text` names in `timezone`; anything else raises InvalidInterval.

        Accepted are `2013`, `2013-03`, `2013-03-05`, `2013-03-05T06`, and `START..END` of any of these, END
        exclusive. A side may also have minutes, seconds and an offset (`2013-03-05T06:30-05:00`).

        >>> Interval.parse("2013-03-04..2013-03-11").name
        '2013-03-04..2013-03-11'
        """
        zone = timezone if isinstance(timezone, tzinfo) else time_zone(timezone)
        first, dots, second = text.partition("..")
        start, grain = _read(first, zone) or (None, None)
        if dots:
            end, _ = _read(second, zone) or (None, None)
        else:
            end = _following(start, grain) if start and grain else None
        if start is None or end is None:
            raise InvalidInterval(
                f"{text!r} names no interval in {zone} (nor does a time that its clocks skip); write {FORMS}."
            )
        if start.astimezone(UTC) >= end.astimezone(UTC):
            raise InvalidInterval(
                f"The interval {text} is empty: its end {second} is not after its start {first}. Write {FORMS}."
            )
        return cls(start, end)

    @classmethod
    def around(cls, moment: datetime, grain: Grain) -> Self:
        """Return the whole `grain` that an aware `moment` lies in, in its zone; weeks begin on Monday.

        >>> Interval.around(datetime(2013, 3, 5, 6, tzinfo=UTC), "week").name
        '2013-03-04..2013-03-11'
        """
        start = _at(_floor(moment, grain), moment.tzinfo)
        return cls(start, _following(start, grain))

    def to_document(self) -> dict[str, str]:
        """Return `{"start", "end"}` as ISO 8601 texts in UTC."""
        start, end = self._instants
        return {"start": _iso(start), "end": _iso(end)}

    @classmethod
    def from_document(cls, document: dict[str, Any], timezone: str | tzinfo = "UTC") -> Self:
        """Return the interval of a `to_document`, in `timezone`; InvalidInterval if it is malformed."""
        zone = timezone if isinstance(timezone, tzinfo) else time_zone(timezone)
        try:
            start, end = (datetime.fromisoformat(document[side]) for side in ("start", "end"))
        except (KeyError, TypeError, ValueError):
            raise InvalidInterval(
                f"{document!r} is no interval; it needs a start and an end in ISO 8601, as in 2013-03-01T05:00:00Z."
            ) from None
        if start.tzinfo is None or end.tzinfo is None:
            raise InvalidInterval(f"{document!r} is no interval: its times name no offset; end them in Z.")
        return cls(start.astimezone(zone), end.astimezone(zone))


def check_grain(interval: Interval, grain: Grain, pipeline: str) -> None:
    """Raise InvalidInterval unless `interval` is one whole `grain` of its calendar.

    >>> check_grain(Interval.parse("2013-03-05"), "month", "flight_delay")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    podium.errors.InvalidInterval: flight_delay retrains by month; 2013-03-05 is a day. Give one ...
    """
    wanted = Interval.around(interval.start, grain)
    if interval == wanted:
        return
    other = next((each for each in GRAINS if interval == Interval.around(interval.start, each)), None)
    fact = f"is {'an hour' if other == 'hour' else f'a {other}'}" if other else f"is not one whole {grain}"
    raise InvalidInterval(
        f"{pipeline} retrains by {grain}; {interval.name} {fact}. Give one whole {grain}, as {wanted.name}."
    )


def time_zone(name: str) -> ZoneInfo:
    """Return the time zone called `name` in the IANA database; an unknown one raises InvalidInterval."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or the name of a folder of zones
        raise InvalidInterval(f"{name!r} is no time zone; use an IANA name, as America/New_York or UTC.") from None


def _read(text: str, zone: tzinfo | None) -> tuple[datetime, Grain | None] | None:
    """Return the moment that `text` begins at and the grain of its form, if any; None if it has no moment."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    day = f"{part['year']}-{part['month'] or '01'}-{part['day'] or '01'}"
    padded = f"{day}T{part['hour'] or '00'}:{part['rest'] or '00'}"
    try:
        if part["offset"]:
            return datetime.fromisoformat(padded + part["offset"]).astimezone(zone), None
        wall = datetime.fromisoformat(padded)
        moment = _at(wall, zone)
    except (ValueError, OverflowError):
        return None
    if moment.date() != wall.date() or (part["hour"] and moment.time() != wall.time()):
        return None  # the zone's clocks skip this day or this time of day
    if part["rest"]:
        return moment, None
    return moment, "hour" if part["hour"] else "day" if part["day"] else "month" if part["month"] else "year"


def _at(wall: datetime, zone: tzinfo | None) -> datetime:
    """Return when a clock in `zone` shows `wall`; where it skips that time, the moment of the jump."""
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)


def _floor(moment: datetime, grain: Grain) -> datetime:
    """Return the wall time, without a zone but with its fold, at which the `grain` around `moment` begins."""
    hour = moment.replace(tzinfo=None, minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0, fold=0)
    match grain:
        case "hour":
            return hour
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def _following(start: datetime, grain: Grain) -> datetime:
    """Return the end of the grain that begins at `start`: by the calendar, but an hour by elapsed time."""
    wall, zone = _floor(start, grain), start.tzinfo
    try:
        match grain:
            case "hour":
                return (start.astimezone(UTC) + _HOUR).astimezone(zone)
            case "day":
                return _at(wall + timedelta(days=1), zone)
            case "week":
                return _at(wall + timedelta(days=7), zone)
            case "month":
                return _at((wall + timedelta(days=32)).replace(day=1), zone)
            case "year":
                return _at(wall.replace(year=wall.year + 1), zone)
    except (ValueError, OverflowError):
        raise InvalidInterval(
            f"The {grain} of {start.isoformat()} ends past the year 9999; use an earlier one."
        ) from None


def _reads_back(text: str, moment: datetime) -> bool:
    read = _read(text, moment.tzinfo)
    return read is not None and read[0].astimezone(UTC) == moment.astimezone(UTC)


def _write(moment: datetime, form: str) -> str:
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
