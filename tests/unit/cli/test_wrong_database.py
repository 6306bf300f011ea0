"""A database that cannot be had: one paragraph with host, port and remedy, without the password, and the exit code."""

import itertools
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa

from podium.db import address, migrate
from tests.e2e.command import Result
from tests.postgresql_on_tcp import PASSWORD, TcpServer
from tests.unit.cli.conftest import InProcess

COMMANDS = [("runs", "list"), ("run", "counting", "--for", "2026-10"), ("db", "upgrade"), ("db", "check")]
SERVER = ("server", "--port", "0")
WRONG = "a secret nobody set"
_numbers = itertools.count(1)


@pytest.fixture
def url(password_server: TcpServer) -> str:
    """The URL of a database of its own, empty, on a server that asks for a password."""
    return password_server.create(f"cli_{next(_numbers)}")


def refusal(answer: Result, code: int) -> str:
    """Return the one paragraph of a command that was refused."""
    assert answer.code == code, answer
    assert answer.out == ""
    for secret in (PASSWORD, PASSWORD.replace("%", "%25"), "secret"):
        assert secret not in answer.err
    return answer.complaint


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nonsense", "'nonsense' is not understood; use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"),
        ("mysql://ada:secret@host/x", "'mysql://ada:***@host/x' names neither a SQLite file nor PostgreSQL"),
        ("sqlite://", "names neither a SQLite file nor PostgreSQL"),
        ("postgresql//ada:secret@host/x", "'***@host/x' is not understood"),
        ("postgresql://ada:secret@host:port/x", "'postgresql://***@host:port/x' is not understood"),
        ("postgresql://ada:secret", "'postgresql://***' is not understood"),
        ("postgresql+asyncpg://ada:secret@host/x", "pip install 'podium[postgres]'"),
        ("postgresql://ada:secret@127.0.0.1/x?sslmode=perhaps", 'invalid sslmode value: "perhaps"'),
        ("postgresql://ada:secret@127.0.0.1/x?colour=red", 'invalid connection option "colour"'),
    ],
)
def test_a_url_that_is_wrong_is_named_without_its_password(podium: InProcess, written: str, said: str) -> None:
    complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=written), 2)
    assert said in complaint
    assert "PODIUM_DATABASE_URL" in complaint or "pip install" in complaint


@pytest.mark.parametrize(
    "behind",
    ["ada:p@secret@host/x", "ada:p@secret/w@127.0.0.1:1/x", "ada/secret:p@host/x", "ada:p@secret?x=w@host/x"],
)
@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_a_password_that_ends_too_early_is_named_and_nothing_of_it_shown(
    podium: InProcess, backend: str, behind: str
) -> None:
    complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=f"{backend}://{behind}"), 2)
    assert complaint.startswith(f"The database URL {backend}://… has an @ behind its host")
    assert "%40 for @, %2F for /" in complaint
    assert not any(part in complaint for part in ("ada", "host/", "127.0.0.1"))


def test_an_escaped_password_and_an_at_in_a_file_name_are_taken_as_they_are() -> None:
    url = address.parse("postgresql://ada:p%40ss%2Fw@host/x?user=a%40b")
    assert (url.username, url.password, url.host, url.database) == ("ada", "p@ss/w", "host", "x")
    assert address.parse("sqlite:////srv/a@b/x.db").database == "/srv/a@b/x.db"


@pytest.mark.parametrize("command", [*COMMANDS, ("worker",), SERVER], ids=" ".join)
def test_a_sqlite_folder_that_does_not_exist_is_named_and_not_made(podium: InProcess, command: tuple[str, ...]) -> None:
    folder = podium.project / "nowhere"
    complaint = refusal(podium(*command, PODIUM_DATABASE_URL=f"sqlite:///{folder}/x.db"), 2)
    assert complaint == (
        f"The folder {folder} of the database sqlite:///{folder}/x.db does not exist. Make it, or correct "
        "PODIUM_DATABASE_URL (database_url in podium.toml)."
    )
    assert not folder.exists()


def test_without_the_extra_its_installation_is_named(podium: InProcess, url: str) -> None:
    podium.monkeypatch.setitem(sys.modules, "psycopg", None)
    complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=url), 2)
    assert "needs psycopg, which cannot be imported here" in complaint
    assert complaint.endswith("Run pip install 'podium[postgres]'.")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_is_too_old_is_named_with_its_version(
    podium: InProcess, url: str, command: tuple[str, ...]
) -> None:
    podium.monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 140012)
    complaint = refusal(podium(*command, PODIUM_DATABASE_URL=url), 2)
    assert "is on PostgreSQL 14.12; Podium needs 15 or newer. Upgrade the server" in complaint


@pytest.mark.parametrize("command", [*COMMANDS, SERVER], ids=" ".join)
def test_a_port_where_nobody_listens_is_named(podium: InProcess, command: tuple[str, ...]) -> None:
    answer = podium(*command, PODIUM_DATABASE_URL="postgresql://ada:secret@127.0.0.1:1/x")
    complaint = refusal(answer, 1)
    assert complaint.startswith(
        "The database postgresql://ada:***@127.0.0.1:1/x does not answer: Connection refused. Check that it runs"
    )


