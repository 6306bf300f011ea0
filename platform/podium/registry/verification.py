"""Whether a history is whole, and where it is not.

The chain finds a changed, removed or inserted row. A tail cut off leaves a chain that is whole, so `verify`
also holds the chain against the promotions, which are stored apart from it: each must be told of, and each
applied rollback must be followed by its block, and what an entry says must be what the promotion's own record says. Nor
may a promotion have applied before the people had agreed that it takes, or the evidence have another digest than on
record. What belongs to no promotion (an unblock, an adoption) can be cut off
from the very end unseen, and whoever may write the database can hash a whole tail anew, promotions and all. Both are
seen by who noted the head of the chain elsewhere: the noted hash must still be that of its entry.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.db.schema import approval, promotion
from podium.db.schema.registry import PROMOTION_ENDED
from podium.errors import UsageError
from podium.ids import digest_json
from podium.registry import history, store, told
from podium.registry.approval import Approval
from podium.registry.entities import HistoryEntry, Promotion, instant_text
from podium.registry.history import GENESIS, Fact, hash_of
from podium.settings.approvals import person

_WORDS = told.WORDS
_SAID = ("proposed", *_WORDS.values())


@dataclass(frozen=True)
class Head:
    """An entry that stands for all before it; written `12:5f1c…`, or as the hash alone where the number is not known.

    Of a hash at least its first 12 characters are given.
    """

    hash: str
    id: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read what somebody noted; raises UsageError.

        >>> Head.parse("12:" + "5f" * 32).id
        12
        """
        number, colon, digest = text.strip().rpartition(":")
        if not re.fullmatch(r"[0-9a-f]{12,64}", digest) or (colon and not number.isdecimal()):
            raise UsageError(
                f"{text!r} is no head of a history; give what `podium models verify` printed, as 12:5f1c09…, or at "
                "least the first 12 characters of the hash."
            )
        return cls(digest, int(number) if colon else None)

    def __str__(self) -> str:
        return self.hash if self.id is None else f"{self.id}:{self.hash}"


@dataclass(frozen=True)
class Verification:
    """Whether a history is whole; `first_bad` is the first bad entry's id, `problem` says what is wrong.

    `head` is the last entry's, `12:5f1c…`: who notes it elsewhere can see later that nothing before it was rewritten.
    """

    ok: bool
    entries: int
    first_bad: int | None = None
    problem: str | None = None
    head: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return asdict(self)


def verify(connection: sa.Connection, model: str, noted: Head | None = None) -> Verification:
    """Check the history of `model`: the chain, that it and the promotions tell the same, and a head that was noted."""
    found = history.entries(connection, model)
    checked = _checked(connection, model, found)
    if checked.ok and noted is not None:
        checked = check_head(found, noted)
    return replace(checked, head=str(Head(found[-1].hash, found[-1].id)) if found else None)


def _checked(connection: sa.Connection, model: str, found: Sequence[HistoryEntry]) -> Verification:
    chain = check_chain(found)
    if not chain.ok:
        return chain
    ended = connection.execute(
        sa.select(promotion.c.promotion_id, promotion.c.action, promotion.c.state, promotion.c.from_version)
        .where(promotion.c.model == model, promotion.c.state.in_(PROMOTION_ENDED))
        .order_by(promotion.c.promotion_id)
    ).all()
    ends = check_promotions(found, [(row.promotion_id, row.state) for row in ended])
    if not ends.ok:
        return ends
    said = check_approvals(found, _said(connection, model))
    if not said.ok:
        return said
    rollbacks = [row for row in ended if (row.action, row.state) == ("rollback", "applied")]
    # A rollback while there was no champion left no version, so it blocked none.
    blocks = check_blocks(found, [(row.promotion_id, row.from_version) for row in rollbacks if row.from_version])
    if not blocks.ok:
        return blocks
    return _compared(connection, model, found)


def _compared(connection: sa.Connection, model: str, found: Sequence[HistoryEntry]) -> Verification:
    """Hold what the entries say against the record of the promotions, and that against what it rests on."""
    promotions = store.promotions_of(connection, model)
    words = store.approvals_on(connection, model)
    facts = [fact for each in promotions for fact in told.of_promotion(each, words.get(each.promotion_id, ()))]
    for checked in (
        check_facts(found, facts),
        check_sign_offs(found, {each.promotion_id: each.approvals_required for each in promotions}),
        check_bindings(found, promotions, words),
    ):
        if not checked.ok:
            return checked
    problem = next((each.altered for each in store.evidence_on(connection, model) if each.altered), None)
    return Verification(ok=problem is None, entries=len(found), problem=problem)


