"""Priorities, deadlines, approvals, worker capacities, lineage, removed artifacts and savings."""

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
    "step_run": (sa.Column("decided_by", sa.String(length=200), nullable=True),),
    "worker": (
        sa.Column("backend", sa.String(length=20), nullable=False, server_default="local"),
        sa.Column("labels", Document, nullable=True),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("cpu", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpu", sa.Integer(), nullable=True),
        sa.Column("heartbeat_at", Instant(), nullable=True),
        sa.Column("draining_at", Instant(), nullable=True),
    ),
    "attempt": (
        sa.Column("pool", sa.String(length=64), nullable=True),
        sa.Column("reads", Document, nullable=True),
        sa.Column("made", Document, nullable=True),
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


def _add_with_constraint(table: str, column: str, type_: sa.types.TypeEngine[Any], constraint: str) -> None:
    """Add a nullable column with a constraint of its own, for which SQLite would else copy the whole table."""
    kind = type_.dialect_impl(op.get_bind().dialect).compile(op.get_bind().dialect)
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind} {constraint}")


def _create_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _forget_shared_keys_of_what_runs() -> None:
    """Of equal steps that run at once, let the first alone keep its key: from now on there is one."""
    op.execute(
        "UPDATE step_run SET cache_key = NULL WHERE state = 'running' AND cache_key IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM step_run other WHERE other.cache_key = step_run.cache_key AND other.state = 'running' "
        "AND other.step_run_id < step_run.step_run_id)"
    )
