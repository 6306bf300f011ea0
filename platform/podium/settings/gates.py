"""Which file holds the gate policy of which model: the section `[gates]`."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

_DEFAULT = "*"


def _is_file_of_the_project(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or path.suffix not in (".yaml", ".yml"):
        raise ValueError("give a YAML file of the project, by its path from the root, as gates/flight_delay.yaml")
    return text


Gates = dict[Annotated[str, Field(min_length=1)], Annotated[str, AfterValidator(_is_file_of_the_project)]]
"""Files by model: a name, or a shell pattern; `*` is the default."""


def gate_file(gates: Mapping[str, str], model: str) -> str | None:
    """Return the file of the first entry that names the model; `*` comes last wherever it stands. None without one.

    >>> gate_file({"*": "gates/all.yaml", "flight_*": "gates/flights.yaml"}, "flight_delay")
    'gates/flights.yaml'
    """
    patterns = [pattern for pattern in gates if pattern != _DEFAULT]
    found = (gates[each] for each in patterns if each == model or fnmatchcase(model, each))
    return next(found, gates.get(_DEFAULT))
