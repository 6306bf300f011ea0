"""Bring a database to the schema this version of Podium needs, or say that it is not there yet."""

import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.db.address import SETTING
from podium.db.engine import Database
from podium.errors import ConfigurationError

HEAD = "0006"
"""The newest revision; a test holds it against the migrations."""

_OURS = re.compile(r"[0-9]{4}")


def revision(database: Database) -> str | None:
    """Return the revision the database is at; None for an empty one."""
    with database.read() as connection:
        return _revision(connection)


def ensure(database: Database) -> None:
    """Make the database usable: SQLite is created or upgraded at once, PostgreSQL only by `podium db upgrade`.

    Raises ConfigurationError for a schema that is behind (PostgreSQL), of a newer Podium, or of another application.
    """
    found = revision(database)
    fault = problem(database, found)
    if fault is None:
        return
    if not database.is_sqlite or not _upgradable(found):
        raise ConfigurationError(fault)
    upgrade(database)


def upgrade(database: Database) -> str | None:
    """Run the missing migrations, in one transaction, one process at a time; return the revision before.

    Raises ConfigurationError for a schema of a newer Podium or of another application.
    """
    from alembic import command

    with database.lock("schema"), database.write() as connection:
        before = _revision(connection)
        if not _upgradable(before):
            raise ConfigurationError(problem(database, before))
        command.upgrade(alembic_config(connection), "head")
    return before


def problem(database: Database, found: str | None) -> str | None:
    """Say in one paragraph why a database at revision `found` cannot be used and what to do; None if it can."""
    if found == HEAD:
        return None
    if found is None:
        return f"The database {database.shown} is empty; run `podium db upgrade`."
    if not _OURS.fullmatch(found):
        return (
            f"The database {database.shown} holds another application's tables (revision {found!r}, MLflow's for "
            f"instance); give Podium a database of its own in {SETTING}."
        )
    if found > HEAD:
        return (
            f"The database {database.shown} is at revision {found}, newer than the {HEAD} that this version of "
            "Podium knows; upgrade Podium."
        )
    return f"The database {database.shown} is at revision {found}, Podium needs {HEAD}; run `podium db upgrade`."


def alembic_config(connection: sa.Connection) -> Any:
    """Return alembic's configuration for `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgradable(found: str | None) -> bool:
    return found is None or (_OURS.fullmatch(found) is not None and found <= HEAD)
