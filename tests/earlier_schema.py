"""Databases as earlier versions of Podium made them, with rows in them."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import command

from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import metadata

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def build(database: Database, revision: str) -> None:
    """Build the schema as it was at `revision`."""
    with database.write() as connection:
        command.upgrade(migrate.alembic_config(connection), revision)


def columns(connection: sa.Connection, table: sa.Table) -> list[sa.Column[Any]]:
    """Return the columns of `table` that this database has."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        return []
    there = {column["name"] for column in inspector.get_columns(table.name)}
    return [column for column in table.c if column.name in there]


def insert(connection: sa.Connection, rows: Rows) -> None:
    """Insert of `rows`, by table, what this database has a place for."""
    for table in metadata.sorted_tables:
        names = {column.name for column in columns(connection, table)}
        if names and rows.get(table.name):
            connection.execute(table.insert(), [{name: row[name] for name in names} for row in rows[table.name]])
    if connection.dialect.name == "postgresql":  # its sequences do not see values that are given
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('event', 'event_id'), (SELECT max(event_id) FROM event))"
        )


def take_back(database: Database, revision: str) -> None:
    """Take a database back to an earlier revision, with all that had a place in it."""
    with database.read() as connection:
        rows = {
            table.name: [row._asdict() for row in connection.execute(sa.select(table))]
            for table in metadata.sorted_tables
        }
    with database.write() as connection:
        if database.is_sqlite:
            metadata.drop_all(connection)
            connection.exec_driver_sql("DROP TABLE alembic_version")
        else:  # with its functions
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    build(database, revision)
    with database.write() as connection:
        insert(connection, rows)
