"""The JSON form of what supervisor and slot tell each other."""

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Any

from podium.execution.artifacts import Artifact
from podium.execution.meter import Usage


def artifact_to_document(artifact: Artifact) -> dict[str, Any]:
    """Return the JSON form of an artifact."""
    inline = None if artifact.inline is None else base64.b64encode(artifact.inline).decode()
    removed_at = None if artifact.removed_at is None else artifact.removed_at.isoformat()
    return {**asdict(artifact), "inline": inline, "removed_at": removed_at}


def artifact_from_document(document: dict[str, Any]) -> Artifact:
    """Return the artifact of a JSON form."""
    inline, removed_at = document["inline"], document["removed_at"]
    return Artifact(
        document["digest"],
        document["codec"],
        document["size_bytes"],
        None if inline is None else base64.b64decode(inline),
        None if removed_at is None else datetime.fromisoformat(removed_at),
    )


def usage_to_document(usage: Usage) -> dict[str, Any]:
    """Return the JSON form of a usage."""
    return asdict(usage)


def usage_from_document(document: dict[str, Any]) -> Usage:
    """Return the usage of a JSON form."""
    return Usage(**document)
