"""Column types that mean the same on SQLite and PostgreSQL, and the words CHECKs are made of."""

import functools
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Document = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""A JSON value; None is NULL."""

Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A generated integer key; SQLite generates only for INTEGER."""


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime in UTC: TIMESTAMPTZ on PostgreSQL, sortable ISO text with microseconds on SQLite."""

    impl = sa.String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times; write UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; Podium stores aware times only")
        return value.astimezone(UTC) if dialect.name == "postgresql" else _written(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read UTC."""
        del dialect
        if value is None:
            return None
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return parsed.astimezone(UTC)


@functools.lru_cache(maxsize=256)  # a transaction writes the same time in a dozen places
def _written(value: datetime) -> str:
    return f"{value.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


class Exact(sa.types.TypeDecorator[Decimal]):
    """A decimal number kept exactly: NUMERIC(38, scale) on PostgreSQL, text on SQLite, which has no decimal.

    A value with more than `scale` decimals, NaN or an infinity raises ValueError: nothing is rounded on the way in.
    """

    impl = sa.String(64)
    cache_ok = True

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Numeric(38, self.scale))
        return dialect.type_descriptor(sa.String(64))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Write at full scale."""
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError(f"{value} is no amount")
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and -exponent > self.scale and value != round(value, self.scale):
            raise ValueError(f"{value} has more than {self.scale} decimals")
        return value if dialect.name == "postgresql" else f"{value:.{self.scale}f}"

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read a Decimal."""
        del dialect
        return None if value is None else Decimal(value)


def one_of(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    """Return the CHECK that `column` is one of `values`."""
    return sa.CheckConstraint(f"{column} IN ({_quoted(values)})", name=f"{column}_known")


def exactly_when(left: str, right: str, name: str) -> sa.CheckConstraint:
    """Return the CHECK that the two conditions are true together or false together."""
    return sa.CheckConstraint(f"(({left}) AND ({right})) OR (NOT ({left}) AND NOT ({right}))", name=name)


def is_in(column: str, values: Iterable[str]) -> str:
    """Return the SQL condition that `column` is one of `values`."""
    return f"{column} IN ({_quoted(values)})"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)
