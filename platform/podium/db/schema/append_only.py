"""Tables whose rows the database itself refuses to change or delete."""

_SQLITE = """\
CREATE TRIGGER {table}_refuses_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: its rows are never changed'); END;;
CREATE TRIGGER {table}_refuses_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: its rows are never deleted'); END"""

_POSTGRESQL = """\
CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{table} is append-only: its rows are never changed or deleted'; END $$;;
CREATE TRIGGER {table}_refuses_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"""


def append_only(table: str, dialect: str) -> list[str]:
    """Return the statements that make `table` append-only on `dialect`; a migration executes each once.

    >>> [statement.split(" BEFORE ")[0] for statement in append_only("ledger_entry", "sqlite")]
    ['CREATE TRIGGER ledger_entry_refuses_update', 'CREATE TRIGGER ledger_entry_refuses_delete']
    """
    statements = _POSTGRESQL if dialect == "postgresql" else _SQLITE
    return statements.format(table=table).split(";;\n")
