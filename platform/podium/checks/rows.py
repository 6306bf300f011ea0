"""Columns found by name, and rows written as plain examples."""

import difflib
import math
from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pandas as pd

from podium.checks.finding import EXAMPLES, Example, readable

_COLUMNS_SHOWN = 10  # of a wide row; those in question come first
_COLUMNS_NAMED = 10  # in a reason; the rest is counted


def column_of(frame: pd.DataFrame, name: str) -> "pd.Series[Any] | str":
    """Return the one column called `name`, or the reason why there is none to look at."""
    found = [position for position, column in enumerate(frame.columns) if isinstance(column, str) and column == name]
    if len(found) > 1:
        return f"{len(found)} columns are called {name!r}; rename or drop all but one"
    if not found:
        columns = [str(column) for column in frame.columns]
        close = difflib.get_close_matches(name, columns, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        more = f" and {len(columns) - _COLUMNS_NAMED} more" if len(columns) > _COLUMNS_NAMED else ""
        named = ", ".join(map(readable, columns[:_COLUMNS_NAMED])) or "none"
        return f"there is no column {name!r}{meant}; the columns are {named}{more}"
    return frame.iloc[:, found[0]]


def examples_at(frame: pd.DataFrame, positions: Iterable[int], *asked: str) -> tuple[Example, ...]:
    """Return the rows at the first few `positions` of the frame; the columns `asked` about come first."""
    columns: dict[str, int] = {}
    for position, column in enumerate(frame.columns):
        columns.setdefault(readable(str(column)), position)
    wanted = [readable(name) for name in asked]
    order = [name for name in wanted if name in columns] + [name for name in columns if name not in wanted]
    return tuple(
        Example(
            label(frame.index[position]),
            {name: plain(frame.iloc[position, columns[name]]) for name in order[:_COLUMNS_SHOWN]},
        )
        for position in list(positions)[:EXAMPLES]
    )


def label(value: Any) -> Any:
    """Return a label of an index as plain JSON; one of several levels is a list.

    >>> label((pd.Timestamp("2013-03-05", tz="UTC"), "UA"))
    ['2013-03-05T00:00:00+00:00', 'UA']
    """
    return [plain(part) for part in value] if isinstance(value, tuple) else plain(value)


def plain(value: Any) -> Any:
    """Return a cell as plain JSON: None for every kind of null, ISO 8601 for times, text for what JSON lacks.

    >>> [plain(value) for value in (np.float64("nan"), np.int8(3), float("inf"), pd.NaT, date(2013, 3, 5))]
    [None, 3, 'inf', None, '2013-03-05']
    """
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return readable(value if isinstance(value, str) else str(value))
