"""Do the categories of a column come in the shares they had?"""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import pandas as pd

from podium.checks.distance import Counts, Shares, chance_distance, rows_needed, total_variation
from podium.checks.finding import (
    Finding,
    Outcome,
    Severity,
    column_name,
    counted,
    number,
    settle,
    shown,
    told_apart,
    unknown,
)
from podium.checks.rows import column_of, examples_at, plain
from podium.errors import UsageError

_NAMED = 5  # categories in a reason; the rest is counted
_EQUAL = 1e-9  # shares closer than this moved equally


class _Missing:
    """The category of rows that have none; its own, so that no text in the data is taken for it."""

    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


@dataclass(frozen=True, eq=False)
class CategoryDrift:
    """Compares the shares of a column's categories with those of a reference, by `podium.checks.distance`.

    `reference` is a column: a Series, a list, an array. `at_most` is the largest distance allowed, in (0, 1]: 0.1
    allows that a tenth of the rows would need another category for the shares to be those of the reference. Null is a
    category of its own, `missing`. Categories that the reference never had are told with example rows; where
    `new_at_most` is given, they fail if their share of the rows is larger.

    It is `unknown`, not passed, where the rows are so few that samples of one population could lie further apart than
    `at_most` with a probability above `alpha` (each row an independent draw), unless the drift is larger by even that;
    the reason says how many rows would do. So if nothing drifted, it fails in at most `alpha` of cases. It is also
    unknown without rows, column or reference. Options that make no sense raise UsageError.

    >>> check = CategoryDrift("carrier", reference=["UA"] * 5_000 + ["DL"] * 5_000, at_most=0.1)
    >>> check.look(pd.DataFrame({"carrier": ["UA"] * 3_500 + ["DL"] * 1_500})).reason.partition("; moved")[0]
    'drift 0.200 > 0.100 allowed (5,000 rows against 10,000 of the reference; chance alone stays below 0.034)'
    """

    column: str
    _: KW_ONLY
    reference: Any
    at_most: float = 0.1
    new_at_most: float | None = None
    alpha: float = 0.01
    severity: Severity = "stop"
    name: str = ""

    def __post_init__(self) -> None:
        column_name(self.column, "CategoryDrift")
        settle(self, f"category drift of {self.column}")
        number(self.at_most, "CategoryDrift: at_most", above=0, most=1)
        if self.new_at_most is not None:
            number(self.new_at_most, "CategoryDrift: new_at_most", least=0, most=1)
        number(self.alpha, "CategoryDrift: alpha", above=0, most=0.5)
        if isinstance(self.reference, str | bytes | int | float | dict | pd.DataFrame):
            raise UsageError(
                f"CategoryDrift: the reference of {self.column} is a {type(self.reference).__name__}; give the values "
                f"of that column, as in history[{self.column!r}]."
            )
        if self.reference is not None and not isinstance(self.reference, pd.Series):
            try:
                object.__setattr__(self, "reference", pd.Series(self.reference))
            except (TypeError, ValueError) as error:
                raise UsageError(f"CategoryDrift: the reference of {self.column} is no column: {error}.") from None

    def look(self, frame: pd.DataFrame) -> Finding:
        """Return whether the shares lie within the distance allowed; the examples are rows of new categories."""
        column = column_of(frame, self.column)
        if isinstance(column, str):
            return unknown(column)
        if len(column) == 0:
            return unknown(f"0 rows have no shares of {self.column}")
        if self.reference is None:
            return unknown(f"there is no reference to compare the {len(column):,} rows of {self.column} with")
        if len(self.reference) == 0:
            return unknown(f"the reference of {self.column} has 0 rows")
        try:
            current, reference = _counts(column), _counts(self.reference)
        except TypeError as error:  # a list or a dict cannot be counted
            return unknown(f"{self.column} or its reference holds values that are no categories: {error}")
        return self._judge(frame, column, current, reference)

    def _judge(
        self, frame: pd.DataFrame, column: "pd.Series[Any]", current: dict[Any, int], reference: dict[Any, int]
    ) -> Finding:
        categories, counts = _side_by_side(current, reference)
        sizes = len(column), len(self.reference)
        shares: tuple[Shares, Shares] = counts[0] / sizes[0], counts[1] / sizes[1]
        drift, chance = total_variation(*counts), chance_distance(*shares, *sizes, self.alpha)
        new = {category: count for category, count in current.items() if category not in reference}
        new_share = sum(new.values()) / sizes[0]
        too_new = self.new_at_most is not None and new_share > self.new_at_most

        value, limit = told_apart(drift, self.at_most)
        blurred = chance > self.at_most
        outcome: Outcome = "unknown" if blurred else "passed"
        told = f"drift {value} {'is too blurred to compare with' if blurred else '≤'} {limit} allowed"
        if drift > self.at_most + (chance if blurred else 0):
            outcome, told = "failed", f"drift {value} > {limit} allowed"
        reach = self._reach(outcome, chance, *shares, sizes[1])
        parts = [f"{told} ({counted(sizes[0], 'rows')} against {sizes[1]:,} of the reference; {reach})"]
        if drift > 0 and (outcome != "passed" or too_new):
            parts.append(_moves(categories, *shares))
        if new:
            parts.append(self._told_new(new, new_share, too_new=too_new))
        examples = examples_at(frame, _rows_of(column, new), self.column) if new else ()
        return Finding("failed" if too_new else outcome, "; ".join(parts), examples)

    def _reach(self, outcome: str, chance: float, current: Shares, reference: Shares, reference_rows: int) -> str:
        """Return how far chance reaches; for an unknown, what would shorten it."""
        if outcome != "unknown":
            return f"chance alone stays below {min(chance, 1):.3f}"
        needed = rows_needed(current, reference, reference_rows, self.at_most, self.alpha)
        would_do = (
            "the reference is too small for any number of rows" if needed is None else f"{needed:,} rows would do"
        )
        return f"chance alone could reach {min(chance, 1):.3f}; {would_do}"

    def _told_new(self, new: dict[Any, int], share: float, *, too_new: bool) -> str:
        order = sorted(new, key=lambda category: (-new[category], *_alphabetical(category)))
        named = ", ".join(f"{_shown(category)} in {counted(new[category], 'rows')}" for category in order[:_NAMED])
        more = f" and {len(order) - _NAMED:,} more" if len(order) > _NAMED else ""
        limit = ""
        if self.new_at_most is not None:
            texts = told_apart(share, self.new_at_most)
            limit = f" ({texts[0]} {'>' if too_new else '≤'} {texts[1]} of the rows allowed)"
        return f"never seen before: {named}{more}{limit}"


