"""Run parameters: the texts that a run is given for them, read by what its plan says about them."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from podium.dag import values
from podium.dag.plan import ITEM_LIMIT, ParameterInput, Plan
from podium.errors import InternalError, UsageError

_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
_FORM = re.compile(rf"(?P<type>{'|'.join(_TYPES)})(\[.*\])?(?P<optional> \| None)?")


Validate = Callable[[Plan, Mapping[str, str]], Mapping[str, Any]]
"""Returns the values, encoded as JSON, that texts stand for by the pipeline's own annotations; else UsageError."""


def bind_parameters(
    plan: Plan,
    given: Mapping[str, str],
    *,
    before: Mapping[str, Any] | None = None,
    validate: Validate | None = None,
) -> dict[str, Any]:
    """Return each parameter's value for one run as JSON: of its `given` text, else that `before`, else its default.

    A text is taken as it is for `str` and read as JSON for the rest. What only the pipeline's code can read, `validate`
    does: models, enumerations, constraints. UsageError names an unknown or missing parameter, or a text of another
    type.
    """
    before = before or {}
    for name in (*given, *before):
        if name not in plan.parameters:
            close = difflib.get_close_matches(name, plan.parameters, n=1)
            known = ", ".join(plan.parameters) or "it has none"
            raise UsageError(
                f"Pipeline {plan.pipeline} has no parameter "
                f"{name!r}{f'; did you mean {close[0]}' if close else ''} ({known})."
            )
    bound: dict[str, Any] = {}
    texts = {name: text for name, text in given.items() if plan.parameters[name].validated}
    validated = validate(plan, texts) if texts and validate is not None else {}
    for name, parameter in plan.parameters.items():
        if name in validated:
            bound[name] = validated[name]
        elif name in given:
            bound[name] = values.encode(_parse(plan.pipeline, name, parameter.annotation, given[name]))
        elif name in before:
            bound[name] = before[name]
        elif parameter.required:
            raise UsageError(
                f"Pipeline {plan.pipeline} needs parameter {name} ({parameter.annotation}); give --param {name}=VALUE."
            )
        else:
            bound[name] = parameter.default
    _check_items(plan, bound)
    return bound


def _check_items(plan: Plan, bound: Mapping[str, Any]) -> None:
    for node in plan.steps:
        items = node.inputs[node.over] if node.over is not None else None
        if isinstance(items, ParameterInput) and len(bound[items.name]) > ITEM_LIMIT:
            raise UsageError(
                f"Parameter {items.name} of pipeline {plan.pipeline} has {len(bound[items.name]):,} items > "
                f"{ITEM_LIMIT:,} that step {node.name} may be mapped over; start several runs, or give each item more."
            )


def _parse(pipeline: str, name: str, annotation: str, text: str) -> Any:
    form = _FORM.fullmatch(annotation)
    if form is None:
        raise InternalError(f"Parameter {name} of pipeline {pipeline} is {annotation}, which its code alone can read.")
    wanted = _TYPES[form["type"]]
    if form["optional"] and text == "null":
        return None
    if wanted is str:
        return text
    try:
        value = json.loads(text.lower() if wanted is bool else text, parse_constant=_refuse_constant)
    except ValueError:
        value = text
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise UsageError(f"Parameter {name} of pipeline {pipeline} is {annotation}, and {text!r} is none; give JSON.")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
