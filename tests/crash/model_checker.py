"""What must be true of models once their runs were killed and run again: versions, moves of the champion, canaries."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from podium.canary import documents, store
from podium.canary.entities import Look, requests_of
from podium.db.schema import canary, model_version, promotion
from podium.registry import history
from podium.registry.entities import CHALLENGER, CHAMPION
from podium.registry.verification import verify
from podium.wiring.project import Project

_DIFFERS = ("canary_id", "promotion_id", "run_id", "opened_at", "ended_at")
"""What differs between two canaries of the same run, beside which nothing does: it is drawn and counted alike."""


@dataclass(frozen=True, order=True)
class Move:
    """One entry of a model's history."""

    model: str
    action: str
    state: str
    from_version: str | None
    to_version: str | None


@dataclass(frozen=True)
class ModelRecord:
    """Versions as (model, version), the moves of their champions, and what their canaries came to."""

    versions: tuple[tuple[str, str], ...]
    moves: tuple[Move, ...]
    canaries: tuple[dict[str, Any], ...]


def record(connection: sa.Connection) -> ModelRecord:
    """Return what is on record of all models, in the order in which it happened to each."""
    query = sa.select(model_version.c.model, model_version.c.version).order_by(*model_version.primary_key)
    versions = tuple((row.model, row.version) for row in connection.execute(query))
    models = sorted({model for model, _ in versions})
    entries = [entry for model in models for entry in history.entries(connection, model)]
    canaries = [
        {name: told for name, told in documents.show(connection, model).items() if name not in _DIFFERS}
        for model in connection.scalars(sa.select(canary.c.model).order_by(canary.c.model))
    ]
    return ModelRecord(
        versions=versions,
        moves=tuple(
            Move(entry.model, entry.action, entry.state, entry.from_version, entry.to_version) for entry in entries
        ),
        canaries=tuple(canaries),
    )


def problems(project: Project, undisturbed: ModelRecord) -> Iterator[str]:
    """Yield all that is wrong with the models of `project`, in words."""
    with project.database.read() as connection:
        found = record(connection)
        for what in ("versions", "moves", "canaries"):
            expected, told = getattr(undisturbed, what), getattr(found, what)
            if told != expected:
                yield f"{what} expected: {expected}, on record are {told}"
        for model in sorted({model for model, _ in found.versions}):
            verification = verify(connection, model)
            if not verification.ok:
                yield f"the history of {model} is broken: {verification.problem}"
        yield from _of_promotions(connection, found)
        yield from _of_canaries(connection)
    for model in sorted({model for model, _ in found.versions}):
        yield from _of_registry(project, model, found)


def _of_registry(project: Project, model: str, found: ModelRecord) -> Iterator[str]:
    """MLflow has the versions on record, each loadable, and its aliases are where the history has moved them."""
    registered = project.registry.versions(model)
    numbers = [version for each, version in found.versions if each == model]
    if sorted(each.version for each in registered) != numbers:
        yield f"versions {numbers} of {model} are on record, in MLflow are {[each.version for each in registered]}"
    applied = [move for move in found.moves if (move.model, move.state) == (model, "applied")]
    champions = [None, *(move.to_version for move in applied)]
    if [move.from_version for move in applied] != champions[:-1]:
        yield f"the moves of the champion of {model} do not follow each other: {applied}"
    aliases = {alias: project.registry.alias(model, alias) for alias in (CHAMPION, CHALLENGER)}
    if aliases != {CHAMPION: champions[-1], CHALLENGER: None}:
        yield f"the aliases of {model} are {aliases}, after its last applied move to {champions[-1]}"
    with project.database.read() as connection:
        for row in connection.execute(sa.select(model_version).where(model_version.c.model == model)):
            project.registry.load_model(row.source, digest=row.digest)


def _of_promotions(connection: sa.Connection, found: ModelRecord) -> Iterator[str]:
    """Every promotion that was asked for is told of once, and nobody asked twice."""
    rows = connection.execute(sa.select(promotion)).all()
    asked = sorted((row.model, row.state, str(row.to_version)) for row in rows)
    told = sorted((move.model, move.state, str(move.to_version)) for move in found.moves)
    if asked != told:
        yield f"promotions {asked} are on record, the histories tell of {told}"


def _of_canaries(connection: sa.Connection) -> Iterator[str]:
    """One canary for each run that asked for one; its looks follow each other and decide alike when asked again."""
    runs = connection.scalars(sa.select(canary.c.run_id)).all()
    if len(set(runs)) != len(runs):
        yield f"the canaries belong to the runs {runs}: one of them has several"
    promotions = {row.promotion_id: row for row in connection.execute(sa.select(promotion))}
    for canary_id in connection.scalars(sa.select(canary.c.canary_id)):
        tried = store.find(connection, canary_id)
        assert tried is not None
        looks = store.looks(connection, canary_id)
        if not looks:
            yield f"canary {canary_id} is {tried.state} without a look"
            continue
        if not tried.ended or (tried.position, tried.counts) != (looks[-1].position, looks[-1].counts):
            yield f"canary {canary_id} is {tried.state} at {tried.position}, its last look was at {looks[-1].position}"
        promoted = promotions.get(tried.promotion_id or "")
        if promoted is not None and (promoted.state, promoted.to_version) != ("applied", tried.challenger_version):
            yield f"canary {canary_id} is {tried.state} by promotion {promoted.promotion_id}, {promoted.state}"
        yield from _of_looks(canary_id, looks)
        replayed = documents.replayed(connection, canary_id)
        if not replayed.ok:
            yield f"canary {canary_id} would have decided otherwise at {replayed.first_difference}"


def _of_looks(canary_id: str, looks: list[Look]) -> Iterator[str]:
    for look in looks:
        if requests_of(look.counts) != look.position:
            yield f"canary {canary_id} counts {requests_of(look.counts)} requests at {look.position}"
        if (look.verdict == "continue") == (look is looks[-1]):
            yield f"canary {canary_id} says {look.verdict} at {look.position}, its last look is at {looks[-1].position}"
    for before, after in itertools.pairwise(looks):
        if before.position >= after.position or before.at > after.at or not _followed(before, after):
            yield f"canary {canary_id} counts less at {after.position} than at {before.position}, or looked earlier"


def _followed(before: Look, after: Look) -> bool:
    names = ("challenger_exposures", "challenger_errors", "champion_exposures", "champion_errors")
    pairs = zip(before.counts, after.counts, strict=True)
    return all(getattr(then, name) <= getattr(now, name) for then, now in pairs for name in names)
