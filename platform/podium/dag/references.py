"""What feeds a step's parameter: another step's output, the interval, a run parameter, or a constant."""

from dataclasses import dataclass
from typing import Any, Literal

RESULT = "result"
"""The output that stands for a step's whole return value."""

ITEM_LIMIT = 10_000
"""How many items a step may be mapped over: each is a step run of its own, with rows, a log and artifacts."""


@dataclass(frozen=True)
class Reference:
    """An output of a step: `result` is its whole value, else a field or attribute of that name."""

    step: str
    output: str = RESULT
    kind: Literal["reference"] = "reference"


@dataclass(frozen=True)
class IntervalInput:
    """The interval that the run is about."""

    kind: Literal["interval"] = "interval"


@dataclass(frozen=True)
class ParameterInput:
    """A parameter of the run, by name."""

    name: str
    kind: Literal["parameter"] = "parameter"


@dataclass(frozen=True)
class Constant:
    """A value fixed in the pipeline file, encoded by `podium.dag.values.encode`."""

    value: Any
    kind: Literal["constant"] = "constant"


Input = Reference | IntervalInput | ParameterInput | Constant
