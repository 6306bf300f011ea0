"""Run parameters: texts from the command line become the declared types, or a message."""

from typing import Any

import pytest

from podium import Interval, pipeline, step
from podium.dag.parameters import bind_parameters
from podium.dag.plan import Plan
from podium.dag.tracing import trace
from podium.dag.values import decode
from podium.errors import UsageError


@step
def use(everything: Any) -> None:
    pass


@pipeline(model="m", team="t", environment="prod")
def nightly(
    day: Interval,
    depth: int,
    rate: float = 0.1,
    label: str = "late",
    strict: bool = True,
    seed: int | None = None,
    weights: dict[str, float] | None = None,
) -> None:
    use(depth)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return trace(nightly)


def bound(plan: Plan, given: dict[str, str]) -> dict[str, Any]:
    return {name: decode(value) for name, value in bind_parameters(plan, given).items()}


def test_defaults_stand_where_nothing_is_given(plan: Plan) -> None:
    assert bound(plan, {"depth": "3"}) == {
        "depth": 3,
        "rate": 0.1,
        "label": "late",
        "strict": True,
        "seed": None,
        "weights": None,
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1", 1.0),
        ("rate", "1e-3", 0.001),
        ("label", "5", "5"),
        ("label", "null", "null"),
        ("strict", "False", False),
        ("seed", "null", None),
        ("seed", "7", 7),
        ("weights", '{"a": 1.5}', {"a": 1.5}),
    ],
)
def test_a_text_is_read_as_its_parameters_type(plan: Plan, name: str, text: str, value: object) -> None:
    found = bound(plan, {"depth": "3", name: text})[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"needs parameter depth \(int\); give --param depth=VALUE"),
        ({"depth": "deep"}, "Parameter depth of pipeline nightly is int, and 'deep' is none"),
        ({"depth": "3.0"}, "and '3.0' is none"),
        ({"depth": "true"}, "and 'true' is none"),
        ({"depth": "3", "strict": "1"}, "is bool, and '1' is none"),
        ({"depth": "3", "rate": "NaN"}, "and 'NaN' is none"),
        ({"dept": "3"}, "no parameter 'dept'; did you mean depth"),
    ],
)
def test_a_wrong_parameter_is_named(plan: Plan, given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bind_parameters(plan, given)
