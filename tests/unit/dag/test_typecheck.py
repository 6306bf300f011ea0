"""What may feed what, and how an annotation is written in a message."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NewType, Optional, Protocol, TypeVar

import numpy as np
import pandas as pd
import pytest

from podium.dag.typecheck import accepts, accepts_value, describe

Name = NewType("Name", str)
Value = TypeVar("Value")


class Fits(Protocol):
    def fit(self) -> None: ...


@pytest.mark.parametrize(
    ("consumer", "producer", "fits"),
    [
        (Any, str, True),
        (str, Any, True),
        (object, int, True),
        (int, int, True),
        (int, bool, True),
        (bool, int, False),
        (float, int, True),
        (complex, float, True),
        (int, float, False),
        (str, None, False),
        (None, None, True),
        (str | None, str, True),
        (str, str | None, False),
        (Optional[str], Optional[str], True),  # noqa: UP045  # the older form must work too
        (int | str, str | int, True),
        (int | str, float | str, False),
        (Sequence[int], list[int], True),
        (list[int], list[str], False),
        (list[int], list, True),
        (list, list[int], True),
        (list[int], tuple[int, ...], False),
        (dict[str, float], dict[str, int], True),
        (Mapping[str, int], dict[int, int], False),
        (Iterable[str], dict[str, int], True),
        (tuple[int, ...], tuple[int, str], True),
        (Callable[[int], str], Callable[[str], str], True),
        (pd.DataFrame, pd.Series, False),
        (np.ndarray, np.ndarray[Any, np.dtype[np.float64]], True),
        (Fits, str, True),
        (Value, str, True),
        (str, Name, True),
        (Name, str, True),
        (Literal["a", "b"], Literal["a"], True),
        (Literal["a"], Literal["a", "b"], False),
        (Literal["a"], str, True),
        (int, Literal["a"], False),
        (Literal[1], str, False),
    ],
)
def test_a_producer_feeds_a_consumer_of_its_type_or_wider(consumer: Any, producer: Any, fits: bool) -> None:
    assert accepts(consumer, producer) is fits


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (int, 3, True),
        (float, 3, True),
        (int, "3", False),
        (str | None, None, True),
        (str, None, False),
        (Literal["auc", 1], "auc", True),
        (Literal["auc", 1], True, False),
        (list[float], [1], True),
        (dict[str, float], {"auc": 0.5}, True),
        (dict[str, float], [1], False),
        (Any, object(), True),
    ],
)
def test_a_constant_fits_its_annotation(annotation: Any, value: object, fits: bool) -> None:
    assert accepts_value(annotation, value) is fits


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (pd.DataFrame, "DataFrame"),
        (str | None, "str | None"),
        (dict[str, Any], "dict[str, Any]"),
        (None, "None"),
        (type(None), "None"),
    ],
)
def test_an_annotation_is_written_as_a_person_would(annotation: Any, text: str) -> None:
    assert describe(annotation) == text
