"""Ticks: which interval each is about, when it is acted on, on which days there is none, what changes of clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.exclusions import Exclusions, NoDay
from podium.dag.interval import GRAINS, Grain, Interval
from podium.dag.schedule import Schedule, Tick, Ticks, Timing, interval_before, read_schedule

NEW_YORK = "America/New_York"
ZONES = ["UTC", NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = ["0 2 * * *", "*/7 * * * *", "30 1,2 * * *", "0 6 1 * *", "0 12 * * mon-fri", "every 6h", "every 90s"]


def ticks_of(
    schedule: str, timezone: str = "UTC", grain: Grain = "day", pipeline: str = "p", **timing: object
) -> Ticks:
    return Ticks.of(pipeline, schedule, timezone, grain, Timing(**timing))  # type: ignore[arg-type]


def first(ticks: Ticks, moment: str) -> Tick:
    found = ticks.after(datetime.fromisoformat(moment))
    assert found is not None
    return found


def test_a_tick_is_about_the_last_whole_interval_that_has_ended() -> None:
    assert first(ticks_of("0 6 1 * *", grain="month"), "2013-02-20T00:00Z").interval.name == "2013-02"
    assert first(ticks_of("0 0 * * *"), "2013-02-20T00:00Z").interval.name == "2013-02-20"
    assert first(ticks_of("30 14 * * *"), "2013-02-20T00:00Z").interval.name == "2013-02-19"
    assert first(ticks_of("15 * * * *", grain="hour"), "2013-02-20T06:20Z").interval.name == "2013-02-20T06"
    assert first(ticks_of("0 9 * * wed", grain="week"), "2013-02-18T00:00Z").interval.name == "2013-02-11..2013-02-18"


def test_a_delay_moves_when_a_tick_is_acted_on_and_not_what_it_is_about() -> None:
    tick = first(ticks_of("0 0 * * *", NEW_YORK, delay_seconds=7200.0), "2013-03-05T12:00-05:00")
    assert tick.interval.name == "2013-03-05"
    assert tick.at.isoformat() == "2013-03-06T00:00:00-05:00"
    assert tick.due_at == datetime(2013, 3, 6, 7, tzinfo=UTC)


def test_jitter_is_a_part_of_its_length_that_is_the_pipelines_own() -> None:
    offsets = {
        name: ticks_of("0 0 * * *", pipeline=name, jitter_seconds=600.0).offset for name in map("p{}".format, range(40))
    }
    assert all(timedelta(0) <= offset < timedelta(minutes=10) for offset in offsets.values())
    assert len(set(offsets.values())) == 40
    assert max(offsets.values()) - min(offsets.values()) > timedelta(minutes=8)
    assert offsets["p1"] == ticks_of("*/5 * * * *", pipeline="p1", jitter_seconds=600.0).offset


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("sat", "2026-11-28", "2026-11-27"),
        ("12-25", "2026-12-25", "2026-12-24"),
        ("2026-12-24..2027-01-02", "2027-01-01", "2027-01-02"),
        ("2026-12", "2026-12-01", "2026-11-30"),
        ("holidays:US", "2026-11-26", "2026-11-25"),
        ("holidays:US-CA", "2026-03-31", "2026-03-30"),
    ],
)
def test_days_are_excluded_by_name_by_date_by_span_and_as_a_countrys_holidays(
    text: str, inside: str, outside: str
) -> None:
    excluded = Exclusions((text,), ZoneInfo(NEW_YORK))
    assert datetime.fromisoformat(inside).date() in excluded
    assert datetime.fromisoformat(outside).date() not in excluded


@pytest.mark.parametrize(
    "text", ["", "saturday", "13-01", "02-30", "2026-13", "holidays:us", "holidays:ZZ", "holidays:US-Q9"]
)
def test_what_names_no_day_is_refused(text: str) -> None:
    with pytest.raises(NoDay):
        _ = datetime(2026, 1, 1, tzinfo=UTC).date() in Exclusions((text,), ZoneInfo("UTC"))


def test_the_day_that_counts_is_that_of_the_schedules_zone() -> None:
    ticks = ticks_of("0 22 * * *", NEW_YORK, exclude=("sat", "sun"))  # in UTC Friday's tick is on Saturday
    fires = [first(ticks, "2026-11-25T12:00Z")]
    fires.append(first(ticks, fires[0].at.isoformat()))
    fires.append(first(ticks, fires[1].at.isoformat()))
    assert [f"{tick.at:%a}" for tick in fires] == ["Wed", "Thu", "Fri"]
    assert f"{first(ticks, fires[2].at.isoformat()).at:%a}" == "Mon"


def test_years_of_excluded_days_end_in_no_tick_at_all() -> None:
    weekdays = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    assert ticks_of("*/5 * * * *", exclude=weekdays).after(datetime(2026, 1, 1, tzinfo=UTC)) is None


@given(
    text=st.sampled_from(TEXTS),
    zone=st.sampled_from(ZONES),
    grain=st.sampled_from(GRAINS),
    moment=MOMENTS,
    delay=st.sampled_from([0.0, 1.5, 7200.0, 200_000.0]),
    exclude=st.sampled_from([(), ("sun",), ("sat", "sun", "01-01")]),
)
def test_every_tick_is_later_than_the_one_before_on_a_day_that_counts_about_what_has_ended(
    text: str, zone: str, grain: Grain, moment: datetime, delay: float, exclude: tuple[str, ...]
) -> None:
    ticks = ticks_of(text, zone, grain, delay_seconds=delay, exclude=exclude)
    before = moment
    for _ in range(4):
        tick = ticks.after(before)
        assert tick is not None
        assert tick.at > before
        assert tick.due_at == tick.at.astimezone(UTC) + timedelta(seconds=delay)
        assert tick.at.date() not in Exclusions(exclude, ZoneInfo(zone))
        assert tick.interval.end.astimezone(UTC) <= tick.at.astimezone(UTC)
        assert Interval.around(tick.interval.end, grain).end.astimezone(UTC) > tick.at.astimezone(UTC)
        assert tick.interval == Interval.around(tick.interval.start, grain)
        before = tick.at


@given(
    text=st.sampled_from(TEXTS),
    zone=st.sampled_from(ZONES),
    after=MOMENTS,
    hours=st.integers(0, 60),
    count=st.integers(1, 5),
    delay=st.sampled_from([0.0, 7200.0]),
)
def test_the_newest_ticks_are_the_last_of_all_that_are_due(
    text: str, zone: str, after: datetime, hours: int, count: int, delay: float
) -> None:
    ticks = ticks_of(text, zone, delay_seconds=delay)
    now = after + timedelta(hours=hours)
    assert ticks.newest_due(after, now, count) == list(ticks.due(after, now))[-count:]


def test_the_newest_tick_of_a_minutely_schedule_after_ten_years_is_found_without_all_the_others() -> None:
    ticks = ticks_of("* * * * *")
    now = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
    (newest,) = ticks.newest_due(now - timedelta(days=3650), now, 1)
    assert newest.at == now.replace(second=0)


def test_the_interval_before_a_moment_is_whole_on_the_calendar_of_its_zone() -> None:
    first_of_march = datetime(2013, 3, 1, tzinfo=ZoneInfo(NEW_YORK))
    assert interval_before(first_of_march, "month") == Interval.parse("2013-02", NEW_YORK)
    after_the_jump = datetime(2026, 3, 8, 3, tzinfo=ZoneInfo(NEW_YORK))
    assert interval_before(after_the_jump, "hour") == Interval.parse("2026-03-08T01", NEW_YORK)


def notes(ticks: Ticks, moment: str, count: int) -> list[str | None]:
    found, before = [], None
    at = datetime.fromisoformat(moment)
    for _ in range(count):
        tick = ticks.after(at)
        assert tick is not None
        found.append(ticks.note(tick, before))
        before = at = tick.at
    return found


@pytest.mark.parametrize("zone", ["Pacific/Chatham", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu"])
def test_no_hour_is_retrained_for_before_it_has_ended_where_clocks_change_by_a_part_of_an_hour(zone: str) -> None:
    ticks, at = ticks_of("*/15 * * * *", zone, "hour"), datetime(2026, 1, 1, tzinfo=UTC)
    for month in (4, 9, 10, 11, 3):
        at = datetime(2026, month, 1, tzinfo=UTC)
        for _ in range(15 * 96):
            tick = ticks.after(at)
            assert tick is not None
            assert tick.interval.end.astimezone(UTC) <= tick.at.astimezone(UTC)
            at = tick.at.astimezone(UTC)


def test_a_rare_day_that_is_excluded_for_decades_comes_all_the_same() -> None:
    tick = ticks_of("0 0 29 2 *", exclude=("thu", "tue", "sun")).after(datetime(2020, 3, 1, tzinfo=UTC))
    assert tick is not None
    assert tick.at.year == 2036


def test_a_rule_that_fires_once_in_many_years_is_no_mistake() -> None:
    for exclude, year in ((("tue", "sun", "fri"), 2012), (("thu", "tue", "sun"), 2008)):
        given = Schedule("0 0 29 2 *", exclude=exclude)
        rule, timing = read_schedule(given, pipeline="p", timezone="UTC", grain="day")
        assert rule is not None
        assert first(Ticks.of("p", rule, "UTC", "day", timing), "2000-01-01T00:00Z").at.year == year


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, "Asia/Tokyo", "Pacific/Kiritimati"])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("text", [*TEXTS, "0 0 29 2 *", "every 366d"])
def test_the_ticks_end_with_the_calendar(text: str, grain: Grain, zone: str) -> None:
    late = ticks_of(text, zone, grain, delay_seconds=86_400.0, exclude=("fri",))
    for moment in ("9950-01-01T00:00Z", "9998-12-01T00:00Z", "9999-12-30T20:00Z", "9999-12-31T23:59:59Z"):
        tick = late.after(datetime.fromisoformat(moment))
        for _ in range(30):
            if tick is None:
                break
            late.note(tick, None)
            tick = late.after(tick.at)
    assert late.after(datetime(9999, 12, 31, 12, tzinfo=UTC)) is None


FORWARD = "the clocks were changed: UTC-0500 before, UTC-0400 now"


def test_a_note_says_what_a_change_of_the_clocks_does_to_a_tick() -> None:
    assert notes(ticks_of("30 2 * * *", NEW_YORK), "2026-03-07T00:00-05:00", 3) == [
        None,
        f"its time is skipped on this day: it fires when the clocks jump; {FORWARD}",
        None,
    ]
    assert notes(ticks_of("0 3 * * *", NEW_YORK), "2026-03-07T00:00-05:00", 2) == [
        None,
        FORWARD,
    ]
    assert notes(ticks_of("30 1 * * *", NEW_YORK), "2026-11-01T00:00-04:00", 2) == [
        "01:30 comes twice on this day: this is the first",
        "the clocks were changed: UTC-0400 before, UTC-0500 now",
    ]
    twice = notes(ticks_of("*/30 1 * * *", NEW_YORK), "2026-11-01T00:00-04:00", 4)
    assert [note and note.split(":")[-1].split(";")[0] for note in twice[:2]] == [" this is the first"] * 2
    assert twice[2] == (
        "01:00 comes twice on this day: this is the second; the clocks were changed: UTC-0400 before, UTC-0500 now"
    )
    assert notes(ticks_of("30 2 * * *"), "2026-03-07T00:00Z", 3) == [None, None, None]
