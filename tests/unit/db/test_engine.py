from decimal import Decimal

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import metadata, price
from podium.errors import ConfigurationError, Conflict


def test_the_migrations_build_exactly_the_schema(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration(database: Database) -> None:
    with database.read() as connection:
        script = ScriptDirectory.from_config(migrate.alembic_config(connection))
    assert script.get_current_head() == migrate.HEAD
    assert migrate.revision(database) == migrate.HEAD


def test_a_schema_from_the_future_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"newer than .* upgrade Podium"):
        migrate.ensure(database)


@pytest.mark.parametrize("amount", ["0.000000000001", "123456789012345678901234.5", "-0.1"])
def test_decimals_come_back_exactly(database: Database, clock: FakeClock, amount: str) -> None:
    row = {
        "price_id": "p",
        "sku": "cpu",
        "region": "local",
        "purchase_option": "on-demand",
        "unit": "core-seconds",
        "unit_price": Decimal(amount),
        "currency": "USD",
        "valid_from": clock.now(),
        "source": "test",
        "digest": "0" * 64,
        "imported_at": clock.now(),
    }
    with database.write() as connection:
        connection.execute(price.insert(), row)
    with database.read() as connection:
        found = connection.execute(sa.select(price.c.unit_price, price.c.valid_from)).one()
    assert found.unit_price == Decimal(amount)
    assert found.valid_from == clock.now()


@pytest.mark.parametrize("amount", ["0.0000000000001", "NaN", "Infinity"])
def test_what_a_column_cannot_hold_exactly_is_refused(database: Database, amount: str) -> None:
    with pytest.raises((ValueError, sa.exc.StatementError)), database.write() as connection:
        connection.execute(sa.select(price).where(price.c.unit_price == Decimal(amount)))


def test_a_failed_write_leaves_nothing(database: Database, clock: FakeClock) -> None:
    class Stop(Exception):
        pass

    def write_and_stop() -> None:
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0000')"))
            raise Stop

    with pytest.raises(Stop):
        write_and_stop()
    assert migrate.revision(database) == migrate.HEAD


def test_a_lock_excludes_others_and_is_free_afterwards(database: Database) -> None:
    with (
        database.lock("model-a"),
        database.lock("model-b"),
        pytest.raises(Conflict, match="'model-a' is held"),
        database.lock("model-a", timeout_seconds=0),
    ):
        pytest.fail("two holders")
    with database.lock("model-a", timeout_seconds=0):
        pass


@pytest.mark.parametrize("url", ["mysql://x/y", "not a url", "sqlite://"])
def test_a_url_podium_cannot_use_is_named(tmp_path: object, url: str) -> None:
    from pathlib import Path

    with pytest.raises(ConfigurationError, match=url.split(":", maxsplit=1)[0]):
        Database(url, Path(str(tmp_path)))
