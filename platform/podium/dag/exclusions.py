"""Days on which a schedule does not fire: weekdays, dates of each year, spans of dates, a country's holidays; pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from podium.dag.interval import Interval
from podium.errors import InvalidInterval

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_YEARLY = re.compile(r"(\d\d)-(\d\d)", re.ASCII)
_HOLIDAYS = re.compile(r"holidays:([A-Z]{2})(?:-([A-Z0-9]{1,3}))?", re.ASCII)

FORMS = "sat, 12-25, 2026-12-24, 2026-12-24..2027-01-02 (END exclusive) or holidays:US"


class NoDay(ValueError):
    """The text names no days: states the fact."""


@dataclass(frozen=True)
class Exclusions:
    """Days by their names, on the calendar of a zone; a text that names none raises NoDay when it is first asked."""

    texts: tuple[str, ...]
    zone: ZoneInfo

    def __contains__(self, day: date) -> bool:
        return any(names(day) for names in self._parts)

    @cached_property
    def _parts(self) -> list[Callable[[date], bool]]:
        return [self._part(text) for text in self.texts]

    def _part(self, text: str) -> Callable[[date], bool]:
        if text in _WEEKDAYS:
            weekday = _WEEKDAYS.index(text)
            return lambda day: day.weekday() == weekday
        if yearly := _YEARLY.fullmatch(text):
            month, number = int(yearly[1]), int(yearly[2])
            try:
                date(2000, month, number)  # a leap year
            except ValueError:
                raise NoDay(f"{text!r} is no day of a year") from None
            return lambda day: (day.month, day.day) == (month, number)
        if country := _HOLIDAYS.fullmatch(text):
            holidays = _holidays(country[1], country[2])
            return lambda day: day in holidays
        try:
            span = Interval.parse(text, self.zone)
        except InvalidInterval:
            raise NoDay(f"{text!r} names no days; write {FORMS}") from None
        return lambda day: datetime.combine(day, time(), self.zone) in span


def _holidays(country: str, part: str | None) -> Any:
    try:
        from holidays import country_holidays
    except ImportError:
        raise NoDay(
            f"'holidays:{country}' needs the package holidays, which is not installed; run "
            "pip install 'podium[calendars]'"
        ) from None
    try:
        return country_holidays(country, subdiv=part)
    except NotImplementedError as error:
        raise NoDay(f"the package holidays knows none of {country}{f'-{part}' if part else ''} ({error})") from None
