"""A model with its versions, as it is shown."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from podium.db.schema import evidence, model_version
from podium.registry import history, store
from podium.registry.entities import CHALLENGER, CHAMPION, instant_text, lineage_document
from podium.registry.timeline import LIVE, live_now
from podium.registry.transitions import blocked_versions, champions


def model_document(
    connection: sa.Connection,
    model: str,
    *,
    aliases: Mapping[str, str | None] | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return a model and its versions, newest first, in the interface's JSON.

    `aliases` are the registry's. Without them the champion is the one of Podium's own history, which cannot
    know of a move made outside Podium; `aliases_from` says which it is. `limit` leaves out all versions but so many of
    the newest, those with an alias and those that are blocked, and reads no more than that: a model may have ten
    thousand. `versions_total` counts every version.
    """
    shown = {CHAMPION: _champion_by_history(connection, model)} if aliases is None else dict(aliases)
    shown = {CHAMPION: shown.get(CHAMPION), CHALLENGER: shown.get(CHALLENGER)}
    blocked = blocked_versions(history.blocks(connection, model))
    rows = _shown_versions(connection, model, limit, blocked.union(filter(None, shown.values())))
    told = (
        history.entries(connection, model)
        if limit is None
        else history.entries_on(connection, model, [row.version for row in rows])
    )
    served = set(champions(told))
    of_model = sa.select(sa.func.count()).where(model_version.c.model == model)
    return {
        "name": model,
        "aliases": shown,
        "aliases_from": "history" if aliases is None else "registry",
        "versions_total": int(connection.scalar(of_model) or 0),
        "versions": [
            {
                "version": row.version,
                "state": _state(row.version, shown, blocked, served),
                "digest": row.digest,
                "blocked": row.version in blocked,
                **lineage_document(store.lineage_of(row)),
                "origin": row.origin,
                "copied_from": store.version_of(row).to_document()["copied_from"],
                "verdict": row.verdict,
                "registered_at": instant_text(row.registered_at),
            }
            for row in rows
        ],
    }


def _champion_by_history(connection: sa.Connection, model: str) -> str | None:
    """Return the last champion that the history tells of, read from its end as far back as need be."""
    count = 32
    while True:
        newest = history.newest_entries(connection, model, count)
        if len(newest) < count or any(fact.state in LIVE for fact in newest):
            return live_now(newest)
        count *= 8


def _shown_versions(
    connection: sa.Connection, model: str, limit: int | None, besides: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return the newest versions, and `besides` them these, with their verdicts, newest first."""
    of_model = (
        sa.select(model_version, evidence.c.verdict)
        .outerjoin(evidence, evidence.c.digest == model_version.c.evidence_digest)
        .where(model_version.c.model == model)
        .order_by(*store.NEWEST_FIRST)
    )
    newest = connection.execute(of_model.limit(limit)).all()
    missing = set(besides).difference(row.version for row in newest)
    if limit is None or not missing:
        return newest
    # Each is older than the newest.
    return [*newest, *connection.execute(of_model.where(model_version.c.version.in_(missing)))]


def _state(version: str, aliases: Mapping[str, str | None], blocked: set[str], served: set[str]) -> str:
    for alias in (CHAMPION, CHALLENGER):
        if aliases[alias] == version:
            return alias
    if version in blocked:
        return "blocked"
    return "retired" if version in served else "registered"
