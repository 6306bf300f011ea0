"""A PostgreSQL that goes away: what was under way is undone and told, and work goes on when it is back."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from podium.dag.plan import Reference
from podium.db import migrate
from podium.db.engine import Database, Session
from podium.db.schema import price, worker
from podium.errors import ConfigurationError, ServiceUnavailable
from tests.execution_world import HandWorker, node, plan_of
from tests.postgresql_on_tcp import TcpServer, tcp_server

PATIENCE_SECONDS = 30.0
_numbers = itertools.count(1)


@pytest.fixture
def opened(password_server: TcpServer, tmp_path: Path) -> Iterator[Database]:
    """A migrated database of its own."""
    database = Database(password_server.create(f"lost_{next(_numbers)}"), tmp_path)
    migrate.upgrade(database)
    yield database
    database.close()


def end_connections(server: TcpServer, database: Database) -> None:
    """End every connection to `database`, as a restart or an administrator does."""
    name = database.engine.url.database
    # S608: the name is this module's own
    server.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608


def use(session: Session) -> None:
    """Read something."""
    with session.read() as connection:
        connection.execute(sa.select(sa.literal(1)))


def hear(session: Session) -> None:
    """Listen until something is wrong: the server's last words come before the end of the connection."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        session.others_wrote()


@pytest.mark.parametrize("transaction", [Database.read, Database.write])
def test_a_connection_lost_amid_a_transaction_is_told_and_the_next_one_works(
    opened: Database,
    password_server: TcpServer,
    transaction: Callable[[Database], AbstractContextManager[sa.Connection]],
) -> None:
    def lose() -> None:
        with transaction(opened) as connection:
            connection.execute(sa.select(sa.literal(1)))
            end_connections(password_server, opened)
            connection.execute(sa.select(sa.literal(1)))

    with pytest.raises(ServiceUnavailable, match=r"The connection to .* was lost: .*undone; try again"):
        lose()
    assert migrate.revision(opened) == migrate.HEAD


def test_a_connection_lost_before_the_commit_leaves_nothing(opened: Database, password_server: TcpServer) -> None:
    def lose() -> None:
        with opened.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
            end_connections(password_server, opened)

    with pytest.raises(ServiceUnavailable, match="was lost"):
        lose()
    assert migrate.revision(opened) == migrate.HEAD


def test_a_pooled_connection_that_died_meanwhile_is_replaced(opened: Database, password_server: TcpServer) -> None:
    assert migrate.revision(opened) == migrate.HEAD
    end_connections(password_server, opened)
    assert migrate.revision(opened) == migrate.HEAD


def test_a_lock_whose_connection_is_lost_is_free_for_others_and_its_holder_is_told(
    opened: Database, password_server: TcpServer
) -> None:
    def hold() -> None:
        with opened.lock("model-a"):
            end_connections(password_server, opened)
            with opened.lock("model-a", timeout_seconds=5):
                pass

    with pytest.raises(ServiceUnavailable, match="was lost"):
        hold()


@pytest.mark.parametrize("first", [hear, use, Session.close], ids=["told", "used", "closed"])
def test_a_session_whose_connections_are_lost_is_as_new_afterwards(
    opened: Database, password_server: TcpServer, first: Callable[[Session], object]
) -> None:
    session = Session(opened)
    use(session)
    session.others_wrote()
    end_connections(password_server, opened)
    if first is Session.close:
        first(session)
    else:
        with pytest.raises(ServiceUnavailable, match="was lost"):
            first(session)
    use(session)
    assert session.others_wrote()
    assert session.fileno() >= 0
    session.close()


def test_nothing_is_written_in_a_pipeline_amid_which_a_frozen_worker_would_keep_its_locks(
    opened: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("this is a pipeline")

    monkeypatch.setattr("psycopg.Cursor.executemany", refuse)
    hand = HandWorker(opened, tmp_path)
    hand.worker("w")
    run = hand.start(plan_of(node("a"), node("b", over=Reference("a")), node("c", "b")))
    for result in ("[1, 2, 3]", "1", "1"):
        for claim in hand.claim(run):
            hand.end(claim, result=result)
    assert hand.run(run).state == "succeeded"
    with opened.write() as connection:
        price_ids = [{"of": each} for each in connection.scalars(sa.select(price.c.price_id))]
        connection.execute(sa.update(price).where(price.c.price_id == sa.bindparam("of")).values(source="x"), price_ids)
        assert set(connection.scalars(sa.select(price.c.source))) == {"x"}


def test_a_read_only_standby_is_told_from_a_bug(opened: Database, password_server: TcpServer) -> None:
    name = opened.engine.url.database
    password_server.administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    end_connections(password_server, opened)

    def write() -> None:
        with opened.write() as connection:
            connection.execute(sa.delete(worker))

    with pytest.raises(ServiceUnavailable, match="read-only transaction"):
        write()


def test_two_transactions_that_wait_for_each_other_are_told_so(opened: Database) -> None:
    both_hold_one = threading.Barrier(2)

    def lock_both(first: int, second: int) -> str:
        try:
            with opened.write() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(first)))
                both_hold_one.wait(PATIENCE_SECONDS)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(second)))
        except ServiceUnavailable as error:
            return str(error)
        return "committed"

    with ThreadPoolExecutor() as threads:
        told = sorted(threads.map(lock_both, (1, 2), (2, 1)))
    assert told[0].endswith(
        "because it and another one were in each other's way: deadlock detected. Nothing is lost; try again."
    )
    assert told[1] == "committed"


def test_a_server_that_is_stopped_and_started_again_is_used_again(tmp_path: Path) -> None:
    with tcp_server(major=18) as server:
        database = Database(server.create("restarted"), tmp_path)
        migrate.upgrade(database)
        server.stop()
        with pytest.raises(ServiceUnavailable, match=r"does not answer: Connection refused"):
            migrate.revision(database)
        server.start()
        assert migrate.revision(database) == migrate.HEAD
        database.close()


def test_the_version_is_checked_at_every_opening_not_only_by_commands(
    password_server: TcpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    database = Database(password_server.create(f"lost_{next(_numbers)}"), tmp_path)
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 90624)
    with pytest.raises(ConfigurationError, match=r"is on PostgreSQL 9\.6\.24"):
        migrate.revision(database)
    database.close()
