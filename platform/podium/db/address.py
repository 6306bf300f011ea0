"""A database's URL: read once, and shown without its password."""

import re

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from podium.errors import ConfigurationError

SETTING = "PODIUM_DATABASE_URL (database_url in podium.toml)"
"""Where a person corrects it."""

_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
_SECRET_OPTIONS = ("password", "sslpassword")


def parse(text: str) -> sa.URL:
    """Return the URL; raises ConfigurationError for one that names neither a SQLite file nor PostgreSQL.

    >>> parse("postgres://ada:secret@db.example/podium").drivername
    'postgresql+psycopg'
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        raise ConfigurationError(
            f"The database URL {_without_login(text)!r} is not understood; use {_FORMS}, and correct {SETTING}."
        ) from None
    backend = url.get_backend_name()
    if backend != "sqlite" and _misread(url, text):
        raise ConfigurationError(
            f"The database URL {backend}://… has an @ behind its host: a character of the user name or the password "
            "ends it too early. Write such characters as %40 for @, %2F for /, %3A for :, %3F for ?, %23 for # and "
            f"%25 for % in {SETTING}."
        )
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if backend == "postgresql" or (backend == "sqlite" and url.database):
        return url
    raise ConfigurationError(
        f"The database URL {shown(url)!r} names neither a SQLite file nor PostgreSQL; use {_FORMS}, "
        f"and correct {SETTING}."
    )


def shown(url: sa.URL) -> str:
    """Return the URL for a message: without any password.

    >>> shown(parse("postgresql://ada:secret@db.example:5433/podium?sslpassword=secret"))
    'postgresql://ada:***@db.example:5433/podium'
    """
    plain = url.difference_update_query(_SECRET_OPTIONS)
    return plain.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def _misread(url: sa.URL, text: str) -> bool:
    """Return whether an @ stands behind the first host, so that part of a password was taken for something else."""
    options = text.partition("?")[2] if url.query else ""
    return any("@" in part for part in (url.host or "", url.database or "", options))


def _without_login(text: str) -> str:
    """Return what cannot be parsed without all that may be user and password."""
    scheme = "".join(re.findall(r"^\w[\w+]*://", text))
    _, at, behind = text.rpartition("@")
    if at:
        return f"{scheme}***@{behind}"
    return f"{scheme}***" if scheme else text
