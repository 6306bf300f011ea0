"""Fakes: functions that stand in for those of steps, refused where their step could not call them."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from podium.dag.authoring import Step
from podium.dag.plan import Plan, StepNode
from podium.dag.recording import StepDefinition
from podium.errors import UsageError

Fakes = Mapping[str, Callable[..., Any]]


def with_fakes(plan: Plan, definitions: Mapping[str, StepDefinition], fakes: Fakes) -> dict[str, StepDefinition]:
    """Return each step as it is or with a fake's function; UsageError for a fake that its step could not call."""
    steps = [node.name for node in plan.steps if node.kind == "step"]
    for name in fakes:
        _check_known("fake for", name, "step", steps, plan)
    found = {name: replace(definitions[name], function=_checked(plan.step(name), fake)) for name, fake in fakes.items()}
    return {**definitions, **found}


def check_choices(plan: Plan, choices: Mapping[str, bool | None]) -> None:
    """Raise UsageError for a decision about what is no approval of the pipeline."""
    approvals = [node.name for node in plan.steps if node.kind == "approval"]
    for name in choices:
        _check_known("decision about", name, "approval", approvals, plan)


def _check_known(what: str, name: str, kind: str, known: Sequence[str], plan: Plan) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"There is a {what} {name!r}, but pipeline {plan.pipeline} has no such {kind}"
            f"{f'; did you mean {close[0]}' if close else ''}. Its {kind}s are {', '.join(known) or 'none'}."
        )


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
