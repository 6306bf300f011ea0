"""What every pipeline on flights rests on: nothing from the future, and bad tables named in one paragraph."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import _flights

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2013, 4, 10, 12, tzinfo=NEW_YORK)


def flight(
    at: datetime,
    *,
    dep_delay: float = 0.0,
    arr_delay: float = 0.0,
    carrier: str = "UA",
    origin: str = "EWR",
    dest: str = "IAH",
) -> dict[str, Any]:
    """One row as it lies in the file: the hour as text in UTC, the minute beside it."""
    return {
        "time_hour": at.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:00:00Z"),
        "minute": at.minute,
        "carrier": carrier,
        "origin": origin,
        "dest": dest,
        "distance": 1400,
        "dep_delay": dep_delay,
        "arr_delay": arr_delay,
    }


def observation(at: datetime, temperature: float, origin: str = "EWR") -> dict[str, Any]:
    hour = at.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:00:00Z")
    return {
        "time_hour": hour,
        "origin": origin,
        "temp": temperature,
        "wind_speed": 9.0,
        "precip": 0.0,
        "visib": 10.0,
    }


def examples(flights: list[dict[str, Any]], weather: list[dict[str, Any]] | None = None) -> pd.DataFrame:
    observed = pd.DataFrame(weather or [observation(NOON - timedelta(days=30), 50.0)])
    rows: pd.DataFrame = _flights.examples(
        _flights.check(pd.DataFrame(flights), _flights.FLIGHTS_TABLE),
        _flights.check(observed, _flights.WEATHER_TABLE),
    )
    return rows


# --- what is known


def test_time_of_day_and_weekday_are_those_of_new_york_in_winter_and_in_summer() -> None:
    winter, summer = (
        datetime(2013, 1, 7, 23, 40, tzinfo=NEW_YORK),
        datetime(2013, 7, 7, 23, 40, tzinfo=NEW_YORK),
    )
    rows = examples([flight(summer), flight(winter)])
    assert rows["minute_of_day"].tolist() == [23 * 60 + 40] * 2
    assert rows["weekday"].tolist() == [0.0, 6.0]  # a Monday, then a Sunday: earliest first


def test_every_number_is_float_so_that_a_month_without_gaps_has_the_types_of_one_with() -> None:
    full = examples([flight(NOON)], [observation(NOON - timedelta(hours=1), 50.0)])
    assert full.dtypes.equals(examples([flight(NOON)]).dtypes)
    assert (full[_flights.NUMBERS].dtypes == np.float64).all()


# --- nothing from the future


def test_the_weather_is_that_of_the_clock_hour_before_and_of_the_same_airport() -> None:
    at = NOON.replace(minute=10)
    weather = [observation(NOON - timedelta(hours=1), 51.0), observation(NOON, 99.0)]
    weather.append(observation(NOON - timedelta(hours=1), 77.0, origin="JFK"))
    assert examples([flight(at)], weather)["temp"].tolist() == [51.0]


def test_weather_that_nobody_recorded_is_unknown() -> None:
    assert examples([flight(NOON)])[_flights.WEATHER].isna().all(axis=None)


@pytest.mark.parametrize(
    ("minutes_before", "seen"), [(29, False), (30, True), (150, True), (151, False), (0, False), (-10, False)]
)
def test_departures_count_from_two_and_a_half_hours_to_half_an_hour_before(minutes_before: int, seen: bool) -> None:
    rows = examples([flight(NOON - timedelta(minutes=minutes_before), dep_delay=60.0), flight(NOON, dest="MIA")])
    share = rows.loc[rows["dest"] == "MIA", "held_at_airport"]
    assert share.tolist() == [1.0] if seen else share.isna().all()


def test_the_share_held_counts_the_late_and_the_cancelled_of_that_airport_and_of_that_carrier() -> None:
    before = NOON - timedelta(hours=1)
    rows = examples(
        [
            flight(before, dep_delay=15.0),
            flight(before, dep_delay=16.0),
            flight(before, dep_delay=np.nan, arr_delay=np.nan, carrier="AA"),
            flight(before, dep_delay=90.0, origin="JFK"),
            flight(NOON),
        ]
    )
    assert rows["held_at_airport"].iloc[-1] == pytest.approx(2 / 3)
    assert rows["held_by_carrier"].iloc[-1] == pytest.approx(1 / 2)


DELAYS = st.sampled_from([float("nan"), -5.0, 15.0, 16.0, 200.0])
FLIGHTS = st.lists(st.tuples(st.integers(0, 120), DELAYS, st.sampled_from(["EWR", "JFK"])), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(FLIGHTS, st.data())
def test_no_later_happening_changes_what_is_known_at_the_scheduled_departure(
    drawn: list[tuple[int, float, str]], data: st.DataObject
) -> None:
    drawn = sorted(drawn, key=lambda row: row[0])
    minute = drawn[data.draw(st.integers(0, len(drawn) - 1))][0]
    hours = range(-2, 11)

    def known(delays: list[float], temperatures: list[float]) -> pd.DataFrame:
        flights = [
            flight(NOON + timedelta(minutes=at), dep_delay=delay, arr_delay=delay, origin=origin)
            for (at, _, origin), delay in zip(drawn, delays, strict=True)
        ]
        weather = [
            observation(NOON + timedelta(hours=hour), temperature, origin)
            for hour, temperature in zip(hours, temperatures, strict=True)
            for origin in ("EWR", "JFK")
        ]
        rows = examples(flights, weather).drop(columns="arr_delay")
        return rows[rows.index == NOON + timedelta(minutes=minute)]

    def happens_otherwise(at: int, delay: float) -> float:
        settled = at + 15 <= minute
        if settled and delay <= 15:
            return delay  # it has left
        # It is held, or its time has not come: it may leave at any later time, or never.
        return data.draw(DELAYS.filter(lambda later: not (settled and later <= 15)))

    otherwise = [happens_otherwise(at, delay) for at, delay, _ in drawn]
    weather = [float(hour) for hour in hours]
    other_weather = [value if (hour + 1) * 60 <= minute else -value for hour, value in zip(hours, weather, strict=True)]
    before, after = known([delay for _, delay, _ in drawn], weather), known(otherwise, other_weather)
    pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("column", ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"])
def test_a_feature_that_is_known_only_later_is_refused(column: str) -> None:
    features = examples([flight(NOON)]).drop(columns="arr_delay").assign(**{column: 1.0})
    with pytest.raises(_flights.DataProblem, match=f"of some_model hold {column}, which nobody knows at the"):
        _flights.refuse_the_future(features, "some_model")


def test_what_the_module_makes_is_known_in_time_but_for_the_arrival() -> None:
    rows = examples([flight(NOON)])
    assert _flights.KNOWN_LATER & set(rows.columns) == {"arr_delay"}
    _flights.refuse_the_future(rows.drop(columns="arr_delay"), "some_model")


# --- a part of the time


def test_only_flights_in_the_half_open_span_that_arrived_are_given_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hours = [NOON + timedelta(hours=hour) for hour in range(4)]
    delays = [1.0, 2.0, np.nan, 4.0]
    rows = examples([flight(at, arr_delay=delay) for at, delay in zip(hours, delays, strict=True)])
    assert _flights.arrived(rows, "part", hours[1], hours[3])["arr_delay"].tolist() == [2.0]
    assert "part, 2013-04-10 13:00 to 2013-04-10 15:00: 1 flights; 1 without an arrival" in capsys.readouterr().out


def test_a_span_outside_the_data_is_said_with_what_the_data_cover() -> None:
    rows = examples([flight(NOON), flight(NOON + timedelta(days=3))])
    with pytest.raises(_flights.DataProblem, match=r"The part, .* no flight .* from 2013-04-10 to 2013-04-13"):
        _flights.arrived(rows, "part", NOON + timedelta(days=9), NOON + timedelta(days=10))


def test_months_are_counted_in_new_york_also_over_the_change_of_clocks() -> None:
    april = datetime(2013, 4, 1, 4, tzinfo=ZoneInfo("UTC"))  # midnight in New York
    assert _flights.months_before(april, 3) == pd.Timestamp("2013-01-01", tz="America/New_York")


# --- bad tables


def test_a_missing_column_is_named_with_the_table_and_what_it_has() -> None:
    frame = pd.DataFrame([flight(NOON)]).drop(columns=["dest", "minute"])
    with pytest.raises(_flights.DataProblem, match=r"flights.csv.zip has no column dest, minute; it has time_hour"):
        _flights.check(frame, _flights.FLIGHTS_TABLE)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("arr_delay", "late", r"in column arr_delay where numbers belongs; its first value is 'late'"),
        ("carrier", 7, r"int64 in column carrier where text belongs; its first value is"),
        ("time_hour", "soon", r"'soon' in column time_hour, which is no time; 1 of 1 rows"),
    ],
)
def test_a_column_of_another_type_is_named_with_a_value(column: str, value: object, words: str) -> None:
    frame = pd.DataFrame([{**flight(NOON), column: value}])
    with pytest.raises(_flights.DataProblem, match=words):
        _flights.check(frame, _flights.FLIGHTS_TABLE)


def test_a_table_without_rows_is_refused() -> None:
    frame = pd.DataFrame([flight(NOON)]).iloc[:0]
    with pytest.raises(_flights.DataProblem, match=r"no rows"):
        _flights.check(frame, _flights.FLIGHTS_TABLE)
