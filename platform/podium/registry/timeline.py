"""Which version is live, and by which fact: read off a model's history, pure.

Podium moves the champion itself (`applied`, `restored`), takes over what is there (`adopted`), or sees that somebody
else moved it (`noticed`); nothing else changes what is live.
"""

from collections.abc import Sequence

from podium.registry.entities import HistoryEntry

MOVED = ("applied", "restored", "adopted")
"""The states of facts by which a version was made champion, or accepted as it, on purpose."""
LIVE = (*MOVED, "noticed")
"""The states of facts that say which version is live from then on."""


def live_now(history: Sequence[HistoryEntry]) -> str | None:
    """Return the champion by the history's last word on it, None where there is none."""
    return next((fact.to_version for fact in reversed(history) if fact.state in LIVE), None)
