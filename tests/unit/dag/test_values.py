"""JSON of small values: what comes back equals what went in and has its type."""

import dataclasses
import enum
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.dag.interval import Interval
from podium.dag.values import decode, encode
from podium.errors import ArtifactError, NoCodec
from podium.ids import canonical_json


class Colour(enum.Enum):
    RED = 1


class Verdict(enum.StrEnum):
    PASSED = "passed"


class Level(enum.IntEnum):
    HIGH = 3


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Policy:
    primary: str
    floors: dict[str, float]
    seen: tuple[int, ...] = ()
    size: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.floors))


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name")
    points: tuple[Point, ...] = ()


class Numbers(pydantic.RootModel[list[float]]):
    pass


def through_json(value: Any) -> Any:
    return decode(json.loads(canonical_json(encode(value))))


def same(left: Any, right: Any) -> bool:
    """Equal, of one type, all the way down; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(*keys) and same(*items)
            for keys, items in zip(
                zip(left, right, strict=True), zip(left.values(), right.values(), strict=True), strict=True
            )
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


zones = st.sampled_from([None, UTC, ZoneInfo("America/New_York"), ZoneInfo("UTC"), timezone(timedelta(hours=5.5))])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(allow_nan=False),
    st.text(max_size=5),
    st.dates(),
    st.datetimes(timezones=zones, allow_imaginary=False),
    st.sampled_from([Colour.RED, Verdict.PASSED, Level.HIGH, Access.READ]),
    st.builds(Point, st.floats(allow_nan=False), st.text(max_size=3)),
    st.builds(
        Policy,
        st.text(max_size=3),
        st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=2),
    ),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.just("$"), st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = decode(encode(value))
    if isinstance(value, dict):  # JSON objects keep no order; the digest must not depend on it either
        assert back.keys() == value.keys()
    assert same(back, value)


@pytest.mark.parametrize(
    "value",
    [
        True,
        1,
        1.0,
        -0.0,
        2**70,
        math.nan,
        -math.inf,
        {"$": "tuple"},
        {1: "a", "b": (True, None)},
        Verdict.PASSED,
        Level.HIGH,
        Point(1.5, "a"),
        Policy("auc", {"auc": 0.58}, seen=(1, 2)),
        Numbers([1.0, 2.0]),
        Decimal("1.50"),
        date(2013, 3, 5),
        datetime(2013, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=1),
        {"deep": [{"more": (Colour.RED,)}]},
    ],
    ids=repr,
)
def test_traps_survive_json_text(value: Any) -> None:
    assert same(through_json(value), value)


def test_a_pydantic_model_comes_back_by_field_name_even_with_aliases() -> None:
    model = Model(Name="m", points=(Point(1.0),))
    back = through_json(model)
    assert (type(back), back) == (Model, model)
    assert type(back.points[0]) is Point


def test_an_interval_keeps_its_zone() -> None:
    march = Interval.parse("2013-03", "America/New_York")
    assert through_json(march).name == "2013-03"
    assert through_json(march) == march


def test_a_second_half_of_a_repeated_hour_keeps_its_fold() -> None:
    late = datetime(2013, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=1)
    assert through_json(late).utcoffset() == timedelta(hours=-5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.float64(1.5), "numpy.float64 has no JSON"),
        (pd.Timestamp("2013-03-05"), "Timestamp has no JSON"),
        (object(), "builtins.object has no JSON"),
        ({1, 2}, "builtins.set has no JSON"),
        (Policy, "builtins.type has no JSON"),
        (Access.READ | Access.WRITE, "Access has no JSON"),
        ("\ud800", "surrogate"),
        ([{"a": (1, b"bytes")}], "builtins.bytes has no JSON"),
    ],
)
def test_what_has_no_json_is_named_by_its_type(value: Any, words: str) -> None:
    with pytest.raises(NoCodec, match=words):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NoCodec, match="holds itself"):
        encode(loop)


def test_a_class_inside_a_function_is_refused_when_written_not_when_read() -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    with pytest.raises(NoCodec, match="top level of a module"):
        encode(Local(1))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"$": "novel"}, "does not know"),
        ({"$": "date", "value": "soon"}, "cannot be read back"),
        ({"$": "decimal", "value": "much"}, "cannot be read back"),
        ({"$": "enum", "type": "builtins:int", "name": "real"}, "is no Enum"),
        ({"$": "dataclass", "type": "subprocess:Popen", "fields": {"args": ["true"]}}, "is no dataclass"),
        ({"$": "dataclass", "type": "podium.gone:Policy", "fields": {}}, "cannot be imported any more"),
        ({"$": "model", "type": "builtins:dict", "fields": {}}, "is no pydantic model"),
    ],
)
def test_a_damaged_document_is_an_artifact_error(document: Any, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        decode(document)


def test_a_field_that_a_class_lost_is_an_artifact_error() -> None:
    document = encode(Policy("auc", {}))
    document["fields"]["removed"] = 1
    with pytest.raises(ArtifactError, match="removed"):
        decode(document)
