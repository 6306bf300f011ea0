"""What a database driver raises, as Podium's errors: what concerns the whole database, not one row."""

import re

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError, ProgrammingError

from podium.db.address import SETTING
from podium.errors import ConfigurationError, PodiumError, ServiceUnavailable

OLDEST_POSTGRESQL = 15
"""The schema needs nothing newer than 9.5 (ON CONFLICT); older ones than this get no more fixes from their makers."""

_INSUFFICIENT_PRIVILEGE = "42501"
_READ_ONLY_TRANSACTION = "25006"
_IN_EACH_OTHERS_WAY = ("40001", "40P01")  # serialization failure, deadlock

# libpq hands on only the text of a refused login, no SQLSTATE. A server that speaks another language lands, with its
# own words, among those that do not answer.
_WHERE = re.compile(r"^(?:connection (?:failed|is bad): )?(?:connection to server .*? failed: )?(?:FATAL:\s+)?")
_NO_DATABASE = re.compile(r'database "(.+)" does not exist')
_WRONG_LOGIN = re.compile(
    r'authentication failed|no password supplied|no pg_hba\.conf entry|role ".+" (?:does not exist|is not permitted)'
    r"|permission denied for database|invalid \w+ value"
)


def at_connecting(error: DBAPIError, shown: str) -> PodiumError:
    """Return why there is no connection: the URL is wrong (exit 2), or nobody answers there (exit 1)."""
    fact = _WHERE.sub("", _first_line(error))
    missing = _NO_DATABASE.search(fact)
    if missing:
        return ConfigurationError(
            f"The server has no database {missing[1]!r} ({shown}). Create it, for instance with `createdb`, and run "
            f"`podium db upgrade`; or correct {SETTING}."
        )
    if _WRONG_LOGIN.search(fact) or isinstance(error, ProgrammingError):
        return ConfigurationError(f"The database {shown} cannot be opened like this: {fact}. Correct {SETTING}.")
    unreadable = _unreadable(error, shown)
    return unreadable or ServiceUnavailable(
        f"The database {shown} does not answer: {fact}. Check that it runs and can be reached from here, and {SETTING}."
    )


def at_work(error: DBAPIError, shown: str) -> Exception:
    """Return what concerns the whole database as one of Podium's errors; a constraint or a wrong statement as it is."""
    fact = _WHERE.sub("", _first_line(error))
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return ServiceUnavailable(
            f"The connection to the database {shown} was lost: {fact}. What was not committed is undone; try again "
            "when it answers."
        )
    if state == _INSUFFICIENT_PRIVILEGE:
        return ConfigurationError(
            f"The database {shown} refuses: {fact}. Make the user of the URL the owner of the database "
            f"(ALTER DATABASE … OWNER TO …), or name another user in {SETTING}."
        )
    if state in _IN_EACH_OTHERS_WAY:
        return ServiceUnavailable(
            f"The database {shown} undid a transaction of this process, because it and another one were in each "
            f"other's way: {fact}. Nothing is lost; try again."
        )
    if isinstance(error, OperationalError) or state == _READ_ONLY_TRANSACTION:
        return ServiceUnavailable(
            f"The database {shown} failed: {fact}. What was not committed is undone; try again when it is well."
        )
    return _unreadable(error, shown) or error


def too_old(server_version: int, shown: str) -> ConfigurationError | None:
    """Return the refusal of a PostgreSQL older than Podium supports; `server_version` is its number, as 150018.

    >>> str(too_old(140012, "postgresql://db/podium")).partition(";")[0]
    'The database postgresql://db/podium is on PostgreSQL 14.12'
    >>> too_old(150000, "postgresql://db/podium")
    """
    major, rest = divmod(server_version, 10_000)
    if major >= OLDEST_POSTGRESQL:
        return None
    version = f"{major}.{rest}" if major >= 10 else f"{major}.{rest // 100}.{rest % 100}"
    return ConfigurationError(
        f"The database {shown} is on PostgreSQL {version}; Podium needs {OLDEST_POSTGRESQL} or newer. Upgrade the "
        f"server, or name another in {SETTING}."
    )


def _unreadable(error: DBAPIError, shown: str) -> PodiumError | None:
    if type(error) is not DatabaseError:  # SQLite says so where the file holds something else
        return None
    return ServiceUnavailable(
        f"The database {shown} cannot be read: {_first_line(error)}. Restore it from a copy; or move it away, and "
        "Podium begins with an empty one."
    )


def _first_line(error: DBAPIError) -> str:
    return str(error.orig or error).strip().splitlines()[0].rstrip(".")
