"""Intervals: what texts name them, and that days and months follow a zone's own calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.dag.interval import GRAINS, Grain, Interval, check_grain
from podium.errors import InvalidInterval

NEW_YORK = ZoneInfo("America/New_York")
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]

moments = st.builds(
    lambda wall, zone: wall.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)),
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  # made aware above
    st.sampled_from(ZONES),
)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2013", "2013-01-01T00:00:00-05:00", "2014-01-01T00:00:00-05:00"),
        ("2013-03", "2013-03-01T00:00:00-05:00", "2013-04-01T00:00:00-04:00"),
        ("2013-03-05", "2013-03-05T00:00:00-05:00", "2013-03-06T00:00:00-05:00"),
        ("2013-03-05T06", "2013-03-05T06:00:00-05:00", "2013-03-05T07:00:00-05:00"),
        ("2013-03..2013-05-02", "2013-03-01T00:00:00-05:00", "2013-05-02T00:00:00-04:00"),
        ("2013-03-05T06:30..2013-03-05T12:00Z", "2013-03-05T06:30:00-05:00", "2013-03-05T07:00:00-05:00"),
    ],
)
def test_a_text_names_its_interval_in_the_zone_of_the_pipeline(text: str, start: str, end: str) -> None:
    interval = Interval.parse(text, "America/New_York")
    assert (interval.start.isoformat(), interval.end.isoformat()) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "2013-1",
        "2013-13",
        "2013-02-30",
        "2013-03-05T25",
        "march",
        "2013..",
        "..2013",
        "2013-03-05T06:30",
        " 2013",
        "٢٠١٣",
    ],
)
def test_a_malformed_text_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(InvalidInterval, match=r"START\.\.END \(END exclusive\)"):
        Interval.parse(text)


@pytest.mark.parametrize("text", ["2013-03-05..2013-03-05", "2013-04..2013-03"])
def test_an_empty_or_reversed_interval_is_refused(text: str) -> None:
    with pytest.raises(InvalidInterval, match="is empty"):
        Interval.parse(text)


@pytest.mark.parametrize(("text", "zone"), [("2013-03-10T02", "America/New_York"), ("2011-12-30", "Pacific/Apia")])
def test_a_time_that_the_zone_skips_names_no_interval(text: str, zone: str) -> None:
    with pytest.raises(InvalidInterval, match="clocks skip"):
        Interval.parse(text, zone)


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(InvalidInterval, match="'Mars/Olympus' is no time zone"):
        Interval.parse("2013", "Mars/Olympus")


def test_naive_times_are_refused() -> None:
    with pytest.raises(InvalidInterval, match="no time zone"):
        Interval(datetime(2013, 1, 1), datetime(2013, 1, 2))  # noqa: DTZ001  # what is tested


@pytest.mark.parametrize(("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25)])
def test_a_day_on_which_the_clock_changes_is_a_day(day: str, hours: int) -> None:
    interval = Interval.parse(day, "America/New_York")
    assert interval.end.astimezone(UTC) - interval.start.astimezone(UTC) == timedelta(hours=hours)
    check_grain(interval, "day", "sales")


def test_the_two_hours_of_one_name_are_two_intervals() -> None:
    first = Interval.parse("2013-11-03T01", "America/New_York")
    second = Interval(first.end, first.end.astimezone(UTC) + timedelta(hours=1))
    assert first != second
    assert Interval(first.start, second.end) != second  # though both begin at 01:00 on the wall and end at 02:00
    assert first.name == "2013-11-03T01"
    assert second.name == "2013-11-03T01:00:00-05:00..2013-11-03T02:00:00-05:00"


def test_intervals_are_equal_by_instant_and_written_in_their_own_zone() -> None:
    utc = Interval(datetime(2013, 3, 1, 5, tzinfo=UTC), datetime(2013, 4, 1, 4, tzinfo=UTC))
    local = Interval.parse("2013-03", "America/New_York")
    assert utc == local
    assert len({utc, local}) == 1
    assert (str(local), str(utc)) == ("2013-03", "2013-03-01T05..2013-04-01T04")


def test_a_document_is_in_utc_and_reads_back() -> None:
    march = Interval.parse("2013-03", "America/New_York")
    assert march.to_document() == {"start": "2013-03-01T05:00:00Z", "end": "2013-04-01T04:00:00Z"}
    assert Interval.from_document(march.to_document(), NEW_YORK).name == "2013-03"


@pytest.mark.parametrize(
    "document", [{}, {"start": "2013"}, {"start": 1, "end": 2}, {"start": "2013-01-01", "end": "2014-01-01"}]
)
def test_a_malformed_document_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(InvalidInterval, match="is no interval"):
        Interval.from_document(document)


@pytest.mark.parametrize(
    ("text", "grain", "words"),
    [
        ("2013-03-05", "month", "flight_delay retrains by month; 2013-03-05 is a day.*as 2013-03"),
        ("2013", "month", "2013 is a year"),
        ("2013-03-05T06", "day", "2013-03-05T06 is an hour"),
        ("2013-01..2013-03", "month", "2013-01..2013-03 is not one whole month"),
        ("2013-03-15..2013-04-15", "month", "is not one whole month"),
        ("2013-03-05..2013-03-12", "week", "is not one whole week.*as 2013-03-04..2013-03-11"),
    ],
)
def test_an_interval_of_another_length_names_both(text: str, grain: Grain, words: str) -> None:
    with pytest.raises(InvalidInterval, match=words):
        check_grain(Interval.parse(text), grain, "flight_delay")


@settings(max_examples=150, deadline=None)
@given(moments, st.sampled_from(GRAINS))
def test_the_interval_around_a_moment_holds_it_is_one_grain_and_has_a_name_that_reads_back(
    moment: datetime, grain: Grain
) -> None:
    interval = Interval.around(moment, grain)
    assert moment in interval
    check_grain(interval, grain, "any")
    assert Interval.parse(interval.name, moment.tzinfo or UTC) == interval


@settings(max_examples=100, deadline=None)
@given(moments, st.sampled_from([grain for grain in GRAINS if grain != "hour"]))
def test_intervals_of_one_grain_follow_each_other_without_gap_or_overlap(moment: datetime, grain: Grain) -> None:
    interval = Interval.around(moment, grain)
    assert Interval.around(interval.end, grain).start.astimezone(UTC) == interval.end.astimezone(UTC)


@settings(max_examples=150, deadline=None)
@given(moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=900)))
def test_the_name_of_any_interval_reads_back(start: datetime, length: timedelta) -> None:
    interval = Interval(start, start.astimezone(UTC) + length)
    assert Interval.parse(interval.name, start.tzinfo or UTC) == interval
    assert Interval.from_document(interval.to_document()) == interval
