"""What a step returns comes back equal, with its type; or it is refused when it is stored, never later."""

import io
import re
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from podium.dag.interval import Interval
from podium.errors import ArtifactError, NoCodec
from podium.execution.codecs import Codecs
from podium.settings import REVIEWED_TYPES

CODECS = Codecs(REVIEWED_TYPES)
Stored = Callable[[Any], tuple[str, Any]]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """Writes a value and reads it back; returns the codec's name and the value."""

    def write_and_read(value: Any) -> tuple[str, Any]:
        with (tmp_path / "value").open("wb") as file:
            codec = CODECS.write(value, file)
        return codec, CODECS.read(codec, tmp_path / "value")

    return write_and_read


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        "naïve ∑",
        float("inf"),
        [1, [2, None]],
        (1, "two"),
        {"a": {"b": 1}, "$": "tag"},
        {1: "one", (2, 3): "pair"},
        date(2013, 3, 5),
        datetime(2013, 3, 5, 6, tzinfo=UTC),
        Interval.parse("2013-03", "America/New_York"),
    ],
    ids=repr,
)
def test_plain_data_comes_back_equal(stored: Stored, value: Any) -> None:
    assert stored(value) == ("json", value)


FRAMES = {
    "numbers": pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]}),
    "categoricals": pd.DataFrame({"a": pd.Categorical(["x", None], categories=["z", "y", "x"], ordered=True)}),
    "time zones": pd.DataFrame(
        {"a": pd.to_datetime(pd.Series(["2013-03-10T06:59Z", None])).dt.tz_convert("America/New_York")}
    ),
    "missing": pd.DataFrame(
        {
            "text": ["x", None],
            "whole": pd.array([1, None], dtype="Int64"),
            "flag": pd.array([True, None], dtype="boolean"),
            "at": [pd.Timestamp("2013-03-05"), pd.NaT],
            "for": pd.to_timedelta([1, None], unit="s"),
        }
    ),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="float32"), "b": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=range(3)),
    "nothing": pd.DataFrame(),
    "numbered columns": pd.DataFrame([[1, 2]]),
    "an index": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["p", "q"])),
    "an index named as a column": pd.DataFrame({"a": [1]}, index=pd.Index([7], name="a")),
    "columns in levels": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])),
    "small numbers": pd.DataFrame({"a": np.array([1], "u1"), "b": np.array([1], "f2")}),
    "periods": pd.DataFrame({"a": pd.period_range("2013-01", periods=2, freq="M")}),
    "decimals": pd.DataFrame({"a": [Decimal("0.10"), None]}, dtype=object),
    "lists": pd.DataFrame({"a": [[1, 2], [3]]}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_equal_with_its_types_and_its_index(stored: Stored, name: str) -> None:
    codec, back = stored(FRAMES[name])
    assert codec == "arrow"
    pd.testing.assert_frame_equal(back, FRAMES[name])


def test_a_frame_that_was_read_can_be_changed_in_place(stored: Stored) -> None:
    _, back = stored(pd.DataFrame({"a": [1.0, 2.0]}))
    back.loc[0, "a"] = 9.0
    back["a"] *= 2
    assert back["a"].tolist() == [18.0, 4.0]


class Unknown:
    def __repr__(self) -> str:
        return "Unknown()"  # parallel tests need names without addresses


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"good": [1, 2], "bad": [1, "x"]}), "column bad"),
        (pd.DataFrame({"good": [1], "bad": [Unknown()]}), "column bad"),
        (pd.DataFrame({"good": [1], "bad": [1j]}), "column bad"),
        (pd.DataFrame([[1, 2]], columns=["bad", "bad"]), "bad"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), "['a', 1]"),
        (pd.DataFrame({"good": [1], "bad": pd.arrays.SparseArray([0])}), "column bad"),
        (pd.Series([1, "x"], name="bad"), "column bad"),
    ],
    ids=["mixed", "objects", "complex", "duplicate names", "mixed names", "sparse", "series"],
)
def test_a_frame_that_would_not_come_back_is_refused_with_its_column(stored: Stored, frame: Any, said: str) -> None:
    with pytest.raises(NoCodec, match=re.escape(said)) as refusal:
        stored(frame)
    assert not refusal.value.retryable


