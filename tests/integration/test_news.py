"""What an observer of a worker is shown, on both databases."""

from pathlib import Path

import pytest

from podium.db.engine import Database
from podium.execution import store
from podium.execution.entities import Happening, Run
from podium.execution.news import News
from tests.execution_world import CHAIN, HandWorker


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    made = HandWorker(database, tmp_path)
    made.worker("w")
    return made


def following(run: Run) -> tuple[News, list[Happening]]:
    """News that follow a run from its beginning, and what they will have told."""
    told: list[Happening] = []
    news = News(told.append)
    news.follow(run.run_id, after=0)
    return news, told


def test_what_happened_is_shown_once_and_in_order_also_if_it_is_read_twice(hand: HandWorker) -> None:
    run = hand.start(CHAIN)
    news, told = following(run)
    with hand.database.read() as connection:
        twice = [*news.read(connection), *news.read(connection)]
    news.show(twice)
    assert [each.kind for each in told] == ["run.created", "step.ready"]
    with hand.database.read() as connection:
        assert news.read(connection) == []


def test_what_was_read_in_a_transaction_that_failed_is_not_lost(hand: HandWorker) -> None:
    run = hand.start(CHAIN)
    news, told = following(run)
    with hand.database.write() as connection:
        store.record(connection, run.run_id, "step.failed", hand.clock.now(), step="a")
        assert [each.kind for each in news.read(connection)] == ["run.created", "step.ready", "step.failed"]
        connection.rollback()
    with hand.database.read() as connection:
        news.show(news.read(connection))
    assert [each.kind for each in told] == ["run.created", "step.ready"]
    hand.claim(run)
    with hand.database.read() as connection:
        news.show(news.read(connection))
    assert [each.kind for each in told[2:]] == ["attempt.started", "run.started"]


def test_a_run_that_is_not_followed_any_more_is_not_shown(hand: HandWorker) -> None:
    run = hand.start(CHAIN)
    news, told = following(run)
    news.follow_only(())
    with hand.database.read() as connection:
        news.show(news.read(connection))
    assert told == []
