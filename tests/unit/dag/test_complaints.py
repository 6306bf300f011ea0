"""What pydantic refused is told in one line: class, field, fact and the fields there are."""

from collections.abc import Callable
from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from podium.dag.complaints import about_a_model, in_one_line


class Phase(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: int
    requests: int = 1

    @field_validator("weight")
    @classmethod
    def _check_weight(cls, weight: int) -> int:
        if weight < 100:
            return weight
        raise ValueError("a weight lies below 100")


class Ramp(BaseModel):
    model_config = ConfigDict(extra="forbid")

    phases: tuple[Phase, ...] = Field(default=(), min_length=1)
    margin: float = 0.01
    alpha: float = 0.05

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.margin < self.alpha:
            return self
        raise ValueError("the margin\nmust be below alpha")


RAMP: Any = Ramp
PHASE: Any = Phase


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: RAMP(margni=0.02),
            "Ramp has no field 'margni'; did you mean margin? Its fields are phases, margin, alpha.",
        ),
        (lambda: RAMP(colour="red"), "Ramp has no field 'colour'. Its fields are phases, margin, alpha."),
        (
            lambda: RAMP.model_validate({"margni": 0.02}),
            "Ramp has no field 'margni'; did you mean margin? Its fields are phases, margin, alpha.",
        ),
        (lambda: RAMP(phases=[{"weight": 1, "request": 2}]), "Ramp.phases.0 has no field 'request'."),
        (lambda: PHASE(weight=100), "Phase.weight is 100: a weight lies below 100."),
        (lambda: PHASE(requests=2), "Phase.weight is not given."),
        (
            lambda: PHASE(weight=100, requests=None),
            "Phase.weight is 100: a weight lies below 100. Phase.requests is None: input should be a valid integer.",
        ),
        (lambda: RAMP(margin=0.5), "Ramp: the margin must be below alpha."),
        (
            lambda: TypeAdapter(list[int]).validate_python([1, "two"]),
            "list[int].1 is 'two': input should be a valid integer, unable to parse string as an integer.",
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_one_line(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is tested
        make()
    assert about_a_model(caught.value) == told


def test_a_long_value_is_cut_short() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is tested
        PHASE(weight="long" * 1000)
    assert len(about_a_model(caught.value) or "") < 200


def test_other_exceptions_are_not_about_a_model_and_keep_their_text() -> None:
    assert about_a_model(ValueError("two\n  lines")) is None
    assert in_one_line(ValueError("two\n  lines")) == "two lines"
