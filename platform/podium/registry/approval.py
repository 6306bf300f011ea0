"""The rules of sign-off: who has to agree to a move of `champion`, to what exactly, and until when. Pure.

An approval is bound to the digest of all that it was given for. Identity is what the caller says it is until a server
verifies it, and every record says which; names are compared by their letters, whatever their case, form and spacing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from podium.ids import digest_json
from podium.registry.entities import ModelVersion, Promotion, RecordedEvidence, instant_text
from podium.settings.approvals import person

Decision = Literal["approve", "reject"]

_BOUND = {
    "model": "the model",
    "version": "the version",
    "digest": "the digest on record of the version's files",
    "evidence_digest": "what the version was judged on",
    "policy_digest": "the gate policy that it was judged by",
    "expected_version": "the champion to replace",
    "approval": "the rule of who approves",
}


@dataclass(frozen=True)
class ApprovalRule:
    """So many of the approvers have to agree within that time; without names anybody but the requester may.

    `runs` is whether a promotion that a run asks for needs it as well as a person's.
    """

    required: int
    approvers: tuple[str, ...] = ()
    expires_after: timedelta = timedelta(days=7)
    runs: bool = True

    def to_document(self) -> dict[str, Any]:
        """Return it as it enters what approvals are bound to."""
        return {
            "required": self.required,
            "approvers": sorted(person(name) for name in self.approvers),
            "expires_after_seconds": int(self.expires_after.total_seconds()),
        }


@dataclass(frozen=True)
class Approval:
    """One person's word on a promotion."""

    promotion_id: str
    actor: str
    actor_verified: bool
    decision: Decision
    binding_digest: str
    reason: str
    at: datetime

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "actor": self.actor,
            "actor_verified": self.actor_verified,
            "decision": self.decision,
            "binding_digest": self.binding_digest,
            "reason": self.reason,
            "at": instant_text(self.at),
        }


def needed(rule: ApprovalRule | None, *, by_run: bool) -> ApprovalRule | None:
    """Return the rule that a promotion has to satisfy, None where it needs no sign-off."""
    return None if rule is None or (by_run and not rule.runs) else rule


def binding(
    candidate: ModelVersion, evidence: RecordedEvidence, rule: ApprovalRule | None, *, expected_version: str | None
) -> dict[str, Any]:
    """Return what an approval is given for: model files, evidence, policy, the champion to replace, and who approves.

    Approvals are bound to its digest.
    """
    return {
        "model": candidate.model,
        "version": candidate.version,
        "digest": candidate.digest,
        "evidence_digest": evidence.digest,
        "policy_digest": evidence.document["policy_digest"],
        "expected_version": expected_version,
        "approval": None if rule is None else rule.to_document(),
    }


def missing(promotion: Promotion, given: Sequence[Approval]) -> int:
    """Return how many more have to agree."""
    return max(0, promotion.approvals_required - sum(1 for each in given if each.decision == "approve"))


def out_of_reach(promotion: Promotion, rule: ApprovalRule) -> str | None:
    """Return why a promotion could never be approved: who asks has no say in it, and without them too few are left."""
    others = [name for name in rule.approvers if person(name) != person(promotion.actor)]
    if not rule.approvers or len(others) >= rule.required:
        return None
    return (
        f"A promotion of {promotion.model} takes {rule.required} approvals of {', '.join(rule.approvers)}, and "
        f"{promotion.actor}, who asks for it, has no say in it: {len(others)} < {rule.required} are left. Let somebody "
        f"else ask, or name more approvers in podium.toml."
    )


