"""Promotions in the interface's JSON: what was asked for, what approvals are bound to, and who gave one."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from podium.errors import NotFound
from podium.registry import approval, store
from podium.registry.approval import Approval, Governance
from podium.registry.entities import Promotion


def of(connection: sa.Connection, promotion: Promotion) -> dict[str, Any]:
    """Return a promotion with what people said about it."""
    asked = promotion.approvals_required > 0
    return _document(promotion, store.approvals_of(connection, promotion.promotion_id) if asked else [])


def listed(connection: sa.Connection, model: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest promotions, of one model or in one state where either is given."""
    return [of(connection, each) for each in store.newest_promotions(connection, model, state, limit)]


def show(connection: sa.Connection, promotion_id: str, govern: Callable[[str], Governance]) -> dict[str, Any]:
    """Return a promotion with all that its approvals are bound to and, while it awaits them, who may give one.

    `binding` is null where nobody had to approve; its `still_holds` is null once the promotion has ended. Raises
    NotFound for an unknown one.
    """
    promotion = store.find_promotion(connection, promotion_id)
    if promotion is None:
        raise NotFound(f"There is no promotion {promotion_id}; `podium promotions list` shows what there is.")
    given = store.approvals_of(connection, promotion_id)
    awaits = promotion.awaits_approval
    governance = govern(promotion.model) if awaits else Governance()  # of what has ended nothing in force matters
    return {
        **_document(promotion, given),
        "may_approve": approval.may_approve(promotion, given, governance.approval) if awaits else [],
        "binding": _binding(connection, promotion, governance),
    }


def _document(promotion: Promotion, given: Sequence[Approval]) -> dict[str, Any]:
    return {
        **promotion.to_document(),
        "approved": sum(1 for each in given if each.decision == "approve"),
        "missing": approval.missing(promotion, given) if promotion.awaits_approval else 0,
        "approvals": [each.to_document() for each in given],
    }


def _binding(connection: sa.Connection, promotion: Promotion, governance: Governance) -> dict[str, Any] | None:
    if promotion.binding_digest is None:
        return None
    candidate, evidence = store.judged_version(connection, promotion.model, promotion.to_version)
    holds = None
    if promotion.awaits_approval:
        now = (
            approval.binding_digest(candidate, evidence, governance, expected_version=promotion.expected_version)
            if candidate is not None and evidence is not None
            else None
        )
        holds = now == promotion.binding_digest
    return {
        "digest": promotion.binding_digest,
        "still_holds": holds,
        "model_digest": None if candidate is None else candidate.digest,
        "evidence_digest": promotion.evidence_digest,
        "policy_digest": None if evidence is None else governance.policy_digest or evidence.document["policy_digest"],
        "expected_champion": promotion.expected_version,
    }
