"""MLflow's own tables in a SQLite file that is not there yet."""

import os
from pathlib import Path

from podium.registry.sqlite_file import appearing_complete


def make_sqlite_tables(uri: str) -> None:
    """Make the tables of a SQLite store whose file is not there yet, all of them or nothing.

    MLflow would make them in the file itself, by many migrations, and cannot go on where a dead process left them.
    """
    if not uri.startswith("sqlite:"):
        return
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry
    from sqlalchemy import make_url

    url = make_url(uri)
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:") or Path(name).exists():
        return
    with appearing_complete(Path(name)) as scratch:
        engine = create_sqlalchemy_engine_with_retry(str(url.set(database=os.fspath(scratch))))
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
