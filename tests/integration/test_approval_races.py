"""People who decide about the same promotion at once: each word counts once, and one of them moves the champion."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest

from podium import faults
from podium.clock import FakeClock
from podium.db.engine import Database
from podium.errors import Refused
from podium.registry.approval import ApprovalRule
from podium.registry.entities import Promotion
from podium.registry.memory_registry import MemoryRegistry
from tests.promotion_world import World


@pytest.fixture
def world(database: Database, clock: FakeClock) -> World:
    return World(database, MemoryRegistry(), clock)


def proposed(world: World, *, required: int) -> Promotion:
    """Let a champion serve that needed nobody, and propose the next one."""
    first, _ = world.champions(2)
    world.approval_rule = lambda _: ApprovalRule(required, (), timedelta(days=7))
    asked = world.promote(world.candidate(champion=world.champion))
    assert asked.awaits_approval
    assert first != asked.to_version
    return asked


def at_once(
    monkeypatch: pytest.MonkeyPatch, acts: Sequence[Callable[[], Promotion]]
) -> tuple[list[Promotion], list[Refused]]:
    """Let every act meet the others before it takes any lock; return what each came to."""
    meeting = threading.Barrier(len(acts), timeout=60)

    def reach(point: str) -> None:
        if point in ("promotion.before_decision", "promotion.before_compare"):
            meeting.wait()

    ended: list[Promotion] = []
    refused: list[Refused] = []

    def do(act: Callable[[], Promotion]) -> None:
        try:
            ended.append(act())
        except Refused as error:
            refused.append(error)

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    with monkeypatch.context() as patch:
        patch.setattr(faults, "reach", reach)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ended) + len(refused) == len(acts), "a thread died"
    return ended, refused


def moves(world: World) -> int:
    return sum(1 for _, state, _ in world.told if state == "applied")


@pytest.mark.parametrize("required", [1, 2, 4])
def test_of_four_who_approve_exactly_one_moves_the_champion(
    world: World, monkeypatch: pytest.MonkeyPatch, required: int
) -> None:
    asked = proposed(world, required=required)
    people = ["bo", "cy", "dee", "eve"]
    acts = [partial(world.approved_by, asked.promotion_id, name) for name in people]
    ended, refused = at_once(monkeypatch, acts)
    assert [each.state for each in ended].count("applied") == 1
    assert len(ended) == required
    for error in refused:
        assert "awaits no approval: it was applied" in str(error)
    assert (world.champion, moves(world)) == (asked.to_version, 3)
    applied = world.history[-1]
    assert (applied.state, len(applied.approvers), len(set(applied.approvers))) == ("applied", required, required)
    assert world.verify().ok


def test_one_person_twice_at_once_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = proposed(world, required=2)
    acts = [lambda: world.approved_by(asked.promotion_id, "bo"), lambda: world.approved_by(asked.promotion_id, " Bo")]
    ended, refused = at_once(monkeypatch, acts)
    assert (len(ended), len(refused)) == (1, 1)
    assert ended[0].awaits_approval
    assert "already" in str(refused[0])
    assert world.champion == asked.from_version


def test_an_approval_and_a_rejection_at_once_have_one_winner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = proposed(world, required=1)
    acts = [lambda: world.approved_by(asked.promotion_id, "bo"), lambda: world.rejected_by(asked.promotion_id, "cy")]
    (ended,), (refused,) = at_once(monkeypatch, acts)
    assert ended.state in ("applied", "refused")
    assert "awaits no approval: it was" in str(refused)
    assert world.champion == (asked.to_version if ended.applied else asked.from_version)
    assert world.verify().ok


def test_an_approval_and_a_rollback_at_once_leave_one_truth(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = proposed(world, required=1)
    first = world.told[0][2]
    acts = [lambda: world.approved_by(asked.promotion_id, "bo"), world.rollback]
    ended, refused = at_once(monkeypatch, acts)
    rolled_back = next(each for each in ended if each.action == "rollback")
    assert rolled_back.applied, "a rollback waits for nobody"
    if refused or any(each.state == "void" for each in ended):
        assert world.champion == first, "the rollback came first"
    else:
        assert world.champion == asked.from_version, "the rollback took back what had just been approved"
    assert world.verify().ok
    assert moves(world) == (3 if world.champion == first else 4)
