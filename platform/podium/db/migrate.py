"""Bring a database to the schema this version of Podium needs, or say that it is not there yet."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.db.engine import Database
from podium.errors import ConfigurationError

HEAD = "0001"
"""The newest revision; a test holds it against the migrations."""


def revision(database: Database) -> str | None:
    """Return the revision the database is at; None for an empty one."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return found


def ensure(database: Database) -> None:
    """Make the database usable: SQLite is created or upgraded at once, PostgreSQL only by `podium db upgrade`.

    Raises ConfigurationError for a schema that is behind (PostgreSQL) or newer than this version of Podium.
    """
    found = revision(database)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise ConfigurationError(
            f"The database is at revision {found}, newer than the {HEAD} that this version of Podium knows; "
            "upgrade Podium."
        )
    if not database.is_sqlite:
        raise ConfigurationError(
            f"The database is at revision {found or 'none'}, Podium needs {HEAD}; run `podium db upgrade`."
        )
    upgrade(database)


def upgrade(database: Database) -> None:
    """Run the missing migrations, in one transaction, one process at a time."""
    from alembic import command

    with database.lock("schema"), database.write() as connection:
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: sa.Connection) -> Any:
    """Return alembic's configuration for `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
