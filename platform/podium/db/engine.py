"""A database: read and write transactions, and locks by name, on SQLite or PostgreSQL."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from podium.errors import ConfigurationError, Conflict, ServiceUnavailable

_BUSY_TIMEOUT_SECONDS = 30.0


class Database:
    """The one door to the database.

    Threads may share it. A `write` transaction on SQLite takes the writer's lock at its start, so what it reads
    stays true until it commits; on PostgreSQL conditional UPDATEs and unique indexes decide.
    """

    def __init__(self, url: str, lock_folder: Path) -> None:
        self.url = url
        self._lock_folder = lock_folder
        try:
            self.engine = _create_engine(url)
        except (ArgumentError, NoSuchModuleError):
            raise ConfigurationError(
                f"The database URL {url!r} is not understood; use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
            ) from None
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"The database URL needs the module {error.name!r}, which is not installed; "
                "use postgresql+psycopg://… and pip install 'podium[postgres]'."
            ) from None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite (one host) rather than PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one consistent state and writes nothing."""
        with self._connect() as connection:
            if not self.is_sqlite:  # where each statement would see its own state
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits at the end of the block, or rolls back on an error."""
        with self._connect() as connection:
            connection = connection.execution_options(podium_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def lock(self, name: str, timeout_seconds: float = 60.0) -> Iterator[None]:
        """Hold the lock `name` among all processes of this database; dead holders hold nothing.

        Raises Conflict when it is not free within `timeout_seconds`. SQLite: a file lock, as all its processes
        are on one host. PostgreSQL: an advisory lock on a connection of its own.
        """
        held = (
            file_lock(self._lock_folder, name, timeout_seconds)
            if self.is_sqlite
            else self._advisory_lock(name, timeout_seconds)
        )
        with held:
            yield

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[sa.Connection]:
        try:
            connection = self.engine.connect()
        except DatabaseError as error:
            raise self._explained(
                error, "does not answer", "Check that it runs and that the URL is right."
            ) from error.orig
        try:
            yield connection
        except DatabaseError as error:
            raise self._explained(
                error, "failed", "What was not committed is undone; try again when it is well."
            ) from error.orig
        finally:
            connection.close()

    def _explained(self, error: DatabaseError, fact: str, remedy: str) -> Exception:
        """Return what concerns the whole database as ServiceUnavailable; a constraint or a wrong statement as it is."""
        if isinstance(error, OperationalError):
            return ServiceUnavailable(f"The database {self._shown} {fact}: {_first_line(error)}. {remedy}")
        if type(error) is DatabaseError:  # SQLite: the file holds something else
            return ServiceUnavailable(
                f"The database {self._shown} cannot be read: {_first_line(error)}. Restore it from a copy; "
                "or move it away, and Podium begins with an empty one."
            )
        return error

    @property
    def _shown(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def _advisory_lock(self, name: str, timeout_seconds: float) -> Iterator[None]:
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with self._connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            deadline = time.monotonic() + timeout_seconds
            while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
                if time.monotonic() > deadline:
                    raise _not_free(name, timeout_seconds)
                time.sleep(0.005)
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


def _first_line(error: DatabaseError) -> str:
    return str(error.orig or error).strip().splitlines()[0].rstrip(".")


def _create_engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise ConfigurationError(
            f"The database URL {parsed.render_as_string()!r} names neither a SQLite file nor PostgreSQL; "
            "use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
        )
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # the driver opens no transaction of its own; _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("podium_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def file_lock(folder: Path, name: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock `name` among this host's processes that share `folder`; Conflict when it does not come free."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _not_free(name, timeout_seconds) from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _not_free(name: str, timeout_seconds: float) -> Conflict:
    return Conflict(f"The lock {name!r} is held by another process for more than {timeout_seconds:g} s; try again.")


def insert_unless_present(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique key of it is taken; return whether it was inserted."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # Not by rowcount, which an INSERT need not tell.
    statement = insert(table).values(**row).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(statement).first() is not None
