"""Run parameters: which a pipeline function may have, and reading the texts that a run is given for them."""

import difflib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from podium.dag import values
from podium.dag.annotations import Annotation, parameter_types
from podium.dag.plan import ITEM_LIMIT, Parameter, ParameterInput, Plan
from podium.dag.typecheck import accepts_value, describe
from podium.errors import DefinitionError, NoCodec, UsageError

_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
_FORM = re.compile(rf"(?P<type>{'|'.join(_TYPES)})(\[.*\])?(?P<optional> \| None)?")


def declared_parameters(label: str, function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the run parameters of a pipeline function, all but its first; DefinitionError on a bad one."""
    types = parameter_types(function)
    found = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        annotation = types[parameter.name]
        if not _allowed(parameter, annotation):
            raise DefinitionError(
                f"{label}: parameter {parameter} cannot be given to a run; annotate it with one of "
                f"{', '.join(_TYPES)}, or one of them `| None`."
            )
        required = parameter.default is parameter.empty
        if not required and not accepts_value(annotation, parameter.default):
            raise DefinitionError(
                f"{label}: parameter {parameter.name} is {describe(annotation)}, but its default is "
                f"{parameter.default!r}; make the two agree."
            )
        try:
            default = None if required else values.encode(parameter.default)
        except NoCodec as error:
            raise DefinitionError(
                f"{label}: the default of parameter {parameter.name} cannot be kept. {error}"
            ) from None
        found[parameter.name] = Parameter(describe(annotation), required, default)
    return found


def bind_parameters(plan: Plan, given: Mapping[str, str]) -> dict[str, Any]:
    """Return each parameter's value for one run, encoded as JSON: the `given` texts, else the defaults.

    A text is taken as it is for `str` and read as JSON for the rest. UsageError names an unknown or missing
    parameter, or a text of another type.
    """
    for name in given:
        if name not in plan.parameters:
            close = difflib.get_close_matches(name, plan.parameters, n=1)
            known = ", ".join(plan.parameters) or "it has none"
            raise UsageError(
                f"Pipeline {plan.pipeline} has no parameter "
                f"{name!r}{f'; did you mean {close[0]}' if close else ''} ({known})."
            )
    bound = {}
    for name, parameter in plan.parameters.items():
        if name in given:
            bound[name] = values.encode(_parse(plan.pipeline, name, parameter.annotation, given[name]))
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
    wanted = _TYPES[form["type"]] if form else str
    if form and form["optional"] and text == "null":
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


def _allowed(parameter: inspect.Parameter, annotation: Annotation) -> bool:
    named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return named and _FORM.fullmatch(describe(annotation)) is not None
