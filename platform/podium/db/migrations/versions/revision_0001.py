"""The first schema: execution, registry, ledger."""

import sqlalchemy as sa
from alembic import op

from podium.db.schema.append_only import append_only
from podium.db.schema.columns import Document, Exact, Instant, Sequence

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "artifact",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("codec", sa.String(length=40), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.Column("stored_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_artifact")),
    )
    op.create_table(
        "cost_rollup",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("team", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=40), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", Exact(18), nullable=True),
        sa.Column("quantity", Exact(6), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "((amount IS NULL) AND (currency = 'XXX')) OR (NOT (amount IS NULL) AND NOT (currency = 'XXX'))",
            name=op.f("ck_cost_rollup_unpriced_has_no_currency"),
        ),
        sa.PrimaryKeyConstraint(
            "day",
            "team",
            "model",
            "environment",
            "kind",
            "resource",
            "sku",
            "outcome",
            "currency",
            name=op.f("pk_cost_rollup"),
        ),
    )
    op.create_table(
        "evidence",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("candidate_digest", sa.String(length=64), nullable=False),
        sa.Column("champion_version", sa.String(length=40), nullable=True),
        sa.Column("holdout_digest", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("document", Document, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("step_key", sa.String(length=300), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.CheckConstraint("verdict IN ('passed', 'failed', 'insufficient')", name=op.f("ck_evidence_verdict_known")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_evidence")),
    )
    op.create_index("ix_evidence_holdout", "evidence", ["model", "holdout_digest"], unique=False)
    op.create_index("ix_evidence_run_id", "evidence", ["run_id"], unique=False)
    op.create_table(
        "plan",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("file", sa.String(length=1000), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
        sa.Column("document", Document, nullable=False),
        sa.Column("stored_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_plan")),
    )
    op.create_index("ix_plan_pipeline_stored_at", "plan", ["pipeline", "stored_at"], unique=False)
    op.create_table(
        "price",
        sa.Column("price_id", sa.String(length=40), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("region", sa.String(length=100), nullable=False),
        sa.Column("purchase_option", sa.String(length=100), nullable=False),
        sa.Column("unit", sa.String(length=60), nullable=False),
        sa.Column("unit_price", Exact(12), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("valid_from", Instant(), nullable=False),
        sa.Column("valid_to", Instant(), nullable=True),
        sa.Column("source", sa.String(length=500), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("imported_at", Instant(), nullable=False),
        sa.CheckConstraint("valid_to IS NULL OR valid_from < valid_to", name=op.f("ck_price_validity_not_empty")),
        sa.PrimaryKeyConstraint("price_id", name=op.f("pk_price")),
        sa.UniqueConstraint(
            "sku",
            "region",
            "purchase_option",
            "valid_from",
            name=op.f("uq_price_sku_region_purchase_option_valid_from"),
        ),
    )
    op.create_table(
        "promotion",
        sa.Column("promotion_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("expected_version", sa.String(length=40), nullable=True),
        sa.Column("from_version", sa.String(length=40), nullable=True),
        sa.Column("to_version", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=30), nullable=False),
        sa.Column("reasons", Document, nullable=False),
        sa.Column("idempotency_key", sa.String(length=300), nullable=False),
        sa.Column("evidence_digest", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((ended_at IS NOT NULL) AND (state IN ('applied', 'refused', 'void'))) OR (NOT (ended_at IS NOT NULL) AND NOT (state IN ('applied', 'refused', 'void')))",
            name=op.f("ck_promotion_ended_when_final"),
        ),
        sa.CheckConstraint("action IN ('promote', 'rollback')", name=op.f("ck_promotion_action_known")),
        sa.CheckConstraint(
            "state IN ('proposed', 'awaiting_approval', 'applying', 'applied', 'refused', 'void')",
            name=op.f("ck_promotion_state_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('applying', 'applied') OR expected_version = from_version OR (expected_version IS NULL AND from_version IS NULL)",
            name=op.f("ck_promotion_moves_from_the_expected"),
        ),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("pk_promotion")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_promotion_idempotency_key")),
    )
    op.create_index("ix_promotion_run_id", "promotion", ["run_id"], unique=False)
    op.create_index(
        "uq_promotion_open",
        "promotion",
        ["model"],
        unique=True,
        sqlite_where=sa.text("state IN ('proposed', 'awaiting_approval', 'applying')"),
        postgresql_where=sa.text("state IN ('proposed', 'awaiting_approval', 'applying')"),
    )
    op.create_table(
        "promotion_history",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("from_version", sa.String(length=40), nullable=True),
        sa.Column("to_version", sa.String(length=40), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("approvers", Document, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence_digest", sa.String(length=64), nullable=True),
        sa.Column("promotion_id", sa.String(length=40), nullable=True),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "action IN ('promote', 'rollback', 'block', 'unblock')", name=op.f("ck_promotion_history_action_known")
        ),
        sa.CheckConstraint(
            "state IN ('applied', 'refused', 'void', 'restored', 'blocked', 'unblocked')",
            name=op.f("ck_promotion_history_state_known"),
        ),
        sa.CheckConstraint("id >= 1", name=op.f("ck_promotion_history_numbered_from_one")),
        sa.PrimaryKeyConstraint("model", "id", name=op.f("pk_promotion_history")),
    )
    op.create_table(
        "version_lineage",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "attempt_id", name=op.f("pk_version_lineage")),
    )
    op.create_table(
        "worker",
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("lock_path", sa.String(length=1000), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_worker")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("idempotency_key", sa.String(length=300), nullable=False),
        sa.Column("posted_at", Instant(), nullable=False),
        sa.Column("charge_start", Instant(), nullable=False),
        sa.Column("charge_end", Instant(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reverses_entry_id", sa.String(length=40), nullable=True),
        sa.Column("team", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=200), nullable=False),
        sa.Column("subject_type", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("step", sa.String(length=200), nullable=True),
        sa.Column("attempt_id", sa.String(length=40), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=40), nullable=False),
        sa.Column("sku", sa.String(length=200), nullable=False),
        sa.Column("price_id", sa.String(length=40), nullable=True),
        sa.Column("quantity", Exact(6), nullable=False),
        sa.Column("unit", sa.String(length=60), nullable=False),
        sa.Column("unit_price", Exact(12), nullable=True),
        sa.Column("amount", Exact(18), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("meter_source", sa.String(length=40), nullable=False),
        sa.Column("meter_quality", sa.String(length=20), nullable=False),
        sa.Column("allocation_rule", sa.String(length=100), nullable=True),
        sa.Column("allocation_source", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "((reason IS NOT NULL) AND (kind = 'reversal')) OR (NOT (reason IS NOT NULL) AND NOT (kind = 'reversal'))",
            name=op.f("ck_ledger_entry_reversal_gives_its_reason"),
        ),
        sa.CheckConstraint(
            "((reverses_entry_id IS NOT NULL) AND (kind = 'reversal')) OR (NOT (reverses_entry_id IS NOT NULL) AND NOT (kind = 'reversal'))",
            name=op.f("ck_ledger_entry_reversal_names_its_entry"),
        ),
        sa.CheckConstraint(
            "kind IN ('direct', 'serving', 'idle', 'shared', 'reversal')", name=op.f("ck_ledger_entry_kind_known")
        ),
        sa.CheckConstraint(
            "meter_quality IN ('measured', 'reserved', 'estimated', 'missing')",
            name=op.f("ck_ledger_entry_meter_quality_known"),
        ),
        sa.CheckConstraint(
            "(price_id IS NULL AND unit_price IS NULL AND amount IS NULL AND currency IS NULL) OR (price_id IS NOT NULL AND unit_price IS NOT NULL AND amount IS NOT NULL AND currency IS NOT NULL)",
            name=op.f("ck_ledger_entry_priced_or_not"),
        ),
        sa.CheckConstraint("charge_start <= charge_end", name=op.f("ck_ledger_entry_period_ordered")),
        sa.ForeignKeyConstraint(["price_id"], ["price.price_id"], name=op.f("fk_ledger_entry_price_id_price")),
        sa.ForeignKeyConstraint(
            ["reverses_entry_id"],
            ["ledger_entry.entry_id"],
            name=op.f("fk_ledger_entry_reverses_entry_id_ledger_entry"),
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_ledger_entry_idempotency_key")),
        sa.UniqueConstraint("reverses_entry_id", name=op.f("uq_ledger_entry_reverses_entry_id")),
    )
    op.create_index("ix_ledger_entry_attempt_id", "ledger_entry", ["attempt_id"], unique=False)
    op.create_index("ix_ledger_entry_charge_start", "ledger_entry", ["charge_start"], unique=False)
    op.create_index("ix_ledger_entry_run_id", "ledger_entry", ["run_id"], unique=False)
    op.create_table(
        "model_version",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=2000), nullable=False),
        sa.Column("data_digest", sa.String(length=64), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
        sa.Column("evidence_digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("step_key", sa.String(length=300), nullable=False),
        sa.Column("interval_start", Instant(), nullable=False),
        sa.Column("interval_end", Instant(), nullable=False),
        sa.Column("registered_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evidence_digest"], ["evidence.digest"], name=op.f("fk_model_version_evidence_digest_evidence")
        ),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_model_version")),
        sa.UniqueConstraint("step_key", name=op.f("uq_model_version_step_key")),
    )
    op.create_index("ix_model_version_run_id", "model_version", ["run_id"], unique=False)
    op.create_table(
        "run",
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("team", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=200), nullable=False),
        sa.Column("interval_start", Instant(), nullable=False),
        sa.Column("interval_end", Instant(), nullable=False),
        sa.Column("parameters", Document, nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("idempotency_key", sa.String(length=300), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("open_steps", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("cancel_requested_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((ended_at IS NOT NULL) AND (state IN ('succeeded', 'failed', 'cancelled', 'refused'))) OR (NOT (ended_at IS NOT NULL) AND NOT (state IN ('succeeded', 'failed', 'cancelled', 'refused')))",
            name=op.f("ck_run_ended_when_final"),
        ),
        sa.CheckConstraint(
            "((outcome IS NOT NULL) AND (state = 'succeeded')) OR (NOT (outcome IS NOT NULL) AND NOT (state = 'succeeded'))",
            name=op.f("ck_run_outcome_of_success"),
        ),
        sa.CheckConstraint(
            "outcome IN ('promoted', 'rejected', 'rolled_back', 'inconclusive', 'none')",
            name=op.f("ck_run_outcome_known"),
        ),
        sa.CheckConstraint("state <> 'succeeded' OR open_steps = 0", name=op.f("ck_run_success_is_complete")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'refused')",
            name=op.f("ck_run_state_known"),
        ),
        sa.CheckConstraint(
            "trigger IN ('person', 'schedule', 'data', 'drift', 'backfill', 'api')", name=op.f("ck_run_trigger_known")
        ),
        sa.CheckConstraint("interval_start < interval_end", name=op.f("ck_run_interval_not_empty")),
        sa.CheckConstraint("open_steps >= 0", name=op.f("ck_run_open_steps_counted")),
        sa.ForeignKeyConstraint(["plan_digest"], ["plan.digest"], name=op.f("fk_run_plan_digest_plan")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_run_idempotency_key")),
    )
    op.create_index(
        "ix_run_pipeline_interval", "run", ["pipeline", "interval_start", "interval_end", "created_at"], unique=False
    )
    op.create_index(
        "uq_run_open_interval",
        "run",
        ["pipeline", "interval_start", "interval_end"],
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "event",
        sa.Column("event_id", Sequence, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_event_run_id_run")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
    )
    op.create_index("ix_event_run_id", "event", ["run_id", "event_id"], unique=False)
    op.create_table(
        "step_run",
        sa.Column("step_run_id", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("cache_key", sa.String(length=64), nullable=True),
        sa.Column("waiting_on", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", Instant(), nullable=True),
        sa.Column("ready_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((ended_at IS NOT NULL) AND (state IN ('succeeded', 'failed', 'skipped', 'cancelled'))) OR (NOT (ended_at IS NOT NULL) AND NOT (state IN ('succeeded', 'failed', 'skipped', 'cancelled')))",
            name=op.f("ck_step_run_ended_when_final"),
        ),
        sa.CheckConstraint("NOT cached OR state = 'succeeded'", name=op.f("ck_step_run_cached_is_success")),
        sa.CheckConstraint("not_before IS NULL OR state = 'waiting'", name=op.f("ck_step_run_back_off_is_waiting")),
        sa.CheckConstraint(
            "state IN ('waiting', 'ready', 'running', 'held', 'succeeded', 'failed', 'skipped', 'cancelled')",
            name=op.f("ck_step_run_state_known"),
        ),
        sa.CheckConstraint("waiting_on >= 0 AND failures >= 0", name=op.f("ck_step_run_counted")),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_step_run_run_id_run")),
        sa.PrimaryKeyConstraint("step_run_id", name=op.f("pk_step_run")),
        sa.UniqueConstraint("run_id", "name", "map_index", name=op.f("uq_step_run_run_id_name_map_index")),
    )
    op.create_index(
        "ix_step_run_cache_key",
        "step_run",
        ["cache_key"],
        unique=False,
        sqlite_where=sa.text("state = 'succeeded' AND cache_key IS NOT NULL"),
        postgresql_where=sa.text("state = 'succeeded' AND cache_key IS NOT NULL"),
    )
    op.create_index(
        "ix_step_run_claimable",
        "step_run",
        ["state", "run_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('ready', 'waiting')"),
        postgresql_where=sa.text("state IN ('ready', 'waiting')"),
    )
    op.create_table(
        "attempt",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("step_run_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
        sa.Column("lease_expires_at", Instant(), nullable=False),
        sa.Column("heartbeat_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("reserved_cpu", sa.Float(), nullable=False),
        sa.Column("reserved_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_gpu", sa.Integer(), nullable=False),
        sa.Column("wall_seconds", sa.Float(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("meter_source", sa.String(length=40), nullable=True),
        sa.Column("meter_quality", sa.String(length=20), nullable=True),
        sa.Column("error_type", sa.String(length=200), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("log", sa.String(length=1000), nullable=False),
        sa.CheckConstraint(
            "((ended_at IS NULL) AND (state = 'running')) OR (NOT (ended_at IS NULL) AND NOT (state = 'running'))",
            name=op.f("ck_attempt_ended_when_final"),
        ),
        sa.CheckConstraint(
            "meter_quality IN ('measured', 'estimated', 'missing')", name=op.f("ck_attempt_meter_quality_known")
        ),
        sa.CheckConstraint("state = 'running' OR wall_seconds IS NOT NULL", name=op.f("ck_attempt_ended_is_metered")),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'snoozed')",
            name=op.f("ck_attempt_state_known"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_attempt_numbered_from_one")),
        sa.ForeignKeyConstraint(
            ["step_run_id"], ["step_run.step_run_id"], name=op.f("fk_attempt_step_run_id_step_run")
        ),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.worker_id"], name=op.f("fk_attempt_worker_id_worker")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("step_run_id", "number", name=op.f("uq_attempt_step_run_id_number")),
    )
    op.create_index(
        "ix_attempt_running_worker",
        "attempt",
        ["worker_id"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "uq_attempt_running",
        "attempt",
        ["step_run_id"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "output",
        sa.Column("step_run_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.attempt_id"], name=op.f("fk_output_attempt_id_attempt")),
        sa.ForeignKeyConstraint(["digest"], ["artifact.digest"], name=op.f("fk_output_digest_artifact")),
        sa.ForeignKeyConstraint(["step_run_id"], ["step_run.step_run_id"], name=op.f("fk_output_step_run_id_step_run")),
        sa.PrimaryKeyConstraint("step_run_id", "name", name=op.f("pk_output")),
    )
    op.create_index("ix_output_digest", "output", ["digest"], unique=False)
    for statement in append_only("ledger_entry", op.get_bind().dialect.name):
        op.execute(statement)