def test_categories_that_arrow_cannot_read_back_are_refused_when_they_are_written(stored: Stored) -> None:
    with pytest.raises(NoCodec):
        stored(pd.DataFrame({"a": pd.cut([1, 2], [0, 1, 2])}))


@pytest.mark.parametrize("name", [None, "delay", 0, ("a", 1), "value"])
def test_a_series_comes_back_with_its_name_and_its_index(stored: Stored, name: Any) -> None:
    series = pd.Series([1.0, 2.5], name=name, index=["x", "y"])
    codec, back = stored(series)
    assert codec == "arrow"
    pd.testing.assert_series_equal(back, series)


def test_an_arrow_table_comes_back_as_a_table(stored: Stored) -> None:
    table = pa.table({"a": [1, None], "b": [["x"], []]})
    codec, back = stored(table)
    assert codec == "arrow"
    assert back.equals(table)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), "f4"),
        np.array(["a", "bc"]),
        np.array(["2013-03-05"], "M8[s]"),
        np.array([(1, 2.0)], dtype=[("a", "i8"), ("b", "f8")]),
    ],
    ids=str,
)
def test_an_array_comes_back_equal_and_writable(stored: Stored, array: Any) -> None:
    codec, back = stored(array)
    assert codec == "numpy"
    assert back.dtype == array.dtype
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("scalar", [np.float64(1.5), np.bool_(True), np.str_("x"), np.datetime64("2013-03-05")])
def test_a_numpy_scalar_comes_back_as_that_scalar(stored: Stored, scalar: Any) -> None:
    codec, back = stored(scalar)
    assert (codec, type(back), back) == ("numpy", type(scalar), scalar)


@pytest.mark.parametrize("array", [np.array([1, "x"], dtype=object), np.ma.masked_array([1, 2], mask=[True, False])])
def test_an_array_that_would_run_code_or_lose_its_mask_is_refused(stored: Stored, array: Any) -> None:
    with pytest.raises(NoCodec, match="numpy"):
        stored(array)


ROWS = np.random.default_rng(7).normal(size=(60, 3))
LATE = (ROWS[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3),
        HistGradientBoostingRegressor(max_iter=3),
        GradientBoostingRegressor(n_estimators=3),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimators_of_reviewed_types_are_saved_by_skops(stored: Stored, estimator: Any) -> None:
    codec, back = stored(estimator.fit(ROWS, LATE))
    assert codec == "skops"
    np.testing.assert_array_equal(back.predict(ROWS), estimator.predict(ROWS))


def test_an_estimator_with_code_of_its_own_is_saved_by_cloudpickle(stored: Stored) -> None:
    estimator = make_pipeline(FunctionTransformer(lambda rows: rows * 2), LogisticRegression()).fit(ROWS, LATE)
    codec, back = stored(estimator)
    assert codec == "cloudpickle"
    np.testing.assert_array_equal(back.predict(ROWS), estimator.predict(ROWS))


def test_without_reviewed_types_the_same_estimator_needs_cloudpickle() -> None:
    estimator = HistGradientBoostingClassifier(max_iter=3).fit(ROWS, LATE)
    assert Codecs(trusted_types=()).write(estimator, io.BytesIO()) == "cloudpickle"


class Estimator:
    def __init__(self, held: Any = None) -> None:
        self.held = held

    def fit(self) -> None: ...

    def predict(self) -> None: ...


class BrokenState(Estimator):
    def __getstate__(self) -> Any:
        raise LookupError("no state today")


@pytest.mark.parametrize(
    "estimator",
    [Estimator(threading.Lock()), Estimator(each for each in [1]), BrokenState()],
    ids=["a lock", "a generator", "broken state"],
)
def test_what_neither_can_save_is_refused_by_name(stored: Stored, estimator: Any) -> None:
    with pytest.raises(NoCodec, match=type(estimator).__name__):
        stored(estimator)


@pytest.mark.parametrize("value", [Unknown(), {"a": Unknown()}, b"bytes", {1, 2}, np.float64], ids=repr)
def test_anything_else_is_refused_with_what_would_do(stored: Stored, value: Any) -> None:
    with pytest.raises(NoCodec, match="Return plain data"):
        stored(value)


def test_an_unknown_codec_says_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="upgrade"):
        CODECS.read("cuneiform", tmp_path / "value")
