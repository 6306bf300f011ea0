"""A database: read and write transactions, and locks by name, on SQLite or PostgreSQL."""

import fcntl
import functools
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, NoSuchModuleError

from podium.db import address, database_errors
from podium.db.file_watch import FileWatch, touch
from podium.db.prepared import Prepared
from podium.errors import ConfigurationError, Conflict, ServiceUnavailable

_BUSY_TIMEOUT_SECONDS = 30.0
_READY_CHANNEL = "podium_ready"
_WAKE = "podium_wake"

# Of libpq, where the URL does not say otherwise. Without them a host that swallows packets is waited for over two
# minutes, and a statement on one that vanished for ever.
_LIBPQ_OPTIONS = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # milliseconds
    "application_name": "podium",
}

_IDLE_IN_TRANSACTION = "idle_in_transaction_session_timeout"
_IDLE_IN_TRANSACTION_MILLISECONDS = 30_000
"""After so long PostgreSQL ends a session whose process is frozen amid a transaction: others wait for its locks."""


class Database:
    """The one door to the database.

    Threads may share it. A `write` transaction on SQLite takes the writer's lock at its start, so what it reads
    stays true until it commits; on PostgreSQL conditional UPDATEs and unique indexes decide.
    """

    def __init__(self, url: str, lock_folder: Path) -> None:
        self.url = url
        self._lock_folder = lock_folder
        parsed = address.parse(url)
        self.shown = address.shown(parsed)
        self.engine = (
            _sqlite(parsed, self.shown) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed, self.shown)
        )

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
            self.wake_those_told(connection)

    def wake_those_told(self, connection: sa.Connection) -> None:
        """Wake workers on SQLite, if the transaction that was just committed is to; PostgreSQL does so itself.

        It fails for nothing: what is committed stands, and workers look now and then without being told.
        """
        if connection.info.pop(_WAKE, False):
            touch(self.wake_file)

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

    @property
    def wake_file(self) -> Path:
        """The file that is touched on SQLite when there is work."""
        return self._lock_folder / "work"

    def session(self) -> "Session":
        """Return a connection of its own for one thread that works on the database all the time."""
        return Session(self)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[sa.Connection]:
        try:
            connection = self.engine.connect()
        except DBAPIError as error:
            raise database_errors.at_connecting(error, self.shown) from error.orig
        try:
            yield connection
        except DBAPIError as error:
            raise database_errors.at_work(error, self.shown) from error.orig
        finally:
            connection.close()

    @contextmanager
    def _advisory_lock(self, name: str, timeout_seconds: float) -> Iterator[None]:
        key = _lock_key(name)
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


class Session:
    """One connection that one thread keeps: nothing is checked out for a transaction, and others' writes are noticed.

    A connection that broke is replaced at the next use.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = ExitStack()
        self._connection: sa.Connection | None = None
        self._listener: Any = None  # PostgreSQL's
        self._watch: FileWatch | None = None  # on SQLite
        self._version: int | None = None
        self._looked = False

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits at the end of the block, or rolls back on an error."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes nothing; on PostgreSQL each of its statements sees the latest state."""
        with self._transaction(write=False) as connection:
            yield connection

    def fileno(self) -> int:
        """Return a descriptor that is readable when `wake_workers` told something since `others_wrote` was asked.

        It is another one after the connection broke.
        """
        with self._reporting_loss():
            number: int = self._watching().fileno() if self._database.is_sqlite else self._listening().fileno()
            return number

    def others_wrote(self) -> bool:
        """Tell, in microseconds, whether somebody else made work ready since the last look; at first True.

        On SQLite whatever another connection committed counts, on PostgreSQL what `wake_workers` told.
        """
        with self._reporting_loss():
            return self._has_other_data() if self._database.is_sqlite else self._was_notified()

    @contextmanager
    def _reporting_loss(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, self._database.engine.dialect.loaded_dbapi.Error) as error:
            self.close()
            raise ServiceUnavailable(
                f"The connection to the database {self._database.shown} was lost: {error}."
            ) from error

    def close(self) -> None:
        """Give the connection back; one that is lost is given up."""
        stack, self._stack = self._stack, ExitStack()
        self._connection = self._listener = self._watch = self._version = None
        self._looked = False
        with suppress(DBAPIError):
            stack.close()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        with self._guarded() as connection:
            connection = connection.execution_options(podium_write=write)
            with connection.begin():
                yield connection
            self._database.wake_those_told(connection)

    @contextmanager
    def _guarded(self) -> Iterator[sa.Connection]:
        """Hand out the connection, opened if need be, and forget it when it breaks."""
        if self._connection is None:
            self._connection = self._stack.enter_context(self._database._connect())  # noqa: SLF001 - its own module
        try:
            yield self._connection
        except DBAPIError as error:
            translated = database_errors.at_work(error, self._database.shown)
            if isinstance(translated, ServiceUnavailable):
                self.close()
            raise translated from error.orig

    def _has_other_data(self) -> bool:
        self._watching().clear()  # before the look: what comes after it shows
        with self._guarded() as connection:
            cursor = connection.connection.cursor()
            (version,) = cursor.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, int(version)
        return before != self._version

    def _watching(self) -> FileWatch:
        if self._watch is None:
            try:
                self._watch = FileWatch(self._database.wake_file)
            except OSError as error:
                raise ConfigurationError(
                    f"A worker must be told when there is work, by the file {self._database.wake_file}, and the system "
                    f"refuses: {error}. If it has too many inotify instances, `sysctl fs.inotify.max_user_instances` "
                    "tells the limit; raise it."
                ) from None
            self._stack.callback(self._watch.close)
        return self._watch

    def _was_notified(self) -> bool:
        """Take what PostgreSQL has told since the last look."""
        told = list(self._listening().notifies(timeout=0))
        first, self._looked = not self._looked, True
        return first or bool(told)

    def _listening(self) -> Any:
        """Return the driver's connection that PostgreSQL tells."""
        if self._listener is None:
            listening = self._stack.enter_context(self._database._connect())  # noqa: SLF001 - its own module
            listening = listening.execution_options(isolation_level="AUTOCOMMIT")
            listening.exec_driver_sql(f"LISTEN {_READY_CHANNEL}")
            self._listener = listening.connection.dbapi_connection
        return self._listener


