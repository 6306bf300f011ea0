"""A large frame is mapped, not copied; its reader may change it, and nobody else sees that."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.execution.codecs import Codecs
from podium.execution.mapped import _COLUMNS

CODECS = Codecs(())
ROWS = 20_000
NUMBERS: Any = np.arange(ROWS)


def every_kind() -> pd.DataFrame:
    """A frame with every kind of column that Arrow holds."""
    return pd.DataFrame(
        {
            "float": NUMBERS / 7,
            "whole": NUMBERS,
            "small": NUMBERS.astype("u1"),
            "flag": NUMBERS % 2 == 0,
            "gaps": np.where(NUMBERS % 3 == 0, np.nan, NUMBERS),
            "at": pd.date_range("2013-03-05", periods=ROWS, freq="s"),
            "there": pd.date_range("2013-03-05", periods=ROWS, freq="s", tz="America/New_York"),
            "for": pd.to_timedelta(NUMBERS, unit="s"),
            "text": pd.Series(NUMBERS % 10).astype("str"),
            "kind": pd.Series(NUMBERS % 3).astype("category").array,
            "whole or none": pd.array(NUMBERS, dtype="Int64").copy(),
            "day": pd.period_range("1970-01", periods=ROWS, freq="D"),
        },
        index=pd.Index(NUMBERS * 2, name="row"),
    )


def stored(value: Any, path: Path) -> tuple[str, str]:
    """Write a value; return its codec and the digest of the file."""
    with path.open("wb") as file:
        codec = CODECS.write(value, file)
    return codec, digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_mapped(values: Any, path: Path) -> bool:
    """Whether an array's memory is a mapping of the file."""
    address = values.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *_, file = line.split(maxsplit=5)
        start, end = (int(each, 16) for each in place.split("-"))
        if start <= address < end:
            return file == str(path)
    return False


def test_numbers_and_times_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "value"
    codec, _ = stored(every_kind(), path)
    back = CODECS.read(codec, path)
    plain = [name for name in back if isinstance(back[name].dtype, np.dtype)]
    mapped = {name for name in plain if is_mapped(back[name].to_numpy(), path)}
    assert mapped == {"float", "whole", "small", "at", "for"}


def test_every_column_comes_back_equal(tmp_path: Path) -> None:
    codec, _ = stored(every_kind(), tmp_path / "value")
    pd.testing.assert_frame_equal(CODECS.read(codec, tmp_path / "value"), every_kind())


@pytest.mark.parametrize("column", list(every_kind().columns))
def test_a_reader_changes_its_own_frame_alone(tmp_path: Path, column: str) -> None:
    path = tmp_path / "value"
    codec, before = stored(every_kind(), path)
    mine, another = CODECS.read(codec, path), CODECS.read(codec, path)
    mine.loc[0, column] = mine[column].iloc[1]
    assert mine[column].iloc[0] == mine[column].iloc[1]
    assert digest(path) == before
    pd.testing.assert_frame_equal(another, every_kind())
    pd.testing.assert_frame_equal(CODECS.read(codec, path), every_kind())


def test_a_step_may_do_to_a_frame_what_steps_do(tmp_path: Path) -> None:
    codec, _ = stored(every_kind(), tmp_path / "value")
    back = CODECS.read(codec, tmp_path / "value")
    back["twice"] = back["float"] * 2
    back["float"] += 1
    back.loc[back["whole"] < 3, "small"] = 7
    back.pop("text")
    part = back[["whole"]]
    part.loc[0, "whole"] = -1
    del back
    assert part["whole"].head(3).tolist() == [-1, 1, 2]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({n: np.arange(2000.0) for n in range(_COLUMNS + 10)}),
        pd.DataFrame(np.arange(400_000.0).reshape(-1, 2), columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])),
        pd.DataFrame({"a": np.arange(200_000)}, index=pd.RangeIndex(5, 200_005, name="r")),
        pd.DataFrame({"a": pd.Series(["x" * 50] * 50_000, dtype="str")}),
    ],
    ids=["many columns", "columns in levels", "a range", "text alone"],
)
def test_a_large_frame_of_another_shape_comes_back_equal_and_can_be_changed(tmp_path: Path, frame: Any) -> None:
    codec, _ = stored(frame, tmp_path / "value")
    back = CODECS.read(codec, tmp_path / "value")
    pd.testing.assert_frame_equal(back, frame)
    back.iloc[0, 0] = back.iloc[1, 0]
    back[back.columns[0]] = back.iloc[:, 0] * 2


def test_a_large_series_comes_back_equal_and_can_be_changed(tmp_path: Path) -> None:
    series = pd.Series(np.arange(200_000) / 7, name="delay")
    codec, _ = stored(series, tmp_path / "value")
    back = CODECS.read(codec, tmp_path / "value")
    pd.testing.assert_series_equal(back, series)
    assert is_mapped(back.to_numpy(), tmp_path / "value")
    back.iloc[0] = 9.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_mapped_and_can_be_changed(tmp_path: Path, order: Any) -> None:
    array = np.asarray(np.arange(300_000.0).reshape(-1, 3), order=order)
    codec, before = stored(array, tmp_path / "value")
    back = CODECS.read(codec, tmp_path / "value")
    assert (type(back), is_mapped(back, tmp_path / "value")) == (np.ndarray, True)
    np.testing.assert_array_equal(back, array)
    back[0] = 9.0
    assert digest(tmp_path / "value") == before
