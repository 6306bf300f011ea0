"""Schedulers that are there: by their signs of life, forgotten after a week, and back if they only stood still."""

import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import scheduler
from podium.scheduling import presence
from podium.scheduling.presence import Presence

WEEK = 7 * 86_400.0


def alive(database: Database, clock: FakeClock) -> int:
    with database.read() as connection:
        return presence.count_alive(connection, clock.now())


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(scheduler)) or 0


@pytest.fixture
def one(database: Database, clock: FakeClock) -> Presence:
    return Presence(database, clock, "host", 1)


def test_one_that_was_taken_for_dead_and_forgotten_is_there_again_when_it_goes_on(
    database: Database, clock: FakeClock, one: Presence
) -> None:
    one.advance()
    clock.advance(WEEK + 1)
    Presence(database, clock, "host", 2).advance()
    assert (alive(database, clock), rows(database)) == (1, 1)
    one.advance()
    assert (alive(database, clock), rows(database)) == (2, 2)


def test_a_sign_from_before_the_clock_was_set_back_is_none(database: Database, clock: FakeClock, one: Presence) -> None:
    clock.advance(WEEK)
    one.advance()
    clock.advance(-WEEK)
    assert alive(database, clock) == 0
    one.advance()
    assert alive(database, clock) == 1
