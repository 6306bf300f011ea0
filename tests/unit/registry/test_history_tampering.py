"""What `verify` sees of a history that somebody changed in the database, and what only a noted head shows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import approval, evidence, promotion, promotion_history
from podium.errors import UsageError
from podium.registry.approval import ApprovalRule
from podium.registry.entities import HistoryEntry
from podium.registry.history import GENESIS, hash_of
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.verification import Head, Verification, verify
from tests.promotion_world import World

ENTRIES = 5


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    """Five promotions, and five entries that tell of them."""
    world = World(database, MemoryRegistry(), clock)
    world.champions(ENTRIES)
    return world


def verified(world: World, noted: Head | None = None) -> Verification:
    with world.database.read() as connection:
        return verify(connection, world.model, noted)


def rewrite(world: World, change: Callable[[list[HistoryEntry]], list[HistoryEntry]]) -> None:
    """Put other entries in the place of those there are."""
    changed = change(world.history)
    with world.database.write() as connection:
        connection.execute(sa.delete(promotion_history).where(promotion_history.c.model == world.model))
        for entry in changed:
            row = {**vars(entry), "approvers": list(entry.approvers)}
            connection.execute(sa.insert(promotion_history).values(**row))


def rehashed(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """Number and link the entries anew, as somebody who knows how would."""
    done: list[HistoryEntry] = []
    for number, entry in enumerate(entries, start=1):
        linked = replace(entry, id=number, previous_hash=done[-1].hash if done else GENESIS)
        done.append(replace(linked, hash=hash_of(linked)))
    return done


PLACES = pytest.mark.parametrize("place", [1, 3, ENTRIES], ids=["start", "middle", "end"])


@PLACES
def test_a_changed_row_is_located(world: World, place: int) -> None:
    rewrite(world, lambda told: [replace(each, actor="mallory") if each.id == place else each for each in told])
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, place)
    assert f"Entry {place} was changed" in str(found.problem)


@PLACES
def test_a_removed_row_is_located(world: World, place: int) -> None:
    rewrite(world, lambda told: [each for each in told if each.id != place])
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, place)


@PLACES
def test_a_removed_row_whose_tail_was_hashed_anew_is_missed_by_its_promotion(world: World, place: int) -> None:
    rewrite(world, lambda told: rehashed([each for each in told if each.id != place]))
    found = verified(world)
    assert not found.ok
    assert "No entry tells that promotion" in str(found.problem)


@PLACES
def test_an_inserted_row_is_located(world: World, place: int) -> None:
    def change(told: list[HistoryEntry]) -> list[HistoryEntry]:
        extra = replace(told[place - 1], actor="mallory")
        extra = replace(extra, hash=hash_of(extra))
        moved = [replace(each, id=each.id + 1) for each in told[place - 1 :]]
        return [*told[: place - 1], extra, *moved]

    rewrite(world, change)
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, place + 1)


@PLACES
def test_an_inserted_row_whose_tail_was_hashed_anew_tells_of_a_promotion_that_is_not(world: World, place: int) -> None:
    def change(told: list[HistoryEntry]) -> list[HistoryEntry]:
        extra = replace(told[0], promotion_id="forged", to_version="9")
        return rehashed([*told[: place - 1], extra, *told[place - 1 :]])

    rewrite(world, change)
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, place)
    assert "promotion forged is not on record" in str(found.problem)


@PLACES
def test_a_tail_hashed_anew_with_its_facts_changed_is_seen_by_who_noted_a_head(world: World, place: int) -> None:
    head = Head.parse(str(verified(world).head))
    rewrite(
        world,
        lambda told: rehashed([replace(each, actor="mallory") if each.id == place else each for each in told]),
    )
    promotion_id = world.history[place - 1].promotion_id
    seen = verified(world)
    assert (seen.ok, seen.first_bad) == (False, place), "the promotions' own record says otherwise"
    said = f"Entry {place} and the record of promotion {promotion_id} differ: actor is 'mallory' in the entry and 'ada'"
    assert said in str(seen.problem)
    with world.database.write() as connection:
        ours = promotion.c.promotion_id == promotion_id
        connection.execute(sa.update(promotion).where(ours).values(actor="mallory"))
    assert verified(world).ok  # who may write every row can make a chain that is whole
    found = verified(world, head)
    assert (found.ok, found.first_bad) == (False, ENTRIES)
    assert f"Entry {ENTRIES} is another one now; its hash was noted as {head.hash[:12]}…" in str(found.problem)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("to_version", "9"),
        ("from_version", "9"),
        ("actor", "mallory"),
        ("actor_verified", True),
        ("reason", "because"),
        ("evidence_digest", "0" * 64),
        ("ended_at", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_promotion_s_record_that_was_changed_is_seen(world: World, column: str, value: object) -> None:
    second = world.history[1]
    with world.database.write() as connection:
        ours = promotion.c.promotion_id == second.promotion_id
        changes = {column: value, **({"expected_version": value} if column == "from_version" else {})}
        connection.execute(sa.update(promotion).where(ours).values(**changes))
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, 2)
    name = "at" if column == "ended_at" else column
    assert f"Entry 2 and the record of promotion {second.promotion_id} differ: {name} is " in str(found.problem)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: {**document, "verdict": "failed"},
        lambda document: {**document, "rows": document["rows"] + 1},
    ],
)
def test_evidence_that_was_changed_is_seen(world: World, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with world.database.write() as connection:
        digest, document = connection.execute(sa.select(evidence.c.digest, evidence.c.document)).first() or ("", {})
        connection.execute(sa.update(evidence).where(evidence.c.digest == digest).values(document=change(document)))
    found = verified(world)
    assert (found.ok, found.first_bad) == (False, None)
    assert f"The evidence {digest[:12]}… on flight_delay, of run" in str(found.problem)
    assert "was changed: what is stored has the digest " in str(found.problem)


def test_a_verdict_that_was_changed_beside_its_evidence_is_seen_and_promotes_nothing(world: World) -> None:
    failed = world.register(champion=world.champion, verdict="failed", reasons=("AUC 0.4 < 0.5 required.",))
    with world.database.write() as connection:
        ours = evidence.c.digest == failed.evidence_digest
        connection.execute(sa.update(evidence).where(ours).values(verdict="passed"))
    assert "its row says another verdict than what was recorded" in str(verified(world).problem)
    refused = world.promote(failed.version)
    assert refused.state == "refused"
    assert "its row says another verdict" in refused.reasons[0]


@pytest.fixture
def signed(database: Database, clock: FakeClock) -> World:
    """A promotion that ada asked for and bo and cy approved: proposed, approved, approved, applied."""
    world = World(database, MemoryRegistry(), clock, approval_rule=lambda _: ApprovalRule(2))
    asked = world.promote(world.candidate())
    for actor in ("bo", "cy"):
        clock.advance(60)
        world.approved_by(asked.promotion_id, actor)
    assert [entry.state for entry in world.history] == ["proposed", "approved", "approved", "applied"]
    assert verified(world).ok
    return world


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"reason": "because"}, (2, "reason is 'looked at the report' in the entry and 'because' in the record")),
        ({"at": datetime(2020, 1, 1, tzinfo=UTC)}, (2, "in the entry and 2020-01-01T00:00:00.000000Z in the record")),
        ({"actor_verified": True}, (2, "actor_verified is False in the entry and True in the record")),
        ({"binding_digest": "0" * 64}, (1, "What bo said on promotion ")),
    ],
)
def test_an_approval_s_record_that_was_changed_is_seen(
    signed: World, changes: dict[str, Any], seen: tuple[int, str]
) -> None:
    with signed.database.write() as connection:
        connection.execute(sa.update(approval).where(approval.c.actor == "bo").values(**changes))
    found = verified(signed)
    assert (found.ok, found.first_bad) == (False, seen[0])
    assert seen[1] in str(found.problem)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"approvals_required": 1}, "takes 1 approvals by its record and 2 by what they are given for"),
        ({"approvals_required": 3}, "applied after 2 of 3 approvals, which cannot be"),
        ({"binding_digest": "0" * 64}, "are given for has another digest than on record"),
        ({"binding": {}}, "are given for has another digest than on record"),
    ],
)
def test_what_approvals_were_given_for_cannot_be_changed_unseen(
    signed: World, changes: dict[str, Any], seen: str
) -> None:
    with signed.database.write() as connection:
        connection.execute(sa.update(promotion).values(**changes))
    found = verified(signed)
    assert not found.ok
    assert seen in str(found.problem)


@pytest.mark.parametrize(
    ("order", "first_bad", "seen"),
    [
        ((0, 1, 3, 2), 3, "applied after 1 of 2 approvals"),
        ((1, 0, 2, 3), 1, "bo approved promotion {} before anybody had proposed it"),
    ],
)
def test_a_history_in_an_order_that_cannot_be_is_seen(
    signed: World, order: tuple[int, ...], first_bad: int, seen: str
) -> None:
    rewrite(signed, lambda told: rehashed([told[place] for place in order]))
    found = verified(signed)
    assert (found.ok, found.first_bad) == (False, first_bad)
    assert seen.format(signed.history[0].promotion_id) in str(found.problem)


@pytest.mark.parametrize(("name", "seen"), [("ADA", "which they had asked for themselves"), ("Bo ", "a second time")])
def test_one_person_under_another_spelling_is_seen(signed: World, name: str, seen: str) -> None:
    with signed.database.write() as connection:
        connection.execute(sa.update(approval).where(approval.c.actor == "cy").values(actor=name))

    def spelt(told: list[HistoryEntry]) -> list[HistoryEntry]:
        proposed, first, second, applied = told
        return rehashed([proposed, first, replace(second, actor=name), replace(applied, approvers=("bo", name))])

    rewrite(signed, spelt)
    found = verified(signed)
    assert (found.ok, found.first_bad) == (False, 3)
    assert seen in str(found.problem)


def test_a_tail_cut_off_with_its_promotions_is_seen_by_who_noted_a_head(world: World) -> None:
    head = Head.parse(str(verified(world).head))
    last = world.history[-1]
    rewrite(world, lambda told: told[:-1])
    with world.database.write() as connection:
        connection.execute(sa.delete(promotion).where(promotion.c.promotion_id == last.promotion_id))
    assert verified(world).ok
    found = verified(world, head)
    assert (found.ok, found.first_bad) == (False, ENTRIES)
    assert f"Entry {ENTRIES} is missing" in str(found.problem)
    assert verified(world, Head(head.hash)).first_bad is None


def test_an_adoption_cut_off_the_end_is_seen_by_who_noted_a_head_alone(world: World) -> None:
    world.service.block(world.model, "1", actor="ada", actor_verified=False, reason="slow")
    head = Head.parse(str(verified(world).head))
    rewrite(world, lambda told: told[:-1])
    assert verified(world).ok
    assert not verified(world, head).ok


def test_a_noted_head_still_holds_when_the_history_has_grown(world: World) -> None:
    head = str(verified(world).head)
    world.rollback()
    assert verified(world, Head.parse(head)).ok
    assert verified(world, Head.parse(head.partition(":")[2][:12])).ok
    assert not verified(world, Head(Head.parse(head).hash, 2)).ok


@pytest.mark.parametrize("text", ["", "5f1c", "12:", "x:" + "5f" * 32, "12:" + "5F" * 32, "g" * 12])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no head of a history"):
        Head.parse(text)
