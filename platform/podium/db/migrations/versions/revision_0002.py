"""Canaries with their looks, and the rollups of runs."""

from bisect import bisect_left
from collections import Counter, defaultdict
from decimal import Context, Decimal, Inexact
from typing import Any

import sqlalchemy as sa
from alembic import op

from podium.db.schema.columns import Document, Exact, Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and count the runs that ended already."""
    op.create_table(
        "canary",
        sa.Column("canary_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("challenger_version", sa.String(length=40), nullable=False),
        sa.Column("champion_version", sa.String(length=40), nullable=False),
        sa.Column("traffic", sa.String(length=20), nullable=False),
        sa.Column("traffic_digest", sa.String(length=64), nullable=True),
        sa.Column("plan", Document, nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("seed", sa.String(length=64), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("baseline_error_rate", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("counts", Document, nullable=False),
        sa.Column("reasons", Document, nullable=False),
        sa.Column("promotion_id", sa.String(length=40), nullable=True),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("step_key", sa.String(length=300), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("paused_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((ended_at IS NOT NULL) AND (state IN ('promoted', 'rolled_back', 'inconclusive', 'aborted', 'invalid'))) OR (NOT (ended_at IS NOT NULL) AND NOT (state IN ('promoted', 'rolled_back', 'inconclusive', 'aborted', 'invalid')))",
            name=op.f("ck_canary_ended_when_final"),
        ),
        sa.CheckConstraint(
            "((traffic_digest IS NOT NULL) AND (traffic = 'replay')) OR (NOT (traffic_digest IS NOT NULL) AND NOT (traffic = 'replay'))",
            name=op.f("ck_canary_replay_names_its_rows"),
        ),
        sa.CheckConstraint(
            "state <> 'promoted' OR promotion_id IS NOT NULL", name=op.f("ck_canary_promoted_names_its_promotion")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'shadowing', 'ramping', 'promoted', 'rolled_back', 'inconclusive', 'aborted', 'invalid')",
            name=op.f("ck_canary_state_known"),
        ),
        sa.CheckConstraint("traffic IN ('replay', 'live')", name=op.f("ck_canary_traffic_known")),
        sa.CheckConstraint("position >= 0 AND position <= horizon", name=op.f("ck_canary_position_within_the_horizon")),
        sa.PrimaryKeyConstraint("canary_id", name=op.f("pk_canary")),
        sa.UniqueConstraint("step_key", name=op.f("uq_canary_step_key")),
    )
    op.create_index("ix_canary_model", "canary", ["model", "opened_at"], unique=False)
    op.create_index("ix_canary_run_id", "canary", ["run_id"], unique=False)
    op.create_index(
        "uq_canary_open",
        "canary",
        ["model"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "run_rollup",
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("team", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("cost_bucket", sa.String(length=20), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("amount", Exact(18), nullable=True),
        sa.Column("wall_seconds", sa.Float(), nullable=False),
        sa.Column("last_ended_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "((amount IS NULL) AND (currency = 'XXX')) OR (NOT (amount IS NULL) AND NOT (currency = 'XXX'))",
            name=op.f("ck_run_rollup_unpriced_has_no_currency"),
        ),
        sa.PrimaryKeyConstraint(
            "pipeline", "team", "model", "environment", "outcome", "currency", "cost_bucket", name=op.f("pk_run_rollup")
        ),
    )
    op.create_table(
        "canary_look",
        sa.Column("canary_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("counts", Document, nullable=False),
        sa.Column("evidence", Document, nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.CheckConstraint(
            "verdict IN ('continue', 'promote', 'roll_back', 'inconclusive', 'invalid')",
            name=op.f("ck_canary_look_verdict_known"),
        ),
        sa.ForeignKeyConstraint(["canary_id"], ["canary.canary_id"], name=op.f("fk_canary_look_canary_id_canary")),
        sa.PrimaryKeyConstraint("canary_id", "position", name=op.f("pk_canary_look")),
    )
    op.create_table(
        "run_cost",
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("amount", Exact(18), nullable=False),
        sa.Column("ended_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_cost_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_cost")),
    )
    op.create_index("ix_evidence_verdict", "evidence", ["model", "verdict"], unique=False)
    op.create_index("ix_promotion_history_move", "promotion_history", ["model", "action", "state"], unique=False)
    _count_ended_runs(op.get_bind())


# From here on a copy of what `finops/run_rollup.py` did when this revision was written: that one may change.
_EXACT = Context(prec=76, traps=[Inexact])
_BOUNDS = (*(Decimal(step).scaleb(exponent) for exponent in range(-4, 3) for step in (1, 2, 5)), Decimal(1000))
_OWNER = ("pipeline", "team", "model", "environment")
_ENTRIES = sa.text("SELECT run_id, kind, amount, currency FROM ledger_entry").columns(amount=Exact(18))
_RESUMED = sa.text("SELECT run_id, max(at) AS at FROM event WHERE kind = 'run.resumed' GROUP BY run_id")
_ENDED = sa.text("SELECT * FROM run WHERE state IN ('succeeded', 'failed', 'cancelled')")
_RUN_ROLLUP = sa.table(
    "run_rollup",
    *(sa.column(name) for name in (*_OWNER, "outcome", "currency", "cost_bucket", "ends", "wall_seconds")),
    sa.column("amount", Exact(18)),
    sa.column("last_ended_at", Instant()),
)
_RUN_COST = sa.table("run_cost", sa.column("run_id"), sa.column("amount", Exact(18)), sa.column("ended_at", Instant()))


def _count_ended_runs(connection: sa.Connection) -> None:
    """Count each ended run once, at its last end, with all that it was ever charged."""
    charged: dict[str, Decimal] = defaultdict(Decimal)
    currencies: dict[str, set[str]] = defaultdict(set)
    unpriced = Counter[str]()
    for entry in connection.execute(_ENTRIES):
        if entry.amount is None:
            unpriced[entry.run_id] += -1 if entry.kind == "reversal" else 1
        elif entry.kind != "reversal":
            charged[entry.run_id] = _EXACT.add(charged[entry.run_id], entry.amount)
            currencies[entry.run_id].add(entry.currency)
    resumed_at = {row.run_id: row.at for row in connection.execute(_RESUMED.columns(at=Instant()))}
    rollups: dict[tuple[str, ...], dict[str, Any]] = {}
    costs = []
    for run in connection.execute(_ENDED.columns(started_at=Instant(), ended_at=Instant())):
        known = not unpriced[run.run_id] and len(currencies[run.run_id]) <= 1
        amount = charged[run.run_id] if known else None
        labels = {name: getattr(run, name) for name in _OWNER} | {
            "outcome": run.outcome or run.state,
            "currency": "XXX" if amount is None else next(iter(currencies[run.run_id]), "USD"),
            "cost_bucket": "unpriced" if amount is None else _bucket_of(amount),
        }
        since = resumed_at.get(run.run_id, run.started_at) or run.ended_at
        seconds = max(0.0, (run.ended_at - since).total_seconds())
        nothing = {"ends": 0, "amount": Decimal(0), "wall_seconds": 0.0, "last_ended_at": run.ended_at}
        row = rollups.setdefault(tuple(labels.values()), {**labels, **nothing})
        row["ends"] += 1
        row["amount"] = None if amount is None else _EXACT.add(row["amount"], amount)
        row["wall_seconds"] += seconds
        row["last_ended_at"] = max(row["last_ended_at"], run.ended_at)
        costs.append({"run_id": run.run_id, "amount": amount or Decimal(0), "ended_at": run.ended_at})
    if costs:
        connection.execute(_RUN_ROLLUP.insert(), list(rollups.values()))
        connection.execute(_RUN_COST.insert(), costs)


def _bucket_of(amount: Decimal) -> str:
    place = bisect_left(_BOUNDS, amount)
    return f"{_BOUNDS[place]:f}" if place < len(_BOUNDS) else "+Inf"