def _said(connection: sa.Connection, model: str) -> list[tuple[str, str, str]]:
    """Return who proposed, approved or rejected which promotion that people had to approve."""
    proposed = connection.execute(
        sa.select(promotion.c.promotion_id, promotion.c.actor).where(
            promotion.c.model == model, promotion.c.approvals_required > 0
        )
    )
    decided = connection.execute(
        sa.select(approval.c.promotion_id, approval.c.actor, approval.c.decision)
        .join(promotion, promotion.c.promotion_id == approval.c.promotion_id)
        .where(promotion.c.model == model)
    )
    return [
        *((row.promotion_id, row.actor, "proposed") for row in proposed),
        *((row.promotion_id, row.actor, _WORDS[row.decision]) for row in decided),
    ]


def check_chain(entries: Sequence[HistoryEntry]) -> Verification:
    """Check that the entries, in order, are numbered from 1, unchanged, and each linked to the one before."""
    previous = GENESIS
    for number, entry in enumerate(entries, start=1):
        problem = _break(entry, number, previous)
        if problem is not None:
            return Verification(ok=False, entries=len(entries), first_bad=number, problem=problem)
        previous = entry.hash
    return Verification(ok=True, entries=len(entries))


def _break(entry: HistoryEntry, number: int, previous: str) -> str | None:
    found = hash_of(entry)
    if entry.id != number:
        return f"Entry {number} is missing: entry {entry.id} stands in its place."
    if found != entry.hash:
        return f"Entry {number} was changed: its facts hash to {found[:12]}…, recorded is {entry.hash[:12]}…."
    if entry.previous_hash != previous:
        return f"Entry {number} does not continue entry {number - 1}: one of them was rewritten or inserted."
    return None


def check_promotions(entries: Sequence[HistoryEntry], ended: Iterable[tuple[str, str]]) -> Verification:
    """Check that the entries tell of every ended promotion, `(id, state)`, once and in its state."""
    known, untold = dict(ended), dict(ended)
    for entry in entries:
        if entry.state not in PROMOTION_ENDED:
            continue
        told = untold.pop(entry.promotion_id, None) if entry.promotion_id is not None else None
        if told != entry.state:
            recorded = known.get(entry.promotion_id or "", "not on record") if told is None else told
            problem = f"Entry {entry.id} says {entry.state}, but promotion {entry.promotion_id} is {recorded}."
            if told is None and entry.promotion_id in known:
                problem = f"Entry {entry.id} tells of promotion {entry.promotion_id} a second time."
            return Verification(ok=False, entries=len(entries), first_bad=entry.id, problem=problem)
    if not untold:
        return Verification(ok=True, entries=len(entries))
    missing = min(untold)
    problem = f"No entry tells that promotion {missing} is {untold[missing]}: the end of the history was cut off."
    return Verification(ok=False, entries=len(entries), first_bad=len(entries) + 1, problem=problem)


def check_blocks(entries: Sequence[HistoryEntry], rollbacks: Iterable[tuple[str, str]]) -> Verification:
    """Check that the entries tell of the block of every applied rollback, `(id, version rolled back from)`."""
    blocks = {(entry.promotion_id, entry.to_version) for entry in entries if entry.state == "blocked"}
    applied = {entry.promotion_id: entry.id for entry in entries if entry.state == "applied"}
    for promotion_id, version in rollbacks:
        if (promotion_id, version) not in blocks:
            problem = (
                f"No entry tells that rollback {promotion_id} blocked version {version}: it was cut off or replaced."
            )
            place = applied.get(promotion_id, len(entries)) + 1  # the block is written right after its rollback
            return Verification(ok=False, entries=len(entries), first_bad=place, problem=problem)
    return Verification(ok=True, entries=len(entries))


def check_approvals(entries: Sequence[HistoryEntry], said: Iterable[tuple[str, str, str]]) -> Verification:
    """Check that the entries tell of what each person said on a promotion, `(id, person, proposed or approved …)`."""
    places = {(entry.promotion_id, entry.actor, entry.state): entry.id for entry in entries if entry.state in _SAID}
    known = set(said)
    for word, place in places.items():
        if word not in known:
            problem = f"Entry {place} says that {word[1]} {word[2]} promotion {word[0]}, which is not on record."
            return Verification(ok=False, entries=len(entries), first_bad=place, problem=problem)
    for promotion_id, name, state in sorted(known - set(places)):
        problem = f"No entry tells that {name} {state} promotion {promotion_id}: it was cut off or replaced."
        return Verification(ok=False, entries=len(entries), first_bad=len(entries) + 1, problem=problem)
    return Verification(ok=True, entries=len(entries))


