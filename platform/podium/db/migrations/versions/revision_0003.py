"""Priorities, deadlines, approvals, worker capacities, lineage, removed artifacts and savings."""

from collections import defaultdict
from decimal import Context, Decimal, Inexact
from typing import Any

import sqlalchemy as sa
from alembic import op

from podium.db.schema.columns import Document, Exact, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS: dict[str, tuple[sa.Column[Any], ...]] = {
    "run": (
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("rank_at", Instant(), nullable=True),
        sa.Column("deadline_at", Instant(), nullable=True),
        sa.Column("uses_cache", sa.Boolean(), nullable=False, server_default=sa.true()),
    ),
    "step_run": (
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False, server_default="0"),
    ),
    "worker": (
        sa.Column("backend", sa.String(length=20), nullable=False, server_default="local"),
        sa.Column("labels", Document, nullable=True),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("cpu", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpu", sa.Integer(), nullable=True),
        sa.Column("heartbeat_at", Instant(), nullable=True),
        sa.Column("draining_at", Instant(), nullable=True),
        sa.Column("for_any_run", sa.Boolean(), nullable=False, server_default=sa.true()),
    ),
    "attempt": (
        sa.Column("pool", sa.String(length=64), nullable=True),
        sa.Column("reads", Document, nullable=True),
        sa.Column("made", Document, nullable=True),
        sa.Column("waited_seconds", sa.Float(), nullable=True),
    ),
    "artifact": (sa.Column("removed_at", Instant(), nullable=True),),
}


