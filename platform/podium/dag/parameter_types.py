"""What a run parameter may be annotated with, and pydantic's reading of a text for it; needs the pipeline's code."""

import inspect
import json
import types
from collections.abc import Callable, Collection
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from podium.dag import values
from podium.dag.annotations import Annotation, parameter_types
from podium.dag.plan import Parameter
from podium.dag.typecheck import accepts_value, describe
from podium.errors import DefinitionError, NoCodec, UsageError

_PLAIN = (bool, int, float, str, list, dict)
_GENERIC = (list, dict, tuple)


def declared_parameters(label: str, function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the run parameters of a pipeline function, all but its first; DefinitionError on a bad one."""
    annotations = parameter_types(function, with_metadata=True)
    found = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        annotation = annotations[parameter.name]
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if not named or not _allowed(annotation):
            raise DefinitionError(
                f"{label}: parameter {parameter} cannot be given to a run; annotate it with bool, int, float, str, "
                "date, an Enum, a Literal, a pydantic model, with lists or dicts of them, or one of all these `| None`."
            )
        required = parameter.default is parameter.empty
        found[parameter.name] = Parameter(
            _shown(annotation),
            required,
            None if required else _default(label, parameter.name, annotation, parameter.default),
            validated=_is_validated(annotation),
        )
    return found


def read_texts(pipeline: str, function: Callable[..., Any], texts: dict[str, str]) -> dict[str, Any]:
    """Return the values, encoded as JSON, that texts stand for; UsageError names parameter, text and constraint."""
    annotations = parameter_types(function, with_metadata=True)
    return {name: _read(pipeline, name, annotations[name], text) for name, text in texts.items()}


def _read(pipeline: str, name: str, annotation: Annotation, text: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    adapter: Any = TypeAdapter(annotation)
    complaints = []
    for document in (text, json.dumps(text)):  # JSON, or else text
        try:
            return values.encode(adapter.validate_json(document, strict=True))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] != "json_invalid":
                complaints.append("".join(f"{part}: " for part in first["loc"]) + first["msg"])
        except NoCodec as error:
            complaints.append(str(error))
    raise UsageError(
        f"Parameter {name} of pipeline {pipeline} is {_shown(annotation)}, and {text!r} is none: {complaints[0]}."
    )


def _default(label: str, name: str, annotation: Annotation, default: Any) -> Any:
    fits = _validates(annotation, default) if _is_validated(annotation) else accepts_value(annotation, default)
    if not fits:
        raise DefinitionError(
            f"{label}: parameter {name} is {_shown(annotation)}, but its default is {default!r}; make the two agree."
        )
    try:
        return values.encode(default)
    except NoCodec as error:
        raise DefinitionError(f"{label}: the default of parameter {name} cannot be kept. {error}") from None


def _validates(annotation: Annotation, value: Any) -> bool:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _is_validated(annotation: Annotation) -> bool:
    """Tell whether an annotation says more than a plain type, or one `| None`: pydantic then reads texts for it."""
    members = [member for member in _members(annotation) if member is not types.NoneType]
    return len(members) != 1 or members[0] not in _PLAIN


def _allowed(annotation: Annotation) -> bool:
    owner: Any = get_origin(annotation)
    if owner is Annotated:
        return _allowed(get_args(annotation)[0])
    if owner is Literal:
        return True
    if owner in (Union, types.UnionType):
        members: Collection[Any] = get_args(annotation)
        return all(member is types.NoneType or _allowed(member) for member in members)
    if owner in _GENERIC:
        return all(argument in (Any, ...) or _allowed(argument) for argument in get_args(annotation))
    if not isinstance(annotation, type):
        return False
    return annotation in (*_PLAIN, tuple, date, datetime) or issubclass(annotation, Enum) or _is_model(annotation)


def _is_model(annotation: type) -> bool:
    return any(each.__module__.partition(".")[0] == "pydantic" for each in annotation.__mro__)


def _members(annotation: Annotation) -> tuple[Annotation, ...]:
    owner: Any = get_origin(annotation)
    return get_args(annotation) if owner in (Union, types.UnionType) else (annotation,)


def _shown(annotation: Annotation) -> str:
    """Return an annotation as a person would write it, with the constraints that it is annotated with."""
    owner: Any = get_origin(annotation)
    if owner is not Annotated:
        return describe(annotation)
    plain, *metadata = get_args(annotation)
    constraints = [str(each) for one in metadata for each in getattr(one, "metadata", [one])]
    return f"{_shown(plain)} with {', '.join(constraints)}" if constraints else _shown(plain)
