"""Fakes: functions that stand in for those of steps, refused where their step could not call them."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from podium.dag.authoring import Step
from podium.dag.plan import Plan, StepNode
from podium.dag.recording import StepDefinition
from podium.errors import UsageError

Fakes = Mapping[str, Callable[..., Any]]


def with_fakes(plan: Plan, definitions: Mapping[str, StepDefinition], fakes: Fakes) -> dict[str, Callable[..., Any]]:
    """Return the function of each step, a fake where there is one; UsageError for one that its step cannot call."""
    functions = {name: definition.function for name, definition in definitions.items()}
    for name, fake in fakes.items():
        if name not in functions:
            close = difflib.get_close_matches(name, functions, n=1)
            raise UsageError(
                f"There is a fake for {name!r}, but pipeline {plan.pipeline} has no such step"
                f"{f'; did you mean {close[0]}' if close else ''}. Its steps are {', '.join(functions)}."
            )
        functions[name] = _checked(plan.step(name), fake)
    return functions


def _checked(node: StepNode, fake: Any) -> Callable[..., Any]:
    if not callable(fake):
        raise UsageError(
            f"The fake for step {node.name} is {fake!r}, which cannot be called; give a function, as lambda: {fake!r}."
        )
    function: Callable[..., Any] = fake.function if isinstance(fake, Step) else fake
    signature = inspect.signature(function)
    try:
        signature.bind(**dict.fromkeys(node.inputs))
    except TypeError as error:
        raise UsageError(
            f"The fake for step {node.name} takes {signature}, but the step is called with "
            f"({', '.join(node.inputs)}), by name: {error}. Give it these parameters."
        ) from None
    return function
