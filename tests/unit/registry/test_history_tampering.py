"""What `verify` sees of a history that somebody changed in the database, and what only a noted head shows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import promotion, promotion_history
from podium.errors import UsageError
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
    assert verified(world).ok  # who may write every row can make a chain that is whole
    found = verified(world, head)
    assert (found.ok, found.first_bad) == (False, ENTRIES)
    assert f"Entry {ENTRIES} is another one now; its hash was noted as {head.hash[:12]}…" in str(found.problem)


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
