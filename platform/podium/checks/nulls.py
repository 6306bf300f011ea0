"""How many values are missing?"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.checks.finding import Finding, Severity, column_name, number, settle, told_apart, unknown
from podium.checks.rows import column_of, examples_at
from podium.errors import UsageError

_NAMED = 5  # columns in the check's name; the rest is counted


@dataclass(frozen=True, eq=False)
class NullRate:
    """Counts the nulls of one column, or of several, each on its own.

    `at_most` is the largest share of null rows, in [0, 1]. Null is what pandas takes for it: None, NaN, NaT, NA.
    An infinite number is none; the reason counts it. Without rows, or without the column, the rate is unknown. Options
    that make no sense raise UsageError.

    >>> NullRate("x", at_most=0.25).look(pd.DataFrame({"x": [1.0, None]})).reason
    'null rate 0.500 > 0.250 allowed (1 of 2 rows of x)'
    """

    columns: str | Sequence[str]
    _: KW_ONLY
    at_most: float
    severity: Severity = "stop"
    name: str = ""

    def __post_init__(self) -> None:
        columns = (self.columns,) if isinstance(self.columns, str) else self.columns
        if not isinstance(columns, Sequence) or not columns:
            raise UsageError(
                f"NullRate is given {self.columns!r} for columns; give a column's name, or a list of names."
            )
        for each in columns:
            column_name(each, "NullRate")
        object.__setattr__(self, "columns", tuple(dict.fromkeys(columns)))
        more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
        settle(self, f"null rate of {', '.join(columns[:_NAMED])}{more}")
        number(self.at_most, "NullRate: at_most", least=0, most=1)

    def look(self, frame: pd.DataFrame) -> Finding:
        """Return whether no column has more nulls than allowed; examples are rows with one, in a column that has."""
        if len(frame) == 0:
            return unknown("0 rows have no null rate")
        absent, failing, passing = list[str](), dict[str, str](), list[tuple[float, str]]()
        any_null: npt.NDArray[np.bool_] = np.zeros(len(frame), dtype=bool)
        for name in self.columns:
            column = column_of(frame, name)
            if isinstance(column, str):
                absent.append(column)
                continue
            null = column.isna().to_numpy(dtype=bool)
            rate = float(null.mean())
            value, limit = told_apart(rate, self.at_most)
            sign = ">" if rate > self.at_most else "≤"
            told = f"null rate {value} {sign} {limit} allowed ({int(null.sum()):,} of {len(frame):,} rows of {name}"
            told = f"{told}{_infinite(column)})"
            if rate > self.at_most:
                failing[name] = told
                any_null |= null
            else:
                passing.append((rate, told))
        if failing:
            reason = "; ".join([*failing.values(), *absent])
            return Finding("failed", reason, examples_at(frame, np.flatnonzero(any_null).tolist(), *failing))
        if absent:
            return unknown("; ".join(absent))
        _, worst = max(passing, key=lambda each: each[0])
        others = f", the highest of {len(passing)} columns" if len(passing) > 1 else ""
        return Finding("passed", f"{worst}{others}")


def _infinite(column: "pd.Series[Any]") -> str:
    """Return a clause that counts the infinite values, which are neither null nor usable; empty for none."""
    if column.dtype.kind != "f":
        return ""
    count = int(np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan)).sum())
    return f", {count:,} more are infinite" if count else ""
