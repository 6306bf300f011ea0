"""The path of environments that versions take, each with a registered model of its own: names, order, entrance.

A model per environment, as MLflow advises, and not an alias per environment: history, locks, canaries and approvals
are of a model, and so each environment has its own.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from podium.errors import UsageError
from podium.registry.entities import HistoryEntry, ModelVersion, RegisteredVersion

DEFAULT_NAME = "{environment}.{model}"


@dataclass(frozen=True)
class Place:
    """What a registered model's name says: which model it is, and in which environment."""

    environment: str
    model: str


@dataclass(frozen=True)
class EnvironmentPath:
    """Environments in the order in which a version enters them; without any, nothing here constrains anything.

    >>> path = EnvironmentPath(("dev", "staging", "prod"))
    >>> path.name_in("staging", "flight_delay")
    'staging.flight_delay'
    >>> path.place_of("prod.flight_delay")
    Place(environment='prod', model='flight_delay')
    >>> path.after("dev.flight_delay"), path.before("dev.flight_delay")
    ('staging.flight_delay', None)
    """

    names: tuple[str, ...] = ()
    model_name: str = DEFAULT_NAME

    def name_in(self, environment: str, model: str) -> str:
        """Return the name of the registered model of `model` in an environment."""
        return self.model_name.replace("{environment}", environment).replace("{model}", model)

    def place_of(self, name: str) -> Place | None:
        """Return what a registered model's name says; None for one that is outside the path."""
        found = self._form.fullmatch(name) if self.names else None
        return None if found is None else Place(found["environment"], found["model"])

    def before(self, name: str) -> str | None:
        """Return the model that the versions of `name` must come from; None in the first, and outside the path."""
        return self._neighbour(name, -1)

    def after(self, name: str) -> str:
        """Return the model that the versions of `name` go on to; raises UsageError for one that leads nowhere."""
        place = self.require(name)
        following = self._neighbour(name, 1)
        if following is None:
            raise UsageError(
                f"{place.environment} is the last environment of the path {self.shown}, so versions of {name} go no "
                f"further; `podium promote {name} --reason TEXT` decides which of them serves."
            )
        return following

    def require(self, name: str) -> Place:
        """Return what a registered model's name says; raises UsageError for one that is outside the path."""
        if not self.names:
            raise UsageError(
                "This project has no path of environments; write one in podium.toml: below a line [environments], "
                'path = ["dev", "staging", "prod"].'
            )
        place = self.place_of(name)
        if place is None:
            raise UsageError(
                f"The model {name} is in no environment of the path {self.shown}; such models are named "
                f"{', '.join(self.models_of(name))}."
            )
        return place

    def models_of(self, model: str) -> list[str]:
        """Return the names of the registered models of `model`, in the order of the path."""
        return [self.name_in(environment, model) for environment in self.names]

    @property
    def shown(self) -> str:
        """The path as a person writes it."""
        return " → ".join(self.names)

    @cached_property
    def _form(self) -> re.Pattern[str]:
        environment = f"(?P<environment>{'|'.join(map(re.escape, self.names))})"
        form = re.escape(self.model_name).replace(r"\{environment\}", environment)
        return re.compile(form.replace(r"\{model\}", "(?P<model>.+)"))

    def _neighbour(self, name: str, step: int) -> str | None:
        place = self.place_of(name)
        if place is None:
            return None
        index = self.names.index(place.environment) + step
        return self.name_in(self.names[index], place.model) if 0 <= index < len(self.names) else None


ModelBefore = Callable[[str], str | None]
"""Returns the model that a model's versions must come from; None where they may come from anywhere."""


@dataclass(frozen=True)
class Entrance:
    """The environment before, as a version that came from there finds it: what it was there, what is blocked there."""

    before: str
    original: ModelVersion | None  # of which the version is a copy
    blocked: Collection[str]


def entrance_objection(entrance: Entrance, candidate: ModelVersion) -> str | None:
    """Return why a version may not become champion in a later environment, None where it may.

    It must be a copy of a version of the environment before, of the same files, that is not blocked there.
    """
    model, version = candidate.model, candidate.version
    if candidate.copied_from is None or candidate.copied_from[0] != entrance.before:
        return (
            f"Version {version} of {model} did not come from {entrance.before}, and a version enters an environment "
            "only through the gate of the one before. `podium models advance "
            f"{entrance.before} --version V --reason TEXT` brings one that was champion there."
        )
    origin = f"version {candidate.copied_from[1]} of {entrance.before}"
    if entrance.original is None:
        return f"Version {version} of {model} is a copy of {origin}, which is not on record; advance another one."
    if entrance.original.digest != candidate.digest:
        return (
            f"Version {version} of {model} is a copy of {origin}, but its files have the digest "
            f"{candidate.digest[:12]}… and not {entrance.original.digest[:12]}…, as there: what was tried there is not "
            "what would serve here. Advance it again."
        )
    if entrance.original.version in entrance.blocked:
        return (
            f"Version {version} of {model} is a copy of {origin}, which is blocked there: it goes no further. "
            f"{_unblock(entrance.before, entrance.original.version)}"
        )
    return None


