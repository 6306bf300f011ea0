"""Promotions in the interface's JSON: what was asked for, what approvals are bound to, and who gave one."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from podium.db.engine import Database
from podium.errors import PodiumError
from podium.registry import approval, store
from podium.registry.approval import Approval, ApprovalRule
from podium.registry.entities import Promotion


def of(connection: sa.Connection, promotion: Promotion) -> dict[str, Any]:
    """Return a promotion with what people said about it."""
    asked = promotion.approvals_required > 0
    return _document(promotion, store.approvals_of(connection, promotion.promotion_id) if asked else [])


def listed(connection: sa.Connection, model: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest promotions, of one model or in one state where either is given."""
    return [of(connection, each) for each in store.newest_promotions(connection, model, state, limit)]


def show(
    database: Database,
    promotion_id: str,
    *,
    approval_rule: Callable[[str], ApprovalRule | None],
    doubt: Callable[[Promotion], str | None],
) -> dict[str, Any]:
    """Return a promotion with all that its approvals are bound to and, while it awaits them, who may give one.

    `binding` is null where nobody had to approve. Its `still_holds` is what `doubt` says of one that awaits approval;
    it is null once that has ended, and where nobody can tell. Raises NotFound for one that
    is unknown, or that a part of an id does not tell from others.
    """
    with database.read() as connection:
        promotion = store.get_promotion(connection, promotion_id)
        given = store.approvals_of(connection, promotion_id)
        binding = _binding(connection, promotion)
    awaits = promotion.awaits_approval
    rule = approval_rule(promotion.model) if awaits else None
    return {
        **_document(promotion, given),
        "may_approve": approval.may_approve(promotion, given, rule.approvers) if rule is not None else [],
        "binding": None if binding is None else {**binding, **_standing(promotion, doubt)},
    }


def _document(promotion: Promotion, given: Sequence[Approval]) -> dict[str, Any]:
    return {
        **promotion.to_document(),
        "approved": sum(1 for each in given if each.decision == "approve"),
        "missing": approval.missing(promotion, given) if promotion.awaits_approval else 0,
        "approvals": [each.to_document() for each in given],
    }


def _binding(connection: sa.Connection, promotion: Promotion) -> dict[str, Any] | None:
    """Return what approvals are given for; where only its digest was kept, as the record has it now."""
    if promotion.binding_digest is None:
        return None
    bound = promotion.binding
    if bound is None:
        candidate, evidence = store.judged_version(connection, promotion.model, promotion.to_version)
        bound = (
            {}
            if candidate is None or evidence is None
            else approval.binding(candidate, evidence, None, expected_version=promotion.expected_version)
        )
    return {
        "digest": promotion.binding_digest,
        "model_digest": bound.get("digest"),
        "evidence_digest": promotion.evidence_digest,
        "policy_digest": bound.get("policy_digest"),
        "expected_champion": promotion.expected_version,
    }


def _standing(promotion: Promotion, doubt: Callable[[Promotion], str | None]) -> dict[str, Any]:
    if not promotion.awaits_approval:
        return {"still_holds": None, "objection": None}
    try:
        objection = doubt(promotion)
    except PodiumError as error:
        return {"still_holds": None, "objection": str(error)}
    return {"still_holds": objection is None, "objection": objection}