def check_facts(entries: Sequence[HistoryEntry], facts: Iterable[Fact]) -> Verification:
    """Check that the entries of promotions say what the record of the promotions says, which are `facts`."""
    known = {_what_of(fact): fact for fact in facts}
    for entry in entries:
        if entry.promotion_id is None:
            continue
        fact = known.get(_what_of(entry))
        if fact is None:
            problem = f"Entry {entry.id} says {entry.state} of promotion {entry.promotion_id}, whose record does not."
            return Verification(ok=False, entries=len(entries), first_bad=entry.id, problem=problem)
        for name, recorded in vars(fact).items():
            written = getattr(entry, name)
            if written != recorded:
                problem = (
                    f"Entry {entry.id} and the record of promotion {entry.promotion_id} differ: {name} is "
                    f"{_shown(written)} in the entry and {_shown(recorded)} in the record. One of them was changed."
                )
                return Verification(ok=False, entries=len(entries), first_bad=entry.id, problem=problem)
    return Verification(ok=True, entries=len(entries))


def _what_of(told: HistoryEntry | Fact) -> tuple[str | None, str, str | None]:
    return told.promotion_id, told.state, told.actor if told.state in _WORDS.values() else None


def _shown(fact: Any) -> str:
    return instant_text(fact) if isinstance(fact, datetime) else repr(fact)


def check_sign_offs(entries: Sequence[HistoryEntry], required: Mapping[str, int]) -> Verification:
    """Check that promotions applied after as many people had agreed as they require, none of them who asked."""
    asked: dict[str, str] = {}
    agreed: dict[str, set[str]] = {}
    for entry in entries:
        promotion_id, who = entry.promotion_id or "", person(entry.actor)
        people, problem = agreed.setdefault(promotion_id, set()), None
        if entry.state == "proposed":
            asked[promotion_id] = who
        elif entry.state == "approved" and promotion_id not in asked:
            problem = f"{entry.actor} approved promotion {promotion_id} before anybody had proposed it"
        elif entry.state == "approved" and who == asked[promotion_id]:
            problem = f"{entry.actor} approved promotion {promotion_id}, which they had asked for themselves"
        elif entry.state == "approved" and who in people:
            problem = f"{entry.actor} approved promotion {promotion_id} a second time"
        elif entry.state == "approved":
            people.add(who)
        elif entry.state == "applied" and len(people) < required.get(promotion_id, 0):
            problem = f"promotion {promotion_id} applied after {len(people)} of {required[promotion_id]} approvals"
        if problem is not None:
            problem = f"Entry {entry.id} says that {problem}, which cannot be: the history was rewritten."
            return Verification(ok=False, entries=len(entries), first_bad=entry.id, problem=problem)
    return Verification(ok=True, entries=len(entries))


def check_bindings(
    entries: Sequence[HistoryEntry], promotions: Iterable[Promotion], words: Mapping[str, Sequence[Approval]]
) -> Verification:
    """Check that approvals were given for what the record of their promotion says they were."""
    asked = {entry.promotion_id: entry.id for entry in entries if entry.state == "proposed"}
    for each in promotions:
        bound, problem = each.binding, None
        if bound is not None and digest_json(bound) != each.binding_digest:
            problem = f"what approvals of promotion {each.promotion_id} are given for has another digest than on record"
        elif bound is not None and bound["approval"]["required"] != each.approvals_required:
            problem = (
                f"promotion {each.promotion_id} takes {each.approvals_required} approvals by its record and "
                f"{bound['approval']['required']} by what they are given for"
            )
        else:
            for word in words.get(each.promotion_id, ()):
                if word.binding_digest != each.binding_digest:
                    problem = f"what {word.actor} said on promotion {each.promotion_id} was said of something else"
        if problem is not None:
            place, text = asked.get(each.promotion_id), f"{problem[0].upper()}{problem[1:]}: a record was changed."
            return Verification(ok=False, entries=len(entries), first_bad=place, problem=text)
    return Verification(ok=True, entries=len(entries))


def check_head(entries: Sequence[HistoryEntry], noted: Head) -> Verification:
    """Check that the entry whose hash somebody noted is still there, in its place."""
    found = next((entry for entry in entries if entry.hash.startswith(noted.hash)), None)
    if found is not None and noted.id in (None, found.id):
        return Verification(ok=True, entries=len(entries))
    if noted.id is None:
        problem = f"No entry has the noted hash {noted.hash[:12]}…: it was rewritten, or the history cut off before it."
        return Verification(ok=False, entries=len(entries), problem=problem)
    there = "is missing" if noted.id > len(entries) else "is another one now"
    problem = (
        f"Entry {noted.id} {there}; its hash was noted as {noted.hash[:12]}…. It, or the history from an entry before "
        "it on, was rewritten or cut off."
    )
    return Verification(ok=False, entries=len(entries), first_bad=min(noted.id, len(entries) + 1), problem=problem)
