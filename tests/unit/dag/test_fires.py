"""Fires of cron over every zone and its changes of the clock, against a clock that is looked at minute by minute."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.fires import Cron, Every, NoRule

MINUTE = timedelta(minutes=1)
AROUND = timedelta(hours=5)
ZONES = sorted(name for name in available_timezones() if not name.startswith(("posix/", "right/")))
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
NEW_YORK = ZoneInfo("America/New_York")

# Hours that zones skip or repeat are among these: most at night, some at midnight, whole days in Samoa.
FIXED = ("0 0 * * *", "30 1,2,3 * * *", "0,15,59 0-3 * * *", "17 23 * * *", "0 12 * * *", "45 0 1,29,30,31 * *")
REPEATED = ("*/15 * * * *", "*/20 0-3 * * *", "5 * * * *", "0 */2 * * *", "*/30 2 * * sun", "*/10 23,0 * * *")


@dataclass(frozen=True)
class Window:
    """The time around one change of the clocks, and what they show at each of its minutes."""

    zone: ZoneInfo
    start: datetime
    walls: list[tuple[datetime, datetime]]  # moment in UTC, time on the clock

    @property
    def end(self) -> datetime:
        return self.walls[-1][0]


def offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


def windows(zone: ZoneInfo, year: int) -> Iterator[Window]:
    """Yield the time around each change of a year."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        later = at + timedelta(hours=6)
        if offset(at, zone) != offset(later, zone):
            start = at - AROUND
            moments = [start + n * MINUTE for n in range(int((2 * AROUND + later - at) / MINUTE))]
            walls = [(moment, moment.astimezone(zone).replace(tzinfo=None, fold=0)) for moment in moments]
            yield Window(zone, start, walls)
        at = later


def matches(expression: str, wall: datetime) -> bool:
    """Read the few forms that are used here, without cronsim."""
    minutes, hours, days, _, weekdays = expression.split()
    return (
        wall.minute in numbers(minutes, 60)
        and wall.hour in numbers(hours, 24)
        and wall.day in numbers(days, 32)
        and (weekdays == "*" or wall.weekday() == 6)
    )


def numbers(field: str, end: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        first, _, step = part.partition("/")
        low, _, high = first.partition("-")
        span = range(end) if first == "*" else range(int(low), int(high or low) + 1)
        found |= set(span[:: int(step or 1)])
    return found


def expected(expression: str, window: Window) -> list[datetime]:
    """Return the fires in a window by the documented rule."""
    if expression.split()[0].startswith("*") or expression.split()[1].startswith("*"):
        return [moment for moment, wall in window.walls if matches(expression, wall)]
    shown: dict[datetime, datetime] = {}
    for moment, wall in window.walls:
        shown.setdefault(wall, moment)
    fires = {moment for wall, moment in shown.items() if matches(expression, wall)}
    for (_, before), (moment, after) in pairwise(window.walls):
        skipped = [before + n * MINUTE for n in range(1, int((after - before) / MINUTE))]
        if any(matches(expression, wall) for wall in skipped):
            fires.add(moment)
    return sorted(fires)


def found(expression: str, window: Window) -> list[datetime]:
    """Return the fires that asking again and again gives, from each fire to the next."""
    cron, fires = Cron(expression, window.zone), []
    fire = cron.after(window.start - timedelta(seconds=1))
    while fire is not None and fire <= window.end:
        fires.append(fire)
        fire = cron.after(fire)
    return fires


@pytest.mark.parametrize("year", [2011, 2024])
def test_no_fire_is_missing_or_doubled_at_any_change_of_any_zone(year: int) -> None:
    clocks = {}  # what they show tells them apart: zones that are changed in the same way are tried once
    for name in ZONES:
        for window in windows(ZoneInfo(name), year):
            clocks[window.walls[0], window.walls[-1]] = window
    assert len(clocks) > 40
    for window in clocks.values():
        for expression in (*FIXED, *REPEATED):
            assert found(expression, window) == expected(expression, window), (window.zone, window.start, expression)


@given(
    name=st.sampled_from(ZONES),
    expression=st.sampled_from([*FIXED, *REPEATED]),
    moment=MOMENTS,
)
def test_fires_only_ever_go_on_and_asking_at_any_moment_between_two_gives_the_later(
    name: str, expression: str, moment: datetime
) -> None:
    cron = Cron(expression, ZoneInfo(name))
    first = cron.after(moment)
    assert first is not None
    assert first > moment
    second = cron.after(first)
    assert second is not None
    assert second > first
    assert cron.after(first + (second - first) / 2) == second
    assert cron.after(first - timedelta(microseconds=1)) == first


def test_a_fixed_time_that_the_clocks_skip_fires_when_they_jump_and_one_that_comes_twice_fires_once() -> None:
    cron = Cron("30 2 * * *", NEW_YORK)
    jump = cron.after(datetime(2026, 3, 8, 5, tzinfo=UTC))
    assert jump == datetime(2026, 3, 8, 7, tzinfo=UTC)  # 02:30 is not shown, 03:00 is
    assert cron.after(jump) == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)
    cron = Cron("30 1 * * *", NEW_YORK)
    first = cron.after(datetime(2026, 11, 1, 4, tzinfo=UTC))
    assert first == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert cron.after(first) == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


def test_a_repeated_time_is_left_out_where_the_clocks_skip_it_and_fires_twice_where_it_comes_twice() -> None:
    cron = Cron("*/30 1-2 * * *", NEW_YORK)
    march = [datetime(2026, 3, 8, 6, tzinfo=UTC), datetime(2026, 3, 8, 6, 30, tzinfo=UTC)]
    assert list(fires(cron, datetime(2026, 3, 8, 4, tzinfo=UTC), 2)) == march
    november = [datetime(2026, 11, 1, 5, tzinfo=UTC) + n * timedelta(minutes=30) for n in range(6)]
    assert list(fires(cron, datetime(2026, 11, 1, 3, tzinfo=UTC), 6)) == november


def test_a_day_that_a_zone_skips_whole_has_one_fire_when_it_jumps() -> None:
    cron = Cron("0 6 30 12 *", ZoneInfo("Pacific/Apia"))  # Samoa had no 30 December 2011
    fire = cron.after(datetime(2011, 12, 1, tzinfo=UTC))
    assert fire == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert fire.astimezone(ZoneInfo("Pacific/Apia")).isoformat() == "2011-12-31T00:00:00+14:00"


def test_a_rare_date_is_found_decades_ahead() -> None:
    assert Cron("0 0 29 2 *", ZoneInfo("UTC")).after(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(
        2104, 2, 29, tzinfo=UTC
    )


@given(seconds=st.integers(1, 10**7), moment=MOMENTS)
def test_a_fixed_interval_is_the_same_for_whoever_asks(seconds: int, moment: datetime) -> None:
    fire = Every(seconds).after(moment)
    assert fire is not None
    assert moment < fire <= moment + timedelta(seconds=seconds)
    assert int(fire.timestamp()) % seconds == 0
    assert Every(seconds).after(fire) == fire + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "daily", "@daily", "0 6 * *", "0 0 6 * * *", "61 * * * *", "0 0 31 2 *", "a b c d e"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(NoRule):
        Cron(text, NEW_YORK)


def fires(cron: Cron, moment: datetime, count: int) -> Iterator[datetime]:
    for _ in range(count):
        fire = cron.after(moment)
        assert fire is not None
        yield fire
        moment = fire
