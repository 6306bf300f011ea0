"""The real pipeline's own functions: nothing from the future, and bad data named in one paragraph."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from podium import Interval
from podium.dag.loading import load_file, trace_loaded
from podium.settings import REVIEWED_TYPES

ROOT = Path(__file__).parents[3]
FILE = ROOT / "pipelines" / "flight_delay.py"
flight_delay = load_file(ROOT, FILE)

NEW_YORK = ZoneInfo("America/New_York")
APRIL = Interval.parse("2013-04", "America/New_York")
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
    rows: pd.DataFrame = flight_delay.examples(
        flight_delay.check(pd.DataFrame(flights), flight_delay.FLIGHTS_TABLE),
        flight_delay.check(observed, flight_delay.WEATHER_TABLE),
    )
    return rows


def labelled_days(first: datetime, days: int, late: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    """A row every hour, labels in turn."""
    times = pd.date_range(first, periods=24 * days, freq="h", name="departure")
    rows = pd.DataFrame(dict.fromkeys(flight_delay.CATEGORIES, "EWR"), index=times)
    for name in flight_delay.NUMBERS:
        rows[name] = 1.0
    return rows.assign(late=np.resize(np.array(late, dtype=float), len(rows)))


# --- what is predicted


@pytest.mark.parametrize(("arr_delay", "late"), [(-20.0, 0.0), (15.0, 0.0), (16.0, 1.0), (np.nan, np.nan)])
def test_late_is_more_than_fifteen_minutes_and_unknown_without_an_arrival(arr_delay: float, late: float) -> None:
    rows = examples([flight(NOON, arr_delay=arr_delay), flight(NOON, arr_delay=0.0)])
    assert rows["late"].iloc[0] == pytest.approx(late, nan_ok=True)


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
    assert (full[flight_delay.NUMBERS].dtypes == np.float64).all()


# --- nothing from the future


def test_the_weather_is_that_of_the_clock_hour_before_and_of_the_same_airport() -> None:
    at = NOON.replace(minute=10)
    weather = [observation(NOON - timedelta(hours=1), 51.0), observation(NOON, 99.0)]
    weather.append(observation(NOON - timedelta(hours=1), 77.0, origin="JFK"))
    assert examples([flight(at)], weather)["temp"].tolist() == [51.0]


def test_weather_that_nobody_recorded_is_unknown() -> None:
    assert examples([flight(NOON)])[flight_delay.WEATHER].isna().all(axis=None)


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
        rows = examples(flights, weather).drop(columns="late")
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
def test_training_refuses_a_feature_that_is_known_only_later(column: str) -> None:
    history = labelled_days(NOON, 2).assign(**{column: 1.0})
    with pytest.raises(flight_delay.DataProblem, match=f"hold {column}, which nobody knows at the scheduled"):
        flight_delay.train(history)


# --- the parts of a month


def test_history_trains_the_first_half_judges_and_the_second_is_kept() -> None:
    rows = labelled_days(datetime(2012, 12, 1, tzinfo=NEW_YORK), 31 + 90 + 30 + 31)
    rows["distance"] = np.arange(len(rows), dtype=float)
    parts = flight_delay.split(rows, APRIL)

    def span(part: pd.DataFrame) -> tuple[str, str]:
        times = rows.index[part["distance"].to_numpy(int)]
        return f"{times[0]:%m-%d %H}", f"{times[-1]:%m-%d %H}"

    assert span(parts.history) == ("01-01 00", "03-31 23")
    assert span(parts.holdout) == ("04-01 00", "04-15 23")
    assert span(parts.replay) == ("04-16 00", "04-30 23")


def test_flights_without_a_label_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = labelled_days(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index[rows.index >= NOON + timedelta(days=10)][:5], "late"] = np.nan
    parts = flight_delay.split(rows, APRIL)
    assert len(parts.replay) == 15 * 24 - 5
    assert {str(part["late"].dtype) for part in parts} == {"int64"}
    assert (
        "replay of flight_delay, 2013-04-16 00:00 to 2013-05-01 00:00: 355 flights; 5 without"
        in capsys.readouterr().out
    )


def test_a_month_outside_the_data_is_said_with_what_the_data_cover() -> None:
    rows = labelled_days(datetime(2013, 1, 1, tzinfo=NEW_YORK), 89)
    with pytest.raises(flight_delay.DataProblem, match=r"The holdout .* no flight .* from 2013-01-01 to 2013-03-3"):
        flight_delay.split(rows, APRIL)


def test_the_first_month_has_nothing_to_train_on() -> None:
    rows = labelled_days(APRIL.start, 30)
    with pytest.raises(flight_delay.DataProblem, match=r"The history .* no flight with a known arrival"):
        flight_delay.split(rows, APRIL)


def test_a_month_whose_flights_all_lack_an_arrival_has_no_labels() -> None:
    rows = labelled_days(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index >= APRIL.start, "late"] = np.nan
    with pytest.raises(flight_delay.DataProblem, match=r"The holdout .* \(360 were scheduled\)"):
        flight_delay.split(rows, APRIL)


def test_a_single_class_is_refused() -> None:
    rows = labelled_days(datetime(2013, 1, 1, tzinfo=NEW_YORK), 120)
    rows.loc[rows.index >= APRIL.start, "late"] = 0.0
    with pytest.raises(flight_delay.DataProblem, match=r"360 flights, all with late = 0; one class"):
        flight_delay.split(rows, APRIL)


def test_only_a_candidate_that_passed_is_registered_and_promoted() -> None:
    [plan] = trace_loaded(ROOT, FILE)
    names = ["validate", "train", "evaluate_candidate", "register_version", "promote_version"]
    assert [node.name for node in plan.steps] == names
    conditions = [[(on.step, on.output) for on in node.conditions] for node in plan.steps]
    assert conditions == [[], [], [], *[[("evaluate_candidate", "passed")]] * 2]


# --- bad tables


def test_a_missing_column_is_named_with_the_table_and_what_it_has() -> None:
    frame = pd.DataFrame([flight(NOON)]).drop(columns=["dest", "minute"])
    with pytest.raises(flight_delay.DataProblem, match=r"flights.csv.zip has no column dest, minute; it has time_hour"):
        flight_delay.check(frame, flight_delay.FLIGHTS_TABLE)


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
    with pytest.raises(flight_delay.DataProblem, match=words):
        flight_delay.check(frame, flight_delay.FLIGHTS_TABLE)


def test_a_table_without_rows_is_refused() -> None:
    frame = pd.DataFrame([flight(NOON)]).iloc[:0]
    with pytest.raises(flight_delay.DataProblem, match=r"no rows"):
        flight_delay.check(frame, flight_delay.FLIGHTS_TABLE)


# --- the real data


@pytest.fixture(scope="module")
def april() -> Any:
    return flight_delay.validate(APRIL)


def test_april_of_2013_splits_into_its_known_counts(april: Any) -> None:
    assert [len(part) for part in april] == [77_911, 13_877, 13_687]
    assert not flight_delay.KNOWN_LATER & set(april.history.columns)


def test_a_model_of_the_first_quarter_ranks_april_and_knows_what_to_do_with_the_unknown(april: Any) -> None:
    model = flight_delay.train(april.history)
    features = april.holdout.drop(columns="late")
    assert 0.65 < roc_auc_score(april.holdout["late"], model.predict_proba(features)[:, 1]) < 0.80

    nowhere = features.head(5).assign(dest="ZZZ", carrier="ZZ", temp=np.nan, visib=np.nan, held_at_airport=np.nan)
    assert np.isfinite(model.predict_proba(nowhere)).all()

    data = skops.io.dumps(model)
    assert set(skops.io.get_untrusted_types(data=data)) <= set(REVIEWED_TYPES)
