"""Databases that exist already come to today's schema with all they hold, on SQLite and on PostgreSQL."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from podium.dag.interval import Interval
from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import attempt, metadata, saving
from podium.execution import attempt_rollup, queries
from podium.execution.entities import AttemptEndState
from tests.e2e.command import Podium
from tests.earlier_schema import build, columns, insert
from tests.execution_world import CHAIN, HandWorker, node, plan_of
from tests.postgresql_on_tcp import TcpServer

EARLIER = ("0001", "0002", "0003", "0004", "0005")
DAY_AFTER = Interval.parse("2026-11-04", "UTC")
NEXT_DAY = Interval.parse("2026-11-03", "UTC")
_numbers = itertools.count(1)
Rows = dict[str, Sequence[Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.db'}", tmp_path / "locks")
    else:
        server: TcpServer = request.getfixturevalue("password_server")
        database = Database(server.create(f"migrated_{next(_numbers)}"), tmp_path / "locks")
    yield database
    database.close()


def revisions(database: Database) -> list[str]:
    """Return every revision before today's, the oldest first."""
    with database.read() as connection:
        script = ScriptDirectory.from_config(migrate.alembic_config(connection))
    return sorted(each.revision for each in script.walk_revisions() if each.revision != migrate.HEAD)


def rows(connection: sa.Connection, selected: dict[str, list[sa.Column[Any]]]) -> Rows:
    """Return what the tables hold in these columns."""
    return {
        name: sorted((row._asdict() for row in connection.execute(sa.select(*found))), key=str)
        for name, found in selected.items()
    }


def a_life(folder: Path) -> Rows:
    """Return the rows of a database in which one run succeeded, one failed, one goes on and one took over."""
    database = Database(f"sqlite:///{folder / 'life.db'}", folder / "locks")
    migrate.upgrade(database)
    world = HandWorker(database, folder)
    world.worker("w")
    ends: tuple[AttemptEndState, ...] = ("succeeded", "failed")
    for end in ends:
        run = world.start(CHAIN, again=end == "failed")
        while claimed := world.claim(run):
            for claim in claimed:
                world.end(claim, end)
    world.claim(world.start(CHAIN, NEXT_DAY))
    cached = plan_of(replace(node("a"), cache=True))
    world.end(world.claim(world.start(cached, DAY_AFTER))[0])
    world.start(cached, DAY_AFTER, again=True)
    with database.read() as connection:
        found = rows(connection, {table.name: list(table.c) for table in metadata.sorted_tables})
    database.close()
    return found


@pytest.mark.parametrize("start", EARLIER)
def test_a_database_with_data_of_every_earlier_revision_is_upgraded(
    empty: Database, tmp_path: Path, start: str
) -> None:
    assert tuple(revisions(empty)) == EARLIER, "a new revision: build databases of it here too"
    build(empty, start)
    life = a_life(tmp_path)
    with empty.write() as connection:
        selected = {table.name: found for table in metadata.sorted_tables if (found := columns(connection, table))}
        insert(connection, life)
        before = rows(connection, selected)
    assert all(before[name] for name in ("run", "step_run", "attempt", "event", "ledger_entry", "price"))

    assert migrate.upgrade(empty) == start

    with empty.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert rows(connection, selected) == before
        counted = sum(each.attempts for each in attempt_rollup.ended(connection).values())
        assert counted == sum(row["state"] != "running" for row in life["attempt"]) > 0
        noted = rows(connection, {"saving": list(saving.c)})
    assert noted == {"saving": life["saving"]}
    assert len(noted["saving"]) == 1
    assert migrate.upgrade(empty) == migrate.HEAD
    world = HandWorker(empty, tmp_path)
    goes_on = world.start(CHAIN, NEXT_DAY)
    with empty.write() as connection:
        (running,) = connection.scalars(sa.select(attempt.c.attempt_id).where(attempt.c.state == "running"))
        row = queries.running_attempt(connection, running)
        assert row is not None
        world.end_row(connection, row)
    assert len(world.claim(goes_on)) == 1


@pytest.mark.parametrize("start", [None, "0001"])
def test_several_processes_that_upgrade_at_once_do_it_once(empty: Database, tmp_path: Path, start: str | None) -> None:
    if start:
        build(empty, start)
    (tmp_path / "podium.toml").write_text("")
    podium = Podium(tmp_path, {"PODIUM_DATABASE_URL": empty.url, "PODIUM_HOME": str(tmp_path / "home")})
    processes = [podium.start("db", "upgrade") for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    said = [" ".join(out.split()) for out, _ in answers]
    assert sorted("nothing to do" in each for each in said) == [False, True, True]
    assert sum(f"from {f'revision {start}' if start else 'empty'} to" in each for each in said) == 1
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
