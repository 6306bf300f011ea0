"""Prepared statements: what of one is text, what a parameter, and what comes back; on both databases."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from podium.db.engine import Database
from podium.db.prepared import Prepared
from podium.db.schema import plan

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ROW = {"digest": "d", "file": "f", "pipeline": "o'clock", "document": {"a": 1}, "code_digest": "c", "stored_at": NOON}


def test_values_go_in_and_come_back_as_with_any_other_statement(database: Database) -> None:
    add = Prepared(plan.insert().values({name: sa.bindparam(name) for name in ROW}))
    read = Prepared(sa.select(plan.c.document, plan.c.stored_at).where(plan.c.digest == sa.bindparam("of")))
    with database.write() as connection:
        assert add.run(connection, ROW) == 1
        assert read.first(connection, {"of": "d"}) == ({"a": 1}, NOON)
        assert read.first(connection, {"of": "e"}) is None


@pytest.mark.parametrize("text", ["o'clock", "%(of)s", ":of", "100 %", "?"])
def test_a_constant_is_part_of_the_statement_whatever_is_in_it(database: Database, text: str) -> None:
    add = Prepared(plan.insert().values({name: sa.bindparam(name) for name in ROW}))
    read = Prepared(sa.select(plan.c.pipeline).where(plan.c.pipeline == text, plan.c.digest == sa.bindparam("of")))
    with database.write() as connection:
        add.run(connection, {**ROW, "pipeline": text})
        assert read.rows(connection, {"of": "d"}) == [(text,)]


def test_a_list_that_expands_cannot_be_prepared(database: Database) -> None:
    read = Prepared(sa.select(plan.c.pipeline).where(plan.c.digest.in_(sa.bindparam("of", expanding=True))))
    with pytest.raises(TypeError, match="cannot be prepared"), database.read() as connection:
        read.rows(connection, {"of": ["d"]})