def adoption_objection(
    version: RegisteredVersion, digest: str, *, before: str, versions: Sequence[ModelVersion], blocked: Collection[str]
) -> str | None:
    """Return why a version that somebody made champion of a later environment is not accepted, None where it is.

    Its files must be those of a version of the environment `before`, whose `versions` are on record, that is not
    `blocked` there.
    """
    model, number = version.model, version.version
    twins = [each for each in versions if each.digest == digest]
    if not twins:
        return (
            f"Version {number} of {model} is no copy of what is on record of {before}: no version there has its files "
            f"({digest[:12]}…), and a version enters an environment only from the one before. `podium models advance "
            f"{before} --version V --reason TEXT` brings one in through the gate. To keep this one, register the same "
            f"files in {before}, and let `podium models adopt {before} --version V --reason TEXT` put them on record "
            "there first."
        )
    if all(each.version in blocked for each in twins):
        origin = twins[-1].version
        return (
            f"The files of version {number} of {model} are those of version {origin} of {before}, which is blocked "
            f"there: they go no further. {_unblock(before, origin)}"
        )
    return None


def departure_objection(version: ModelVersion, history: Sequence[HistoryEntry], blocked: Collection[str]) -> str | None:
    """Return why a version may not go on to the next environment, None where it may.

    It must have been champion where it is, have evidence, and not be blocked.
    """
    model, number = version.model, version.version
    if number not in {entry.to_version for entry in history if entry.state == "applied"}:
        return (
            f"Version {number} of {model} was never champion, and a version goes on only from where it served. "
            f"`podium promote {model} --version {number} --reason TEXT` goes through the gate there."
        )
    if number in blocked:
        return f"Version {number} of {model} is blocked, so it goes no further. {_unblock(model, number)}"
    if version.lineage is None:
        return (
            f"Version {number} of {model} was adopted, so nobody knows which rows may judge it; advance one that a "
            "pipeline registered."
        )
    return None


def twin_objection(origin: ModelVersion, following: Sequence[ModelVersion], blocked: Collection[str]) -> str | None:
    """Return why files that are blocked in the next environment may not enter it again, None where they are not.

    `following` are the versions of the next environment's model, `blocked` those of them that are.
    """
    for twin in following:
        if twin.digest == origin.digest and twin.version in blocked:
            return (
                f"The files of version {origin.version} of {origin.model} are in {twin.model} already, as version "
                f"{twin.version}, which is blocked. {_unblock(twin.model, twin.version)}"
            )
    return None


def misplaced(path: EnvironmentPath, *, pipeline: str, model: str, environment: str, registers: bool) -> str | None:
    """Return what is wrong with the model and environment that a pipeline declares, None where nothing is.

    One that `registers` versions must do so in the first environment: the others get theirs from the one before.
    """
    if not path.names:
        return None
    declared = f"The pipeline {pipeline} declares environment={environment!r}"
    if environment not in path.names:
        return (
            f"{declared}, which is not in the path {path.shown} of [environments] in podium.toml; write "
            f"environment={path.names[0]!r} and model={path.name_in(path.names[0], _base(path, model))!r}."
        )
    place = path.place_of(model)
    if place is None or place.environment != environment:
        whose = "is in no environment" if place is None else f"is in {place.environment}"
        return (
            f"{declared} and model={model!r}, which by its name {whose}; write "
            f"model={path.name_in(environment, _base(path, model))!r}."
        )
    if registers and environment != path.names[0]:
        first = path.name_in(path.names[0], place.model)
        return (
            f"{declared} and registers versions, but {environment} gets its versions from the environment before; "
            f"write environment={path.names[0]!r} and model={first!r}, and bring them on with `podium models advance "
            f"{first}`."
        )
    return None


def _base(path: EnvironmentPath, name: str) -> str:
    place = path.place_of(name)
    return name if place is None else place.model


def _unblock(model: str, version: str) -> str:
    return f"`podium models unblock {model} --version {version} --reason TEXT` lifts that."
