"""What is wrong with a gate policy, said so that its author can mend it: which rule, what was meant, what is known."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from podium.registry.policy import GatePolicy, Guard, Limits
from podium.registry.rules import Rule

_LONGEST_VALUE = 60
_INNER: dict[Any, type[BaseModel]] = {"guards": Guard, "limits": Limits, "rules": Rule}


def explain(error: ValidationError) -> str:
    """Return all that is wrong, in one line."""
    return "; ".join(_explain(dict(problem)) for problem in error.errors())


def _explain(problem: dict[str, Any]) -> str:
    place = [part for part in problem["loc"] if part != "[key]"]
    name, kind = ".".join(map(str, place)), problem["type"]
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = _INNER[place[0]] if len(place) > 1 and place[0] in _INNER else GatePolicy
        called = "the rules are" if known is GatePolicy else f"{place[0]} know"
        return (
            f"{name!r} is no rule{_meant(str(place[-1]), known.model_fields)}; {called} {', '.join(known.model_fields)}"
        )
    if kind == "missing":
        return f"{name} is missing"
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'(\w+)'", problem["ctx"]["expected"])
        value = problem["input"]
        meant = _meant(value, choices) if isinstance(value, str) else ""
        return f"{name} is {_shown(value)}, which is none of its choices{meant}; they are {', '.join(choices)}"
    if kind == "string_pattern_mismatch":  # of a rule's function alone
        return f"{name} is {_shown(problem['input'])}; name a function as pipelines.rules:no_worse_at_night"
    if kind == "value_error" and not isinstance(problem["input"], str | int | float):
        return f"{name}: {message}" if name else message
    return f"{name or 'it'} is {_shown(problem['input'])}: {message[:1].lower()}{message[1:]}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
