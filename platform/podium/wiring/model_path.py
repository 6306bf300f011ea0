"""Where a model stands in each environment, and what could go on, in the interface's JSON."""

from collections.abc import Sequence
from typing import Any

from podium.errors import NotFound
from podium.registry import environments, history, store
from podium.registry.entities import CHAMPION, HistoryEntry, ModelVersion, instant_text
from podium.registry.timeline import tenures
from podium.registry.transitions import blocked_versions
from podium.wiring.advance import policy_of
from podium.wiring.environments import environment_path
from podium.wiring.project import Project


def path_document(project: Project, name: str) -> dict[str, Any]:
    """Return the environments of a model, each with its champion; `name` is the model's, in an environment or without.

    The registry is asked for the champions. Raises UsageError without a path, NotFound for a model in none of it.
    """
    path = environment_path(project.settings)
    place = path.place_of(name)
    model = name if place is None and path.names else path.require(name).model
    names = path.models_of(model)
    with project.database.read() as connection:
        known = store.model_names(connection)
    if not set(names) & set(known):
        raise NotFound(
            f"There is no model {model!r} in any environment of the path {path.shown}: no version of "
            f"{', '.join(names)} was registered yet."
        )
    standings = [_standing(project, each) for each in names]
    policies = [policy_of(project, environment) for environment in path.names]
    documents = []
    for index, (environment, standing, policy) in enumerate(zip(path.names, standings, policies, strict=True)):
        before = standings[index - 1] if index else None
        documents.append(
            {
                "environment": environment,
                "model": standing.model,
                "champion": standing.champion,
                "since": standing.since,
                "digest": None if standing.version is None else standing.version.digest,
                "copied_from": _origin(standing.version),
                "policy": project.settings.environments.policies.get(environment),
                "policy_digest": None if policy is None else policy.digest,
                "equal_to_before": None if before is None else _equal(before.version, standing.version),
                "blocked_before": None if before is None else _blocked(before, standing.version),
            }
        )
    return {
        "model": model,
        "path": list(path.names),
        "environments": documents,
        "next": [
            {
                "model": standing.model,
                "version": standing.version.version,
                "to_environment": environment,
                "to_model": following.model,
                "command": f"podium models advance {standing.model} --version {standing.version.version} --reason TEXT",
            }
            for standing, following, environment in zip(standings, standings[1:], path.names[1:], strict=False)
            if standing.version is not None and _could_go_on(standing, following)
        ],
    }


class _Standing:
    """What a registered model's champion is, and what is on record about it."""

    def __init__(
        self,
        model: str,
        champion: str | None,
        version: ModelVersion | None,
        versions: Sequence[ModelVersion],
        told: Sequence[HistoryEntry],
    ) -> None:
        self.model = model
        self.champion = champion
        self.version = version
        self.versions = versions
        self.history = told
        self.blocked = blocked_versions(told)

    @property
    def since(self) -> str | None:
        """When the champion became it; None where the history does not tell of it last."""
        last = tenures(self.history)[-1:]
        return instant_text(last[0].since) if last and last[0].version == self.champion is not None else None


def _standing(project: Project, model: str) -> _Standing:
    champion = project.registry.alias(model, CHAMPION)
    with project.database.read() as connection:
        version = None if champion is None else store.find_version(connection, model, champion)
        versions = store.versions_of_model(connection, model)
        return _Standing(model, champion, version, versions, history.entries(connection, model))


def _could_go_on(standing: _Standing, following: _Standing) -> bool:
    """Whether the champion may leave for the next environment and is not there already; its gate is not asked."""
    version = standing.version
    if version is None or environments.departure_objection(version, standing.history, standing.blocked) is not None:
        return False
    if environments.twin_objection(version, following.versions, following.blocked) is not None:
        return False
    return following.version is None or following.version.copied_from != (version.model, version.version)


def _origin(version: ModelVersion | None) -> dict[str, str] | None:
    if version is None or version.copied_from is None:
        return None
    return {"model": version.copied_from[0], "version": version.copied_from[1]}


def _blocked(before: _Standing, version: ModelVersion | None) -> bool | None:
    """Return whether the original of a champion was blocked in the environment before since it left."""
    if version is None or version.copied_from is None or version.copied_from[0] != before.model:
        return None
    return version.copied_from[1] in before.blocked


def _equal(before: ModelVersion | None, version: ModelVersion | None) -> bool | None:
    return None if before is None or version is None else before.digest == version.digest
