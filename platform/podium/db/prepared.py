"""Statements that are executed thousands of times: built once, compiled once, run on the driver's own cursor.

SQLAlchemy looks a statement up in its cache, makes an execution context and a result for every call, which costs more
than SQLite takes for the work. A prepared statement is written in the same words, means the same on both databases and
converts values by the same types; it leaves out that work per call, and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors

Parameters = Mapping[str, Any]
_Processor = Callable[[Any], Any] | None


class _Bind(NamedTuple):
    """A place in a statement: what it is called, what converts its value, and its value where nobody gives one."""

    name: str
    processor: _Processor
    default: Any


@dataclass
class _Compiled:
    text: str
    positional: bool
    binds: tuple[_Bind, ...]
    results: tuple[_Processor, ...] | None = None  # known once the driver has told which types it hands out


class Prepared:
    """One statement; `sa.bindparam` marks what each call gives. It has no list that expands.

    Every other text or number in it is part of the statement, not a parameter: SQLite, which looks at a parameter to
    see whether a partial index will do, would plan such a statement anew at each call.

    Errors are SQLAlchemy's, as those of any other statement in the transaction.
    """

    def __init__(self, statement: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, parameters: Parameters) -> int:
        """Execute it and return how many rows it touched."""
        count: int = self._execute(connection, parameters).rowcount
        return count

    def run_all(self, connection: sa.Connection, rows: Sequence[Parameters]) -> int:
        """Execute it for each of `rows`, in order, and return how many rows it touched in all."""
        if not rows:
            return 0
        if connection.dialect.name == "postgresql":  # psycopg would send them in a pipeline: see `db/engine.py`
            return sum(self.run(connection, each) for each in rows)
        compiled = self._on(connection.dialect)
        try:
            cursor = _cursor(connection)
            cursor.executemany(compiled.text, [_values(compiled, each) for each in rows])
        except connection.dialect.loaded_dbapi.Error as error:
            raise self._translated(connection, error) from error
        return int(cursor.rowcount)

    def rows(self, connection: sa.Connection, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Execute it and return what it selects, or what a change of it returns."""
        compiled = self._on(connection.dialect)
        try:  # SQLite makes rows while they are fetched
            cursor = self._execute(connection, parameters)
            found = cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise self._translated(connection, error) from error
        if compiled.results is None:
            compiled.results = _results(self._statement, connection.dialect, cursor.description)
        if not any(compiled.results):
            return list(found)
        return [_row(compiled.results, row) for row in found]

    def first(self, connection: sa.Connection, parameters: Parameters) -> tuple[Any, ...] | None:
        """Execute it and return the first row; None without one."""
        found = self.rows(connection, parameters)
        return found[0] if found else None

    def _execute(self, connection: sa.Connection, parameters: Parameters) -> Any:
        compiled = self._on(connection.dialect)
        try:
            cursor = _cursor(connection)
            cursor.execute(compiled.text, _values(compiled, parameters))
        except connection.dialect.loaded_dbapi.Error as error:
            raise self._translated(connection, error) from error
        return cursor

    def _on(self, dialect: Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self._statement, dialect)
        return found

    def _translated(self, connection: sa.Connection, error: Exception) -> Exception:
        """Return what SQLAlchemy raises for a driver's error, the connection given up if it is broken."""
        dialect = connection.dialect
        broken = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
        if broken:
            connection.invalidate(error)
        text = self._on(dialect).text
        base = dialect.loaded_dbapi.Error
        return DBAPIError.instance(text, None, error, base, connection_invalidated=broken, dialect=dialect)


def _compile(statement: Any, dialect: Dialect) -> _Compiled:
    def constant(element: Any, **_: Any) -> Any:
        return _constant(element, dialect)

    compiled = visitors.replacement_traverse(statement, {}, constant).compile(dialect=dialect)
    if "POSTCOMPILE" in str(compiled):
        raise TypeError(f"A statement with a list that expands cannot be prepared: {compiled}")
    names = compiled.positiontup if compiled.positional else list(compiled.params)
    binds = tuple(
        _Bind(name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect), compiled.params[name])
        for name in names
    )
    return _Compiled(str(compiled), compiled.positional, binds)


def _constant(element: Any, dialect: Dialect) -> sa.ColumnElement[Any] | None:
    """Return a bound text or number as a part of the statement; None for anything else."""
    if not isinstance(element, sa.BindParameter) or element.required or type(element.value) not in (str, int):
        return None
    is_written_as_it_is = element.type.dialect_impl(dialect).bind_processor(dialect) is None
    text = str(element.value)
    if not is_written_as_it_is or "%" in text:  # which marks parameters
        return None
    if isinstance(element.value, str):
        text = "'" + text.replace("'", "''") + "'"
    return sa.literal_column(text, element.type)


def _results(statement: Any, dialect: Dialect, described: Sequence[Any]) -> tuple[_Processor, ...]:
    columns = statement.exported_columns
    return tuple(
        column.type.dialect_impl(dialect).result_processor(dialect, told[1])
        for column, told in zip(columns, described, strict=True)
    )


def _values(compiled: _Compiled, parameters: Parameters) -> Any:
    get = parameters.get
    if compiled.positional:
        return [
            get(name, default) if processor is None else processor(get(name, default))
            for name, processor, default in compiled.binds
        ]
    return {
        name: get(name, default) if processor is None else processor(get(name, default))
        for name, processor, default in compiled.binds
    }


def _row(processors: tuple[_Processor, ...], row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value if processor is None else processor(value) for processor, value in zip(processors, row, strict=True)
    )


def _cursor(connection: sa.Connection) -> Any:
    return connection.connection.cursor()