def test_a_host_that_does_not_exist_is_named(podium: InProcess) -> None:
    answer = podium("runs", "list", PODIUM_DATABASE_URL="postgresql://ada:secret@no-such-host.invalid/x")
    assert "no-such-host.invalid" in refusal(answer, 1)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_server_that_never_answers_is_given_up_within_seconds(podium: InProcess, silent_port: int) -> None:
    begun = time.monotonic()
    answer = podium("runs", "list", PODIUM_DATABASE_URL=f"postgresql://ada:secret@127.0.0.1:{silent_port}/x")
    assert time.monotonic() - begun < 8
    assert f"127.0.0.1:{silent_port}/x does not answer: connection timeout expired" in refusal(answer, 1)


def test_the_url_may_set_another_patience(podium: InProcess, silent_port: int) -> None:
    begun = time.monotonic()
    url = f"postgresql://ada:secret@127.0.0.1:{silent_port}/x?connect_timeout=2"
    refusal(podium("runs", "list", PODIUM_DATABASE_URL=url), 1)
    assert time.monotonic() - begun < 4


def test_a_wrong_or_missing_password_or_user_is_a_wrong_configuration(
    podium: InProcess, url: str, password_server: TcpServer
) -> None:
    name = str(sa.make_url(url).database)
    wrong = {
        password_server.url(name, password=WRONG): 'password authentication failed for user "podium"',
        password_server.url(name, user="nobody"): 'password authentication failed for user "nobody"',
        f"postgresql://podium@127.0.0.1:{password_server.port}/{name}": "no password supplied",
    }
    for attempt, said in wrong.items():
        complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=attempt), 2)
        assert said in complaint
        assert complaint.endswith("Correct PODIUM_DATABASE_URL (database_url in podium.toml).")


def test_a_missing_database_asks_for_its_creation(podium: InProcess, password_server: TcpServer) -> None:
    complaint = refusal(podium("db", "upgrade", PODIUM_DATABASE_URL=password_server.url("nowhere")), 2)
    assert complaint.startswith("The server has no database 'nowhere'")
    assert "`createdb`" in complaint


def test_a_user_without_rights_is_told_which(podium: InProcess, url: str, password_server: TcpServer) -> None:
    assert podium("db", "upgrade", PODIUM_DATABASE_URL=url).code == 0
    name = str(sa.make_url(url).database)
    password_server.administer("DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{WRONG}'")
    as_guest = password_server.url(name, user="guest", password=WRONG)
    complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=as_guest), 2)
    assert "refuses: permission denied for table alembic_version" in complaint
    password_server.administer(f"CREATE DATABASE {name}_bare")
    bare = password_server.url(f"{name}_bare")
    complaint = refusal(podium("db", "upgrade", PODIUM_DATABASE_URL=bare), 2)
    assert "permission denied for schema public" in complaint
    assert "ALTER DATABASE" in complaint


def test_an_empty_postgresql_asks_for_the_upgrade_and_works_after_it(podium: InProcess, url: str) -> None:
    complaint = refusal(podium("runs", "list", PODIUM_DATABASE_URL=url), 2)
    assert complaint.endswith("is empty; run `podium db upgrade`.")
    assert refusal(podium(*SERVER, PODIUM_DATABASE_URL=url), 2) == complaint
    checked = podium("db", "check", PODIUM_DATABASE_URL=url)
    assert (checked.code, checked.out.split()) == (1, complaint.split())
    upgraded = podium("db", "upgrade", PODIUM_DATABASE_URL=url)
    assert (upgraded.code, "from empty to revision" in " ".join(upgraded.out.split())) == (0, True)
    again = podium("db", "upgrade", PODIUM_DATABASE_URL=url)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    document = podium("db", "check", "--json", PODIUM_DATABASE_URL=url).document
    assert document == {
        "ok": True,
        "revision": migrate.HEAD,
        "needed": migrate.HEAD,
        "problem": None,
        "violations": [],
        "warnings": [],
    }
    assert podium("runs", "list", "--json", PODIUM_DATABASE_URL=url).document == []


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("0001", f"is at revision 0001, Podium needs {migrate.HEAD}; run `podium db upgrade`."),
        ("9999", f"is at revision 9999, newer than the {migrate.HEAD} that this version of Podium knows; upgrade"),
        ("5b0e9adcef9c", "holds another application's tables (revision '5b0e9adcef9c'"),
    ],
)
def test_a_postgresql_of_another_revision_is_refused_alike_by_every_command(
    podium: InProcess, url: str, revision: str, said: str
) -> None:
    assert podium("db", "upgrade", PODIUM_DATABASE_URL=url).code == 0
    _set_revision(url, revision)
    for command in (("runs", "list"), SERVER):
        assert said in refusal(podium(*command, PODIUM_DATABASE_URL=url), 2)
    checked = podium("db", "check", PODIUM_DATABASE_URL=url)
    assert (checked.code, said in " ".join(checked.out.split())) == (1, True)
    if revision > migrate.HEAD:
        assert said in refusal(podium("db", "upgrade", PODIUM_DATABASE_URL=url), 2)


def _set_revision(url: str, revision: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    engine.dispose()


@pytest.mark.parametrize(("revision", "said"), [("9999", "upgrade Podium"), ("5b0e9adcef9c", "another application's")])
def test_a_sqlite_file_of_another_revision_is_refused(podium: InProcess, revision: str, said: str) -> None:
    assert podium("runs", "list").code == 0
    with closing(sqlite3.connect(podium.project / ".podium" / "podium.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    assert said in refusal(podium("runs", "list"), 2)
    assert said in refusal(podium("db", "upgrade"), 2)
