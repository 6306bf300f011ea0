"""How step runs of a run document are called."""

from collections.abc import Mapping
from typing import Any

from podium.execution.items import item_name


def label_of(step: Mapping[str, Any]) -> str:
    """Return what an entry of a document's steps is called: `fit[2]` for an item of a mapped step.

    >>> label_of({"name": "fit", "map_index": 2}), label_of({"name": "fit", "map_index": None})
    ('fit[2]', 'fit')
    """
    return str(step["name"]) if step["map_index"] is None else item_name(step["name"], step["map_index"])
