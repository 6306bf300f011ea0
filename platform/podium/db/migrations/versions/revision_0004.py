"""Schedules, triggers, backfills and alerts."""

import sqlalchemy as sa
from alembic import op

from podium.db.schema.columns import Document, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and to runs what caused them."""
    op.create_table(
        "alert",
        sa.Column("alert_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("team", sa.String(length=200), nullable=True),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("facts", Document, nullable=False),
        sa.Column("happened_at", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alert")),
        sa.UniqueConstraint("key", name=op.f("uq_alert_key")),
    )
    op.create_index("ix_alert_created_at", "alert", ["created_at", "alert_id"])
    op.create_table(
        "alert_cursor",
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("read_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_alert_cursor")),
    )
    op.create_table(
        "scheduler",
        sa.Column("scheduler_id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("heartbeat_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("scheduler_id", name=op.f("pk_scheduler")),
    )
    op.create_table(
        "alert_delivery",
        sa.Column("alert_id", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", Instant(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((ended_at IS NULL) AND (state = 'pending')) OR (NOT (ended_at IS NULL) AND NOT (state = 'pending'))",
            name=op.f("ck_alert_delivery_ended_when_final"),
        ),
        sa.CheckConstraint(
            "((next_try_at IS NOT NULL) AND (state = 'pending')) OR (NOT (next_try_at IS NOT NULL) AND NOT (state = 'pending'))",
            name=op.f("ck_alert_delivery_pending_is_tried_again"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'withheld', 'given_up')", name=op.f("ck_alert_delivery_state_known")
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.alert_id"], name=op.f("fk_alert_delivery_alert_id_alert")),
        sa.PrimaryKeyConstraint("alert_id", "channel", name=op.f("pk_alert_delivery")),
    )
    op.create_index("ix_alert_delivery_channel_ended_at", "alert_delivery", ["channel", "ended_at"])
    _create_index("ix_alert_delivery_pending", "alert_delivery", ["next_try_at"], "state = 'pending'")
    op.create_table(
        "backfill",
        sa.Column("backfill_id", sa.String(length=40), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("interval_start", Instant(), nullable=False),
        sa.Column("interval_end", Instant(), nullable=False),
        sa.Column("parameters", Document, nullable=False),
        sa.Column("first", sa.String(length=20), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("failed_only", sa.Boolean(), nullable=False),
        sa.Column("reprocess", sa.Boolean(), nullable=False),
        sa.Column("uses_cache", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("cancelled_at", Instant(), nullable=True),
        sa.Column("cancelled_by", sa.String(length=200), nullable=True),
        sa.Column("cancelled_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("first IN ('oldest', 'newest')", name=op.f("ck_backfill_first_known")),
        sa.CheckConstraint(
            "((cancelled_at IS NOT NULL) AND (cancelled_by IS NOT NULL AND cancelled_reason IS NOT NULL)) OR (NOT (cancelled_at IS NOT NULL) AND NOT (cancelled_by IS NOT NULL AND cancelled_reason IS NOT NULL))",
            name=op.f("ck_backfill_cancel_is_explained"),
        ),
        sa.CheckConstraint("interval_start < interval_end", name=op.f("ck_backfill_range_not_empty")),
        sa.CheckConstraint("max_parallel >= 1", name=op.f("ck_backfill_goes_on")),
        sa.ForeignKeyConstraint(["plan_digest"], ["plan.digest"], name=op.f("fk_backfill_plan_digest_plan")),
        sa.PrimaryKeyConstraint("backfill_id", name=op.f("pk_backfill")),
    )
    op.create_index("ix_backfill_created_at", "backfill", ["created_at", "backfill_id"])
    op.create_table(
        "schedule",
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("rule_digest", sa.String(length=64), nullable=False),
        sa.Column("next_tick_at", Instant(), nullable=True),
        sa.Column("next_due_at", Instant(), nullable=True),
        sa.Column("paused_at", Instant(), nullable=True),
        sa.Column("paused_by", sa.String(length=200), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("resumed_at", Instant(), nullable=True),
        sa.Column("resumed_by", sa.String(length=200), nullable=True),
        sa.Column("resumed_reason", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((next_tick_at IS NULL) AND (next_due_at IS NULL)) OR (NOT (next_tick_at IS NULL) AND NOT (next_due_at IS NULL))",
            name=op.f("ck_schedule_tick_has_its_time"),
        ),
        sa.CheckConstraint(
            "((paused_at IS NOT NULL) AND (paused_by IS NOT NULL AND paused_reason IS NOT NULL)) OR (NOT (paused_at IS NOT NULL) AND NOT (paused_by IS NOT NULL AND paused_reason IS NOT NULL))",
            name=op.f("ck_schedule_pause_is_explained"),
        ),
        sa.CheckConstraint("paused_at IS NULL OR next_due_at IS NULL", name=op.f("ck_schedule_paused_has_no_tick")),
        sa.CheckConstraint("removed_at IS NULL OR next_due_at IS NULL", name=op.f("ck_schedule_removed_has_no_tick")),
        sa.ForeignKeyConstraint(["plan_digest"], ["plan.digest"], name=op.f("fk_schedule_plan_digest_plan")),
        sa.PrimaryKeyConstraint("pipeline", name=op.f("pk_schedule")),
    )
    _create_index("ix_schedule_due", "schedule", ["next_due_at", "pipeline"], "next_due_at IS NOT NULL")
    op.create_table(
        "backfill_interval",
        sa.Column("backfill_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("interval_start", Instant(), nullable=False),
        sa.Column("interval_end", Instant(), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.CheckConstraint(
            "action IN ('run', 'rerun', 'keep', 'join')", name=op.f("ck_backfill_interval_action_known")
        ),
        sa.ForeignKeyConstraint(
            ["backfill_id"], ["backfill.backfill_id"], name=op.f("fk_backfill_interval_backfill_id_backfill")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_backfill_interval_run_id_run")),
        sa.PrimaryKeyConstraint("backfill_id", "position", name=op.f("pk_backfill_interval")),
        sa.UniqueConstraint(
            "backfill_id", "interval_start", name=op.f("uq_backfill_interval_backfill_id_interval_start")
        ),
    )
    op.create_table(
        "schedule_tick",
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("tick_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("fate", sa.String(length=20), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=True),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("ticks", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "((run_id IS NULL) AND (fate = 'missed')) OR (NOT (run_id IS NULL) AND NOT (fate = 'missed'))",
            name=op.f("ck_schedule_tick_missed_has_no_run"),
        ),
        sa.CheckConstraint(
            "((until IS NOT NULL) AND (fate = 'missed')) OR (NOT (until IS NOT NULL) AND NOT (fate = 'missed'))",
            name=op.f("ck_schedule_tick_missed_is_a_stretch"),
        ),
        sa.CheckConstraint("fate IN ('run', 'joined', 'missed')", name=op.f("ck_schedule_tick_fate_known")),
        sa.CheckConstraint(
            "ticks IS NULL OR fate = 'missed' AND ticks >= 1", name=op.f("ck_schedule_tick_missed_is_counted")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_schedule_tick_run_id_run")),
        sa.PrimaryKeyConstraint("pipeline", "tick_at", name=op.f("pk_schedule_tick")),
    )
    _create_index("ix_schedule_tick_caught_up", "schedule_tick", ["decided_at"], "late AND fate = 'run'")
    op.create_table(
        "trigger_state",
        sa.Column("trigger_id", sa.String(length=300), nullable=False),
        sa.Column("pipeline", sa.String(length=200), nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("definition", Document, nullable=False),
        sa.Column("next_look_at", Instant(), nullable=True),
        sa.Column("news_since", Instant(), nullable=True),
        sa.Column("fires_at", Instant(), nullable=True),
        sa.Column("fired_at", Instant(), nullable=True),
        sa.Column("fired_run_id", sa.String(length=40), nullable=True),
        sa.Column("firings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "((fired_at IS NULL) AND (fired_run_id IS NULL)) OR (NOT (fired_at IS NULL) AND NOT (fired_run_id IS NULL))",
            name=op.f("ck_trigger_state_firing_made_a_run"),
        ),
        sa.CheckConstraint(
            "removed_at IS NULL OR next_look_at IS NULL", name=op.f("ck_trigger_state_removed_is_not_looked_at")
        ),
        sa.ForeignKeyConstraint(["fired_run_id"], ["run.run_id"], name=op.f("fk_trigger_state_fired_run_id_run")),
        sa.ForeignKeyConstraint(["plan_digest"], ["plan.digest"], name=op.f("fk_trigger_state_plan_digest_plan")),
        sa.PrimaryKeyConstraint("trigger_id", name=op.f("pk_trigger_state")),
    )
    _create_index("ix_trigger_state_look", "trigger_state", ["next_look_at"], "next_look_at IS NOT NULL")
    op.create_table(
        "trigger_source",
        sa.Column("trigger_id", sa.String(length=300), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("described", sa.Text(), nullable=False),
        sa.Column("seen", Document, nullable=True),
        sa.Column("used", Document, nullable=True),
        sa.Column("changed_at", Instant(), nullable=True),
        sa.Column("looked_at", Instant(), nullable=True),
        sa.Column("result", sa.String(length=20), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_look_at", Instant(), nullable=False),
        sa.CheckConstraint("result IN ('news', 'nothing', 'unknown')", name=op.f("ck_trigger_source_result_known")),
        sa.CheckConstraint(
            "((result IS NULL) AND (looked_at IS NULL)) OR (NOT (result IS NULL) AND NOT (looked_at IS NULL))",
            name=op.f("ck_trigger_source_a_look_has_a_result"),
        ),
        sa.ForeignKeyConstraint(
            ["trigger_id"], ["trigger_state.trigger_id"], name=op.f("fk_trigger_source_trigger_id_trigger_state")
        ),
        sa.PrimaryKeyConstraint("trigger_id", "position", name=op.f("pk_trigger_source")),
    )
    _create_index(
        "ix_event_told",
        "event",
        ["event_id"],
        "kind IN ('run.succeeded', 'run.failed', 'run.deadline_passed', 'run.cancelled', 'step.held')",
    )
    op.add_column("run", sa.Column("cause", sa.Text(), nullable=True))
    op.execute(
        "ALTER TABLE run ADD COLUMN backfill_id VARCHAR(40) "
        "CONSTRAINT fk_run_backfill_id_backfill REFERENCES backfill (backfill_id)"
    )
    _create_index("ix_run_backfill_id", "run", ["backfill_id"], "backfill_id IS NOT NULL")


def _create_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