def objection_to(
    promotion: Promotion, given: Sequence[Approval], rule: ApprovalRule | None, decision: Decision, actor: str
) -> str | None:
    """Return why `actor` has no say in a promotion that awaits approval; None where they have.

    Who asked for it approves nothing, but may reject it: that takes it back.
    """
    who, asked = f"{promotion.model} to version {promotion.to_version}", person(promotion.actor)
    if promotion.state != "awaiting_approval":
        ended = {"applied": "was applied", "refused": "was refused", "void": "is void"}.get(
            promotion.state, f"is {promotion.state}"
        )
        return (
            f"Promotion {promotion.promotion_id} of {who} awaits no approval: it {ended}. "
            f"`podium models history {promotion.model}` shows how."
        )
    if person(actor) == asked and decision == "reject":
        return None
    if person(actor) == asked:
        return (
            f"{actor} asked for promotion {promotion.promotion_id} of {who} and so has no say in it. "
            f"{_others(rule, asked)}"
        )
    earlier = next((each for each in given if person(each.actor) == person(actor)), None)
    if earlier is not None:
        verb = {"approve": "approved", "reject": "rejected"}[earlier.decision]
        return f"{actor} {verb} promotion {promotion.promotion_id} of {who} already, at {instant_text(earlier.at)}."
    if rule is not None and rule.approvers and person(actor) not in {person(name) for name in rule.approvers}:
        return (
            f"{actor} is none of the approvers of {promotion.model}, and so has no say in promotion "
            f"{promotion.promotion_id} to version {promotion.to_version}. {_others(rule, asked)}"
        )
    return None


def may_approve(promotion: Promotion, given: Sequence[Approval], names: Sequence[str]) -> list[str]:
    """Return those of the named approvers who have not said anything yet; without names anybody but who asked may."""
    spoken = {person(promotion.actor), *(person(each.actor) for each in given)}
    return [name for name in names if person(name) not in spoken]


def stale(promotion: Promotion, now: datetime, bound: Mapping[str, Any] | None) -> str | None:
    """Return why a promotion that awaits approval is void by now: it expired, or what it is about changed.

    `bound` is what approvals would be given for as things stand; None where the version or its evidence is gone.
    """
    if promotion.expires_at is not None and promotion.expires_at <= now:
        return f"It was not approved by {instant_text(promotion.expires_at)} and expired. Ask for the promotion again."
    if bound is not None and digest_json(bound) == promotion.binding_digest:
        return None
    return f"{_what_changed(promotion.binding, bound)} since approvals were asked for. Ask for the promotion again."


def _what_changed(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    if now is None:
        return "The version or its evidence was taken off the record"
    known = then or {}
    differs = [name for name in _BOUND if name in known and known[name] != now[name]]
    if not differs:  # asked for by a Podium that kept the digest alone
        return "The version's files or evidence, or the rule of who approves changed"
    changes = [f"{_BOUND[name]} (was {_shown(known[name])}, is {_shown(now[name])})" for name in differs]
    text = " and ".join(changes)
    return f"{text[0].upper()}{text[1:]} changed"


def _shown(part: Any) -> str:
    """Return a part of what is bound for a person: an ApprovalRule's document, a digest, a name."""
    if isinstance(part, Mapping):
        whom = ", ".join(part["approvers"]) or "anybody else"
        return f"{part['required']} of {whom} within {part['expires_after_seconds'] / 86_400:g} d"
    return "none" if part is None else f"{part[:12]}…" if len(part) == 64 else part


def awaited(promotion: Promotion, given: Sequence[Approval]) -> str:
    """Return what a promotion waits for, and what to do about it."""
    have = [each.actor for each in given if each.decision == "approve"]
    so_far = f" (so far {', '.join(have)})" if have else ""
    until = f" until {instant_text(promotion.expires_at)}" if promotion.expires_at else ""
    more = missing(promotion, given)
    names = _still_asked(promotion, given)
    whom = " or ".join(names) if names else f"somebody other than {promotion.actor}"
    return (
        f"It awaits {more} more approval{'' if more == 1 else 's'}{so_far}{until}: "
        f"`podium approve {promotion.promotion_id} --reason TEXT`, by {whom}."
    )


def in_the_way(waiting: Promotion, given: Sequence[Approval]) -> str:
    """Return why no other promotion of the model may be asked for while one awaits approval."""
    return (
        f"Promotion {waiting.promotion_id} of {waiting.model} to version {waiting.to_version}, asked for by "
        f"{waiting.actor} at {instant_text(waiting.proposed_at)}, is open. {awaited(waiting, given)} "
        f"`podium reject {waiting.promotion_id} --reason TEXT` ends it."
    )


def _still_asked(promotion: Promotion, given: Sequence[Approval]) -> list[str]:
    rule = (promotion.binding or {}).get("approval") or {}
    return may_approve(promotion, given, rule.get("approvers", ()))


def _others(rule: ApprovalRule | None, asked: str) -> str:
    names = [name for name in rule.approvers if person(name) != asked] if rule is not None else []
    return f"The approvers are {', '.join(names)}." if names else "Anybody else may approve it."