def wake_workers(connection: sa.Connection) -> None:
    """Tell workers, once the transaction is committed, that there is work."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {_READY_CHANNEL}")
    else:
        connection.info[_WAKE] = True


def try_lock(connection: sa.Connection, name: str) -> bool:
    """Hold the lock `name` until the write transaction ends; False, at once, if another transaction has it.

    On SQLite a write transaction excludes every other, so it is free.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_lock_key(name)))))


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _postgresql(url: sa.URL, shown: str) -> sa.Engine:
    options = {name: value for name, value in _LIBPQ_OPTIONS.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=options)
    except (ImportError, NoSuchModuleError) as error:  # psycopg without its library is an ImportError
        raise ConfigurationError(
            f"The database {shown} needs psycopg, which cannot be imported here ({error}). "
            "Run pip install 'podium[postgres]'."
        ) from None

    def prepare(connection: Any, record: object) -> None:
        del record
        refusal = database_errors.too_old(connection.info.server_version, shown)
        if refusal:
            connection.close()
            raise refusal
        if _IDLE_IN_TRANSACTION not in str(url.query.get("options", "")):
            connection.execute(f"SET {_IDLE_IN_TRANSACTION} = {_IDLE_IN_TRANSACTION_MILLISECONDS}")
            connection.commit()

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "do_executemany", _execute_each)
    return engine


def _execute_each(cursor: Any, statement: str, rows: Sequence[Any], context: object) -> bool:
    """Execute a statement for one row after the other, and not in a pipeline, as psycopg's `executemany` does.

    To PostgreSQL a process that is frozen amid a pipeline is not idle: it would wait for it, locks and all, for ever.
    """
    del context
    for row in rows:
        cursor.execute(statement, row)
    return True


def _sqlite(url: sa.URL, shown: str) -> sa.Engine:
    folder = Path(str(url.database)).parent
    if not folder.is_dir():  # made here, a folder that is misspelt would pass for a project without runs
        raise ConfigurationError(
            f"The folder {folder} of the database {shown} does not exist. Make it, or correct {address.SETTING}."
        )
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    sa.event.listen(engine, "rollback", _forget_to_wake)
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


def _forget_to_wake(connection: sa.Connection) -> None:
    connection.info.pop(_WAKE, None)


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
    return _adding(connection.dialect.name, table, tuple(row)).first(connection, row) is not None


def insert_all_unless_present(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert each of `rows` unless a unique key of it is taken, in their order and in one go."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


@functools.cache
def _adding(dialect: str, table: sa.Table, names: tuple[str, ...]) -> Prepared:
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    values: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in names}
    # It tells by what it returns; an INSERT need not tell how many rows it added.
    return Prepared(insert.values(values).on_conflict_do_nothing().returning(*table.primary_key))


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
