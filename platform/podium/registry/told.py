"""What the history tells of promotions: from the record of each, the facts of its entries; pure.

Written by whoever moves one on, and held against the entries by whoever verifies the history.
"""

from collections.abc import Sequence
from dataclasses import replace

from podium.registry.approval import Approval
from podium.registry.entities import Promotion
from podium.registry.history import Fact

WORDS = {"approve": "approved", "reject": "rejected"}
"""The state of an entry by the decision that it tells of."""


def proposed(promotion: Promotion) -> Fact:
    """Return that somebody asked for a promotion which people have to approve."""
    return replace(ended(promotion, ()), at=promotion.proposed_at, state="proposed", reason=promotion.reason)


def said(promotion: Promotion, word: Approval) -> Fact:
    """Return what one person said on a promotion."""
    return Fact(
        at=word.at,
        action=word.decision,
        state=WORDS[word.decision],
        from_version=promotion.from_version,
        to_version=promotion.to_version,
        actor=word.actor,
        actor_verified=word.actor_verified,
        reason=word.reason,
        evidence_digest=promotion.evidence_digest,
        promotion_id=promotion.promotion_id,
    )


def ended(promotion: Promotion, words: Sequence[Approval]) -> Fact:
    """Return what became of a promotion; `words` are what people said on it, in order."""
    reasons = (*promotion.reasons, f"Asked for: {promotion.reason}") if promotion.reasons else (promotion.reason,)
    return Fact(
        at=promotion.ended_at or promotion.proposed_at,
        action=promotion.action,
        state=promotion.state,
        from_version=promotion.from_version,
        to_version=promotion.to_version,
        actor=promotion.actor,
        actor_verified=promotion.actor_verified,
        reason=" ".join(reasons),
        approvers=tuple(each.actor for each in words if each.decision == "approve"),
        evidence_digest=promotion.evidence_digest,
        promotion_id=promotion.promotion_id,
    )


def blocked(promotion: Promotion, words: Sequence[Approval]) -> Fact | None:
    """Return the block that an applied rollback brings; None for what brings none."""
    if not promotion.applied or promotion.action != "rollback" or promotion.from_version is None:
        return None
    return replace(
        ended(promotion, words),
        action="block",
        state="blocked",
        from_version=None,
        to_version=promotion.from_version,
        evidence_digest=None,
    )


def of_promotion(promotion: Promotion, words: Sequence[Approval]) -> list[Fact]:
    """Return all facts that the history has to tell of a promotion, in their order."""
    block = blocked(promotion, words)
    return [
        *([proposed(promotion)] if promotion.approvals_required else []),
        *(said(promotion, word) for word in words),
        *([ended(promotion, words)] if promotion.ended_at is not None else []),
        *([block] if block is not None else []),
    ]
