"""The path that a model's versions take: the section `[environments]`."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,29}")
_FIELDS = re.compile(r"\{(environment|model)\}")


class EnvironmentSettings(BaseModel):
    """Environments in the order in which a version enters them, each with a registered model of its own.

    `model_name` says how that is named. `policies` names the file with the gate's rules of an environment; one without
    asks again what was asked in the environment before. The first one's versions are judged by their pipeline.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: tuple[str, ...] = ()
    model_name: str = "{environment}.{model}"
    policies: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name; take a letter, then up to 29 letters, digits, - or _")
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"it names {', '.join(twice)} twice; name each environment once")
        if len(names) == 1:
            raise ValueError(f"it has one environment, {names[0]}; a path has two at least, as dev and prod")
        return names

    @field_validator("model_name")
    @classmethod
    def _names_both(cls, template: str) -> str:
        if sorted(_FIELDS.findall(template)) != ["environment", "model"] or set(_FIELDS.sub("", template)) & set("{}"):
            raise ValueError("name {environment} and {model} once each, as {environment}.{model}")
        if set(template) & set("/:"):
            raise ValueError("a registered model's name may hold no / and no :, take a dot")
        return template

    @model_validator(mode="after")
    def _can_be_read_back(self) -> Self:
        between = re.search(r"\}(.*)\{", self.model_name)
        separator = between[1] if between else ""
        if not separator:
            raise ValueError("model_name has nothing between {environment} and {model}; write {environment}.{model}")
        for name in self.path:
            if separator in name:
                raise ValueError(
                    f"the environment {name} holds {separator!r}, which parts it from the model in model_name; "
                    "write model_name = '{environment}.{model}'"
                )
        return self

    @model_validator(mode="after")
    def _policies_are_of_later_environments(self) -> Self:
        for name in self.policies:
            if name not in self.path:
                raise ValueError(f"policies names {name}, which is not in the path{_guess(name, self.path)}")
            if name == self.path[0]:
                raise ValueError(
                    f"policies names {name}, the first of the path, whose versions a pipeline judges; give the policy "
                    "to evaluate_candidate there"
                )
        return self


def explain(problem: dict[str, Any], source: str) -> str:
    """Say what is wrong with the path, its names or its policies."""
    place = [str(part) for part in problem["loc"][1:] if part != "[key]"]
    if problem["type"] == "extra_forbidden":
        known = EnvironmentSettings.model_fields
        return f"{source}, environments: {place[-1]} is no setting{_guess(place[-1], known)} They are {_and(known)}."
    where = ", ".join(["environments", *place[:2]])
    if problem["type"] == "value_error":
        return f"{source}, {where}: {problem['msg'].removeprefix('Value error, ').rstrip('.')}. Correct or remove it."
    return f"{source}, {where} is of the wrong kind; {_remedy(place)}."


def _remedy(place: list[str]) -> str:
    if place[:1] == ["path"]:
        return 'list the names in quotes, as path = ["dev", "staging", "prod"]'
    if place[:1] == ["policies"]:
        return 'name a file in quotes for each environment, as staging = "gates/staging.yaml"'
    if place == ["model_name"]:
        return 'give a text, as model_name = "{environment}.{model}"'
    return 'write path = ["dev", "staging", "prod"] below a line [environments]'


def _guess(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _and(names: Iterable[str]) -> str:
    return ", ".join(names)
