"""The watch over the books: at once, then from time to time, whatever happens to one look."""

import threading
from pathlib import Path

import pytest

from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from podium.errors import ServiceUnavailable
from podium.exporter.books import COLLECTOR, BooksWatch
from podium.exporter.failures import Failures

WAIT_SECONDS = 20.0


@pytest.fixture
def books(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'podium.db'}", tmp_path)
    migrate.ensure(made)
    return made


class Door:
    """Hands the database out, and counts how often it was asked for; it may be closed for the first times."""

    def __init__(self, database: Database, *, closed_for: int = 0) -> None:
        self.database = database
        self.closed_for = closed_for
        self.asked = 0
        self.third = threading.Event()

    def __call__(self) -> Database:
        self.asked += 1
        if self.asked >= 3:
            self.third.set()
        if self.asked <= self.closed_for:
            raise ServiceUnavailable("The database does not answer.")
        return self.database


def failures_of(failures: Failures) -> float:
    return sum(sample.value for sample in failures.family().samples)


def test_a_watch_looks_again_and_again_until_it_is_ended(books: Database) -> None:
    door = Door(books)
    failures = Failures([COLLECTOR])
    with BooksWatch(door, FakeClock(), failures, interval_seconds=0.01):
        assert door.third.wait(WAIT_SECONDS)
    assert failures_of(failures) == 0
    assert "books" not in {thread.name for thread in threading.enumerate()}


def test_a_look_that_fails_is_counted_and_the_next_goes_on(books: Database, caplog: pytest.LogCaptureFixture) -> None:
    door = Door(books, closed_for=2)
    clock, failures = FakeClock(), Failures([COLLECTOR])
    watch = BooksWatch(door, clock, failures)
    watch.look()
    watch.look()
    assert failures_of(failures) == 2
    assert "The database does not answer." in caplog.text
    assert not any(family.samples for family in watch.families())
    watch.look()
    assert failures_of(failures) == 2
    assert all(family.samples for family in watch.families())


def test_a_look_without_the_database_is_one_line_in_the_log_and_a_bug_keeps_its_traceback(
    books: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Failures([COLLECTOR])
    BooksWatch(Door(books, closed_for=1), FakeClock(), failures).look()
    assert caplog.text.count("\n") == 1
    assert "Traceback" not in caplog.text

    def stumble(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("podium.exporter.books.reconcile", stumble)
    BooksWatch(Door(books), FakeClock(), failures).look()
    assert "Traceback" in caplog.text
    assert failures_of(failures) == 2


def test_a_failed_look_leaves_the_last_result_and_its_time(books: Database) -> None:
    door, clock = Door(books), FakeClock()
    watch = BooksWatch(door, clock, Failures([COLLECTOR]))
    watch.look()
    before = [family.samples for family in watch.families()]
    clock.advance(300)
    door.closed_for = 100
    watch.look()
    assert [family.samples for family in watch.families()] == before
