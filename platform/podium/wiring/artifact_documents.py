"""Artifacts in the interface's JSON: what they are, where they lie, where they came from and went."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.execution import lineage
from podium.execution.items import item_name
from podium.registry.entities import instant_text


def artifact_document(connection: sa.Connection, digest: str, *, where: str) -> dict[str, Any]:
    """Return one artifact with its lineage; `where` is the place of all that is not inline. NotFound without it."""
    row = lineage.find(connection, digest)
    return {
        **_artifact(row),
        "where": {"stored": f"{where}/{row.digest[:2]}/{row.digest}", "inline": "the database"}.get(_kept(row)),
        "stored_at": _instant(row.stored_at),
        "removed_at": _instant(row.removed_at),
        "made_by": [_told(each) for each in lineage.makers(connection, row.digest)],
        "taken_over_by": lineage.taken_over(connection, row.digest),
        "read_by": [_told(each) for each in lineage.readers(connection, row.digest)],
    }


def artifacts_of_run(connection: sa.Connection, run_id: str) -> list[dict[str, Any]]:
    """Return what the steps of a run stored, in the plan's order."""
    return [
        {"step": item_name(row.step, row.map_index), "output": row.name, "cached": row.cached, **_artifact(row)}
        for row in lineage.of_run(connection, run_id)
    ]


def _artifact(row: sa.Row[Any]) -> dict[str, Any]:
    return {"digest": row.digest, "codec": row.codec, "size_bytes": row.size_bytes, "kept": _kept(row)}


def _kept(row: sa.Row[Any]) -> str:
    if row.inline is not None:
        return "inline"
    return "stored" if row.removed_at is None else "removed"


def _told(document: dict[str, Any]) -> dict[str, Any]:
    return {name: _instant(value) if isinstance(value, datetime) else value for name, value in document.items()}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant_text(at)
