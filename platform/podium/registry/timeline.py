"""Which version was live when, and by which fact: read off a model's history, pure.

Podium moves the champion itself (`applied`, `restored`), takes over what is there (`adopted`), or sees that somebody
else moved it (`noticed`); nothing else changes what is live.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podium.registry.entities import HistoryEntry, instant_text

MOVED = ("applied", "restored", "adopted")
"""The states of facts by which a version was made champion, or accepted as it, on purpose."""
LIVE = (*MOVED, "noticed")
"""The states of facts that say which version is live from then on."""


@dataclass(frozen=True)
class Tenure:
    """One version's time as champion, `[since, until)`, and the fact it began with; no version: none was champion."""

    version: str | None
    since: datetime
    until: datetime | None
    fact: HistoryEntry

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "version": self.version,
            "since": instant_text(self.since),
            "until": None if self.until is None else instant_text(self.until),
            "fact": self.fact.state,
            "action": self.fact.action,
            "entry_id": self.fact.id,
            "actor": self.fact.actor,
            "actor_verified": self.fact.actor_verified,
            "approvers": list(self.fact.approvers),
            "reason": self.fact.reason,
            "evidence_digest": self.fact.evidence_digest,
            "promotion_id": self.fact.promotion_id,
        }


def tenures(history: Sequence[HistoryEntry]) -> list[Tenure]:
    """Return who was champion when, oldest first, without gaps from the first fact on.

    The order of the entries decides, not their clocks: where a later entry was written by a host whose clock is
    behind, what is later in the history counts from its own time on, and what it overtakes was never live.
    """
    found: list[Tenure] = []
    for fact in history:
        if fact.state not in LIVE:
            continue
        while found and found[-1].since >= fact.at:
            found.pop()
        if found:
            found[-1] = Tenure(found[-1].version, found[-1].since, fact.at, found[-1].fact)
        found.append(Tenure(fact.to_version, fact.at, None, fact))
    return found


def live_at(history: Sequence[HistoryEntry], at: datetime) -> Tenure | None:
    """Return the tenure that `at` falls into, None before the first."""
    return next((tenure for tenure in reversed(tenures(history)) if tenure.since <= at), None)


def live_now(history: Sequence[HistoryEntry]) -> str | None:
    """Return the champion by the history's last word on it, None where there is none."""
    return next((fact.to_version for fact in reversed(history) if fact.state in LIVE), None)


def is_accepted(history: Sequence[HistoryEntry], champion: str | None) -> bool:
    """Tell whether the history's last word on who is champion names this version, and somebody stands for it."""
    last = next((fact for fact in reversed(history) if fact.state in LIVE), None)
    return champion is None if last is None else last.state in MOVED and last.to_version == champion


def live_document(model: str, history: Sequence[HistoryEntry], at: datetime | None) -> dict[str, Any]:
    """Return what was live at a moment (None: now) in the interface's JSON; before the first champion all is null."""
    found = tenures(history)[-1:] if at is None else [tenure for tenure in [live_at(history, at)] if tenure]
    said = {"model": model, "at": None if at is None else instant_text(at)}
    return {**said, **(found[0].to_document() if found else dict.fromkeys(_FIELDS))}


_FIELDS = (
    "version", "since", "until", "fact", "action", "entry_id", "actor", "actor_verified", "approvers", "reason",
    "evidence_digest", "promotion_id",
)  # fmt: skip