def _counts(column: "pd.Series[Any]") -> dict[Any, int]:
    """Return the rows of each category that has any."""
    counted = column.value_counts(sort=False, dropna=True)
    counts = {category: int(count) for category, count in counted.items() if count}
    missing = int(column.isna().sum())
    return {**counts, MISSING: missing} if missing else counts


def _side_by_side(current: dict[Any, int], reference: dict[Any, int]) -> tuple[list[Any], tuple[Counts, Counts]]:
    """Return all categories and the rows of each, current and reference, in an order that is not the rows' own.

    Sums of floats depend on their order in the last digit, and no order of rows is to change an answer.
    """
    categories = list({**reference, **current})
    counts = [np.array([side.get(each, 0) for each in categories], dtype=np.int64) for side in (current, reference)]
    order = np.lexsort(counts)
    return [categories[at] for at in order.tolist()], (counts[0][order], counts[1][order])


def _moves(categories: list[Any], current: Shares, reference: Shares) -> str:
    """Return which categories moved most, with their shares."""
    moved: Shares = np.abs(current - reference)
    # All that moved as much as the last one named: equal moves go by name, not by the order of the rows.
    least = max(np.sort(moved)[-_NAMED:][0] - _EQUAL, 0)
    candidates = np.flatnonzero(moved > least).tolist()
    order = sorted(candidates, key=lambda at: (-round(float(moved[at]) / _EQUAL), *_alphabetical(categories[at])))
    named = [
        "{} from {} to {}".format(_shown(categories[at]), *told_apart(float(reference[at]), float(current[at])))
        for at in order[:_NAMED]
    ]
    return f"moved most: {', '.join(named)}"


def _rows_of(column: "pd.Series[Any]", categories: dict[Any, int]) -> list[int]:
    """Return the positions of the rows in one of `categories`."""
    found = column.isin([category for category in categories if category is not MISSING]).to_numpy(dtype=bool)
    if MISSING in categories:
        found = found | column.isna().to_numpy(dtype=bool)
    return [int(position) for position in np.flatnonzero(found)]


def _alphabetical(category: Any) -> tuple[str, str]:
    """Return what orders categories of any types; cheap, since a column may have as many as rows."""
    return str(category), type(category).__name__


def _shown(category: Any) -> str:
    return repr(category) if category is MISSING else shown(plain(category))
