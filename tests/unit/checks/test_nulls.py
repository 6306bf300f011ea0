import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.checks import NullRate
from podium.errors import UsageError

cells = st.one_of(st.none(), st.just(float("nan")), st.integers(-5, 5), st.floats(), st.text(max_size=2), st.booleans())


def test_a_rate_above_the_limit_fails_with_the_rows_that_are_null() -> None:
    frame = pd.DataFrame({"id": list("abcd"), "delay": [1.0, None, 3.0, np.nan]}, index=[10, 11, 12, 13])
    finding = NullRate("delay", at_most=0.25).look(frame)
    assert finding.outcome == "failed"
    assert finding.reason == "null rate 0.500 > 0.250 allowed (2 of 4 rows of delay)"
    assert [(each.row, dict(each.values)) for each in finding.examples] == [
        (11, {"delay": None, "id": "b"}),
        (13, {"delay": None, "id": "d"}),
    ]
    assert str(finding.examples[0]) == "row 11: delay = null, id = 'b'"


def test_the_limit_itself_is_allowed() -> None:
    finding = NullRate("x", at_most=0.5).look(pd.DataFrame({"x": [1.0, None]}))
    assert (finding.outcome, finding.reason) == ("passed", "null rate 0.500 ≤ 0.500 allowed (1 of 2 rows of x)")


def test_a_rate_barely_above_the_limit_is_told_apart_from_it() -> None:
    frame = pd.DataFrame({"x": [None] * 501 + [1.0] * 9_499})
    assert "null rate 0.0501 > 0.0500 allowed" in NullRate("x", at_most=0.05).look(frame).reason


def test_of_several_columns_the_failing_are_told_or_else_the_worst() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "b": [None, 2, 3, 4], "c": [None, None, 3, 4]})
    finding = NullRate(["a", "b", "c"], at_most=0.2).look(frame)
    assert finding.reason.count("null rate") == 2
    assert [each.row for each in finding.examples] == [0, 1]
    passing = NullRate(["a", "b", "c"], at_most=0.5).look(frame)
    assert passing.reason == "null rate 0.500 ≤ 0.500 allowed (2 of 4 rows of c), the highest of 3 columns"


def test_a_column_that_is_not_there_is_unknown_and_hides_no_failure() -> None:
    frame = pd.DataFrame({"a": [None, 1.0]})
    missing = NullRate("dep", at_most=0.1).look(frame)
    assert (missing.outcome, missing.reason) == ("unknown", "there is no column 'dep'; the columns are a")
    both = NullRate(["dep", "a"], at_most=0.1).look(frame)
    assert both.outcome == "failed"
    assert "no column 'dep'" in both.reason


def test_no_rows_have_no_rate() -> None:
    assert NullRate("a", at_most=1).look(pd.DataFrame({"a": []})).outcome == "unknown"


def test_a_column_that_is_all_null_has_the_rate_one() -> None:
    finding = NullRate("a", at_most=0.99).look(pd.DataFrame({"a": [None] * 9}))
    assert finding.outcome == "failed"
    assert len(finding.examples) == 5


def test_infinite_numbers_are_not_null_and_are_counted_apart() -> None:
    finding = NullRate("a", at_most=0.5).look(pd.DataFrame({"a": [np.inf, -np.inf, np.nan, 1.0]}))
    assert finding.reason == "null rate 0.250 ≤ 0.500 allowed (1 of 4 rows of a, 2 more are infinite)"


KINDS: list[Any] = ["Int64", "Float64", "category", "string", "object", "double[pyarrow]"]


@pytest.mark.parametrize("dtype", KINDS)
def test_every_kind_of_null_counts(dtype: Any) -> None:
    frame = pd.DataFrame({"a": pd.Series([1, None, 2, 3], dtype="Int64").astype(dtype)})
    assert "(1 of 4 rows of a)" in NullRate("a", at_most=0.5).look(frame).reason


def test_values_of_examples_are_plain_json() -> None:
    frame = pd.DataFrame(
        {
            "a": [None],
            "when": pd.to_datetime(["2013-03-05T06:00"]).tz_localize("America/New_York"),
            "none": [pd.NaT],
            "big": [np.float32(np.inf)],
            "count": [np.int64(3)],
            "price": [decimal.Decimal("1.5")],
            "yes": [np.True_],
            "long": ["x" * 500],
        },
        index=pd.MultiIndex.from_tuples([("UA", pd.Timestamp("2013-03-05"))]),
    )
    frame["torn"] = pd.Series(["\ud800"], dtype="object", index=frame.index)
    [example] = NullRate("a", at_most=0).look(frame).examples
    assert example.row == ["UA", "2013-03-05T00:00:00"]
    assert dict(example.values) == {
        "a": None,
        "when": "2013-03-05T06:00:00-05:00",
        "none": None,
        "big": "inf",
        "count": 3,
        "price": "1.5",
        "yes": True,
        "long": "x" * 99 + "…",
        "torn": "\\ud800",
    }


def test_a_wide_row_shows_the_column_in_question_first_and_ten_in_all() -> None:
    frame = pd.DataFrame({f"x{number}": [None if number == 50 else 1.0] for number in range(100)})
    [example] = NullRate("x50", at_most=0).look(frame).examples
    assert list(example.values)[:3] == ["x50", "x0", "x1"]
    assert len(example.values) == 10


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=30), st.floats(0, 1), st.randoms(use_true_random=False))
def test_the_rate_is_a_plain_count_in_whatever_order(values: list[Any], at_most: float, random: Any) -> None:
    nulls = sum(value is None or value != value for value in values)
    check = NullRate("a", at_most=at_most)
    finding = check.look(pd.DataFrame({"a": pd.Series(values, dtype="object")}))
    assert finding.outcome == ("failed" if nulls / len(values) > at_most else "passed")
    assert f"({nulls} of {len(values)} rows of a" in finding.reason
    shuffled = random.sample(values, len(values))
    again = check.look(pd.DataFrame({"a": pd.Series(shuffled, dtype="object")}))
    assert (again.outcome, again.reason) == (finding.outcome, finding.reason)


@pytest.mark.parametrize(
    ("columns", "at_most"),
    [("a", -0.1), ("a", 1.1), ("a", float("nan")), ("a", None), ("a", True), ("a", 5), ([], 0.1), ("", 0.1), (3, 0.1)],
)
def test_options_that_make_no_sense_are_refused(columns: Any, at_most: Any) -> None:
    with pytest.raises(UsageError, match="NullRate"):
        NullRate(columns, at_most=at_most)