def upgrade() -> None:
    """Add columns, indexes and one table; runs that are there rank by their age alone."""
    for table, columns in _COLUMNS.items():
        for column in columns:
            op.add_column(table, column)
    _add_with_constraint(
        "run", "rerun_of", sa.String(length=40), "CONSTRAINT fk_run_rerun_of_run REFERENCES run (run_id)"
    )
    _add_with_constraint(
        "step_run",
        "decide_by",
        Instant(),
        "CONSTRAINT ck_step_run_held_until_decided CHECK (decide_by IS NULL OR state = 'held')",
    )
    with op.batch_alter_table("output") as output:  # what a person decided, no attempt made
        output.alter_column("attempt_id", existing_type=sa.String(length=40), nullable=True)
    op.execute("UPDATE run SET rank_at = created_at")
    op.create_index("ix_run_created_at", "run", ["created_at", "run_id"])
    _create_index("ix_run_open_rank", "run", ["rank_at", "run_id"], "state IN ('queued', 'running')")
    _create_index("ix_run_open_model", "run", ["model", "state"], "state IN ('queued', 'running')")
    _create_index("ix_step_run_held", "step_run", ["decide_by"], "state = 'held'")
    _create_index("ix_worker_open", "worker", ["worker_id"], "ended_at IS NULL")
    _forget_shared_keys_of_what_runs()
    _create_index(
        "uq_step_run_running_cache_key",
        "step_run",
        ["cache_key"],
        "state = 'running' AND cache_key IS NOT NULL",
        unique=True,
    )
    op.create_table(
        "saving",
        sa.Column("step_run_id", sa.String(length=40), nullable=False),
        sa.Column("source_attempt_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("team", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=200), nullable=False),
        sa.Column("wall_seconds", sa.Float(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", Exact(18), nullable=True),
        sa.Column("saved_at", Instant(), nullable=False),
        sa.CheckConstraint("reason IN ('cache')", name=op.f("ck_saving_reason_known")),
        sa.CheckConstraint(
            "((amount IS NULL) AND (currency = 'XXX')) OR (NOT (amount IS NULL) AND NOT (currency = 'XXX'))",
            name=op.f("ck_saving_unpriced_has_no_currency"),
        ),
        sa.ForeignKeyConstraint(["step_run_id"], ["step_run.step_run_id"], name=op.f("fk_saving_step_run_id_step_run")),
        sa.PrimaryKeyConstraint("step_run_id", "source_attempt_id", name=op.f("pk_saving")),
    )
    op.create_index("ix_saving_run_id", "saving", ["run_id"])
    op.create_table(
        "attempt_rollup",
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("waited", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("waited_seconds", sa.Float(), nullable=False),
        sa.CheckConstraint(
            "state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'snoozed')",
            name=op.f("ck_attempt_rollup_state_known"),
        ),
        sa.PrimaryKeyConstraint("pipeline", "state", "waited", name=op.f("pk_attempt_rollup")),
    )
    _count_attempts()
    _note_savings(op.get_bind())


def _add_with_constraint(table: str, column: str, type_: sa.types.TypeEngine[Any], constraint: str) -> None:
    """Add a nullable column with a constraint of its own, for which SQLite would else copy the whole table."""
    kind = type_.dialect_impl(op.get_bind().dialect).compile(op.get_bind().dialect)
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind} {constraint}")


def _create_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _count_attempts() -> None:
    """Count the attempts of runs that ended, and those that an open run had made before it was last resumed.

    What they waited for a worker is not on record.
    """
    op.execute(
        "INSERT INTO attempt_rollup (pipeline, state, waited, attempts, waited_seconds) "
        "SELECT run.pipeline, attempt.state, 'unknown', count(*), 0 "
        "FROM attempt JOIN step_run ON step_run.step_run_id = attempt.step_run_id "
        "JOIN run ON run.run_id = step_run.run_id "
        "LEFT JOIN (SELECT run_id, max(at) AS at FROM event WHERE kind = 'run.resumed' GROUP BY run_id) resumed "
        "ON resumed.run_id = run.run_id "
        "WHERE attempt.state <> 'running' "
        "AND (run.state NOT IN ('queued', 'running') OR attempt.started_at < resumed.at) "
        "GROUP BY run.pipeline, attempt.state"
    )


def _forget_shared_keys_of_what_runs() -> None:
    """Of equal steps that run at once, let the first alone keep its key: from now on there is one."""
    op.execute(
        "UPDATE step_run SET cache_key = NULL WHERE state = 'running' AND cache_key IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM step_run other WHERE other.cache_key = step_run.cache_key AND other.state = 'running' "
        "AND other.step_run_id < step_run.step_run_id)"
    )


# From here on a copy of what `finops/savings.py` did when this revision was written: that one may change.
_EXACT = Context(prec=76, traps=[Inexact])
_ENTRIES = sa.text("SELECT attempt_id, amount, currency FROM ledger_entry").columns(amount=Exact(18))
_TAKEN_OVER = sa.text(
    "SELECT step_run.step_run_id, step_run.run_id, step_run.name AS step, run.team, run.model, run.environment, "
    "step_run.ended_at AS saved_at, attempt.attempt_id AS source_attempt_id, attempt.wall_seconds "
    "FROM step_run JOIN run ON run.run_id = step_run.run_id JOIN attempt ON attempt.attempt_id = coalesce("
    "(SELECT max(output.attempt_id) FROM output WHERE output.step_run_id = step_run.step_run_id), "
    "(SELECT max(made.attempt_id) FROM step_run other JOIN attempt made ON made.step_run_id = other.step_run_id "
    "WHERE other.cache_key = step_run.cache_key AND made.state = 'succeeded')) WHERE step_run.cached"
).columns(saved_at=Instant())
_SAVING = sa.table(
    "saving",
    *(sa.column(name) for name in ("step_run_id", "source_attempt_id", "reason", "run_id", "step")),
    *(sa.column(name) for name in ("team", "model", "environment", "wall_seconds", "currency")),
    sa.column("amount", Exact(18)),
    sa.column("saved_at", Instant()),
)


def _note_savings(connection: sa.Connection) -> None:
    """Note what each step run saved that took over an equal one's outputs before."""
    taken_over = connection.execute(_TAKEN_OVER).mappings().all()
    if not taken_over:
        return
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    currencies: dict[str, set[str | None]] = defaultdict(set)
    made = {row["source_attempt_id"] for row in taken_over}
    for entry in connection.execute(_ENTRIES):
        if entry.attempt_id in made:
            currencies[entry.attempt_id].add(entry.currency)
            amounts[entry.attempt_id] = _EXACT.add(amounts[entry.attempt_id], entry.amount or Decimal(0))
    rows = []
    for row in taken_over:
        attempt_id = row["source_attempt_id"]
        known = len(currencies[attempt_id]) == 1 and None not in currencies[attempt_id]
        rows.append(
            {
                **row,
                "reason": "cache",
                "amount": amounts[attempt_id] if known else None,
                "currency": next(iter(currencies[attempt_id])) if known else "XXX",
            }
        )
    connection.execute(_SAVING.insert(), rows)
