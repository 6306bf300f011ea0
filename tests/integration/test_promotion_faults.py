"""A registry that fails in the middle of a move, at each of its calls in turn; then it is there again.

Whatever a move got to, what comes next completes it or leaves it undone as a whole: the alias moved exactly as often
as a promotion is applied, and the history verifies.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import get_args

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import promotion
from podium.errors import ServiceUnavailable
from podium.registry import store, versions
from podium.registry.entities import CHAMPION, LoggedModel, Promotion
from podium.registry.memory_registry import MemoryRegistry
from tests.faulty_registry import FaultyRegistry, When
from tests.promotion_world import SAMPLE, World, estimator

Act = Callable[[World], Promotion]


def promote(world: World) -> Promotion:
    return world.promote("3", expect="2", key=f"{world.model}/act")


def rollback(world: World) -> Promotion:
    return world.rollback(expect="2", key=f"{world.model}/act")


MOVES = {"promote": [*"12", "3"], "rollback": [*"12", "1"]}
AFTER = {
    "promote": [("promote", "applied", "3")],
    "rollback": [("rollback", "applied", "1"), ("block", "blocked", "2")],
}
NUMBERS = itertools.count(1)
ON_SQLITE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


@cache
def uploaded() -> tuple[MemoryRegistry, LoggedModel]:
    """A registry that all worlds share, and what all versions are made of: models have names of their own."""
    registry = MemoryRegistry()
    return registry, versions.upload(registry, estimator(), SAMPLE, model="any", step_key="any", tags={})


def ready(database: Database, clock: FakeClock) -> tuple[World, FaultyRegistry]:
    """A model with the champions 1 and 2, and 3 and 4 as candidates that were judged against 2."""
    registry, logged = uploaded()
    faulty = FaultyRegistry(registry)
    world = World(database, faulty.port, clock, f"failing-{next(NUMBERS)}")
    for champion, promoted in ((None, True), ("1", True), ("2", False), ("2", False)):
        version = world.register(champion=champion, logged=logged).version
        assert not promoted or world.promote(version).applied
    return world, faulty


def failing_at_each_call(
    database: Database, clock: FakeClock, act: Act, when: When
) -> Iterator[tuple[World, FaultyRegistry]]:
    """Yield worlds in which the act failed at the first, the second, … of its calls, and the registry answers again."""
    for number in itertools.count(1):
        world, faulty = ready(database, clock)
        faulty.fail(number, when)
        try:
            act(world)
        except ServiceUnavailable:
            assert faulty.failed
            faulty.fail(0, when)
            yield world, faulty
            continue
        except Exception as error:
            error.add_note(f"at call {number}: {faulty.calls}")
            raise
        if not faulty.failed:
            break


def assert_whole(world: World, faulty: FaultyRegistry) -> None:
    """The alias moved as often as promotions are applied, to versions on record, and the history tells of it."""
    with world.database.read() as connection:
        assert store.open_promotion(connection, world.model) is None
        of_model = sa.select(promotion.c.to_version).where(promotion.c.model == world.model)
        applied = list(connection.scalars(of_model.where(promotion.c.state == "applied")))
        assert store.find_version(connection, world.model, str(world.champion)) is not None
    assert faulty.moves == [version for _, state, version in world.told if state == "applied"]
    assert sorted(applied) == sorted(faulty.moves)
    assert world.champion == faulty.moves[-1]
    assert world.verify().ok


@pytest.mark.parametrize("when", get_args(When))
@pytest.mark.parametrize("act", [promote, rollback])
def test_the_request_made_again_ends_as_if_nothing_had_happened(
    database: Database, clock: FakeClock, act: Act, when: When
) -> None:
    failures = 0
    for world, faulty in failing_at_each_call(database, clock, act, when):
        assert act(world).applied
        assert faulty.moves == MOVES[act.__name__]
        assert world.told[2:] == AFTER[act.__name__]
        assert_whole(world, faulty)
        failures += 1
    assert failures >= 5  # the champion read, the target looked at, the alias read, set and read again


@ON_SQLITE
@pytest.mark.parametrize("when", get_args(When))
def test_whoever_comes_next_finds_the_champion_moved_or_moves_it(
    database: Database, clock: FakeClock, when: When
) -> None:
    winners = set()
    for world, faulty in failing_at_each_call(database, clock, promote, when):
        other = world.promote("4", expect="2", actor="bo")
        again = promote(world)
        first, second = (other, again) if other.applied else (again, other)
        assert (first.applied, second.applied) == (True, False)
        assert second.lost_the_swap
        assert f"{first.actor} promoted version {first.to_version}" in second.reasons[0]
        assert faulty.moves == ["1", "2", first.to_version]
        assert_whole(world, faulty)
        winners.add(first.to_version)
    assert winners == {"3", "4"}


@ON_SQLITE
@pytest.mark.parametrize("when", get_args(When))
def test_a_failure_that_was_told_is_no_move_that_was_forgotten(
    database: Database, clock: FakeClock, when: When
) -> None:
    for world, faulty in failing_at_each_call(database, clock, promote, when):
        ended = world.service.reconcile(world.model)
        assert ended is None or ended.applied
        assert world.champion == ("2" if ended is None else "3")
        assert world.service.reconcile(world.model) is None
        assert_whole(world, faulty)


def test_a_registry_that_stays_away_is_told_and_nothing_is_lost(database: Database, clock: FakeClock) -> None:
    world, faulty = ready(database, clock)
    for _ in range(3):
        faulty.fail(1, "before")
        with pytest.raises(ServiceUnavailable, match="did not answer alias"):
            promote(world)
    assert world.registry.alias(world.model, CHAMPION) == "2"
    assert promote(world).applied
    assert_whole(world, faulty)
