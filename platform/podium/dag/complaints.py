"""What an exception of a person's code says, in the one paragraph that a message is."""

import difflib
import reprlib
import sys
import traceback
from collections.abc import Collection
from typing import Any


def in_one_line(error: BaseException) -> str:
    """Return the exception's text without its line breaks."""
    return " ".join(str(error).split())


def about_a_model(error: BaseException) -> str | None:
    """Return which fields pydantic refused and why, with the fields there are; None for every other exception."""
    pydantic = sys.modules.get("pydantic")  # whoever raised an error of its own has imported it
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return None
    refused: Any = error
    problems = refused.errors(include_url=False)
    parents = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
    told = (  # of a whole and its part, the part
        _problem(refused.title, problem, _known_fields(error)) for problem in problems if problem["loc"] not in parents
    )
    return " ".join(" ".join(told).split())


def _problem(title: str, problem: Any, known: Collection[str]) -> str:
    name = ".".join(str(part) for part in (title, *problem["loc"]))
    if problem["type"] == "missing":
        return f"{name} is not given."
    if problem["type"] == "extra_forbidden":
        return _unknown_field(title, problem["loc"], known)
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # what a model says of its fields together
        return f"{name}: {message}."
    return f"{name} is {reprlib.repr(problem['input'])}: {message[0].lower()}{message[1:]}."


def _unknown_field(title: str, location: tuple[str | int, ...], known: Collection[str]) -> str:
    *outer, field = location
    owner = ".".join(str(part) for part in (title, *outer))
    if outer or not known:  # only the outermost model's fields are known
        return f"{owner} has no field {field!r}."
    close = difflib.get_close_matches(str(field), known, n=1)
    suggestion = f"; did you mean {close[0]}?" if close else "."
    return f"{owner} has no field {field!r}{suggestion} Its fields are {', '.join(known)}."


def _known_fields(error: BaseException) -> Collection[str]:
    """Return the fields of the model that refused, which pydantic's own frame knows and its exception does not."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    variables = frames[-1].f_locals if frames else {}
    model = variables.get("cls", type(variables.get("self")))
    return tuple(getattr(model, "model_fields", ()))
