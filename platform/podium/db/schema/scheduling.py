"""Schedules and their ticks, triggers and what they look at, backfills and their intervals."""

import sqlalchemy as sa

from podium.db.schema.columns import Document, Instant, exactly_when, metadata, one_of

TICK_FATES = ("run", "joined", "missed")
LOOK_RESULTS = ("news", "nothing", "unknown")
BACKFILL_ORDERS = ("oldest", "newest")
BACKFILL_ACTIONS = ("run", "rerun", "keep", "join")

# A row per pipeline with a schedule, also one that has none any more. `next_tick_at` is the next moment of its rule,
# `next_due_at` when that is acted on, with delay and jitter; both are empty while it is paused or has no tick to come.
schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("plan_digest", sa.String(64), sa.ForeignKey("plan.digest"), nullable=False),
    sa.Column("rule_digest", sa.String(64), nullable=False),
    sa.Column("next_tick_at", Instant),
    sa.Column("next_due_at", Instant),
    sa.Column("paused_at", Instant),
    sa.Column("paused_by", sa.String(200)),
    sa.Column("paused_reason", sa.Text),
    sa.Column("resumed_at", Instant),
    sa.Column("resumed_by", sa.String(200)),
    sa.Column("resumed_reason", sa.Text),
    sa.Column("problem", sa.Text),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
    exactly_when("next_tick_at IS NULL", "next_due_at IS NULL", "tick_has_its_time"),
    exactly_when("paused_at IS NOT NULL", "paused_by IS NOT NULL AND paused_reason IS NOT NULL", "pause_is_explained"),
    sa.CheckConstraint("paused_at IS NULL OR next_due_at IS NULL", name="paused_has_no_tick"),
    sa.CheckConstraint("removed_at IS NULL OR next_due_at IS NULL", name="removed_has_no_tick"),
    sa.Index(
        "ix_schedule_due",
        "next_due_at",
        "pipeline",
        sqlite_where=sa.text("next_due_at IS NOT NULL"),
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    ),
)

# What became of a tick: a run of its own, an open run of the same interval that stands for it, or nothing. Missed ticks
# are one row for as many as were missed in a stretch, up to `until`.
schedule_tick = sa.Table(
    "schedule_tick",
    metadata,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("tick_at", Instant, primary_key=True),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("decided_at", Instant, nullable=False),
    sa.Column("fate", sa.String(20), nullable=False),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("run.run_id")),
    sa.Column("until", Instant),
    sa.Column("ticks", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("late", sa.Boolean, nullable=False),
    one_of("fate", TICK_FATES),
    exactly_when("run_id IS NULL", "fate = 'missed'", "missed_has_no_run"),
    exactly_when("until IS NOT NULL", "fate = 'missed'", "missed_is_a_stretch"),
    sa.CheckConstraint("ticks IS NULL OR fate = 'missed' AND ticks >= 1", name="missed_is_counted"),
    sa.Index(
        "ix_schedule_tick_caught_up",
        "decided_at",
        sqlite_where=sa.text("late AND fate = 'run'"),
        postgresql_where=sa.text("late AND fate = 'run'"),
    ),
)

trigger_state = sa.Table(
    "trigger_state",
    metadata,
    sa.Column("trigger_id", sa.String(300), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("plan_digest", sa.String(64), sa.ForeignKey("plan.digest"), nullable=False),
    sa.Column("definition", Document, nullable=False),
    sa.Column("next_look_at", Instant),
    sa.Column("news_since", Instant),
    sa.Column("fires_at", Instant),
    sa.Column("fired_at", Instant),
    sa.Column("fired_run_id", sa.String(40), sa.ForeignKey("run.run_id")),
    sa.Column("firings", sa.Integer, nullable=False, server_default="0"),
    sa.Column("problem", sa.Text),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
    exactly_when("fired_at IS NULL", "fired_run_id IS NULL", "firing_made_a_run"),
    sa.CheckConstraint("removed_at IS NULL OR next_look_at IS NULL", name="removed_is_not_looked_at"),
    sa.Index(
        "ix_trigger_state_look",
        "next_look_at",
        sqlite_where=sa.text("next_look_at IS NOT NULL"),
        postgresql_where=sa.text("next_look_at IS NOT NULL"),
    ),
)

# One thing that a trigger looks at. `seen` is what the last look that had an answer found, `used` what was known when
# the trigger fired last: news is what differs.
trigger_source = sa.Table(
    "trigger_source",
    metadata,
    sa.Column("trigger_id", sa.String(300), sa.ForeignKey("trigger_state.trigger_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("described", sa.Text, nullable=False),
    sa.Column("seen", Document),
    sa.Column("used", Document),
    sa.Column("changed_at", Instant),
    sa.Column("looked_at", Instant),
    sa.Column("result", sa.String(20)),
    sa.Column("detail", sa.Text),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_look_at", Instant, nullable=False),
    one_of("result", LOOK_RESULTS),
    exactly_when("result IS NULL", "looked_at IS NULL", "a_look_has_a_result"),
)

backfill = sa.Table(
    "backfill",
    metadata,
    sa.Column("backfill_id", sa.String(40), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("plan_digest", sa.String(64), sa.ForeignKey("plan.digest"), nullable=False),
    sa.Column("interval_start", Instant, nullable=False),
    sa.Column("interval_end", Instant, nullable=False),
    sa.Column("parameters", Document, nullable=False),
    sa.Column("first", sa.String(20), nullable=False),
    sa.Column("max_parallel", sa.Integer, nullable=False),
    sa.Column("failed_only", sa.Boolean, nullable=False),
    sa.Column("reprocess", sa.Boolean, nullable=False),
    sa.Column("uses_cache", sa.Boolean, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("cancelled_at", Instant),
    sa.Column("cancelled_by", sa.String(200)),
    sa.Column("cancelled_reason", sa.Text),
    one_of("first", BACKFILL_ORDERS),
    sa.CheckConstraint("interval_start < interval_end", name="range_not_empty"),
    sa.CheckConstraint("max_parallel >= 1", name="goes_on"),
    exactly_when(
        "cancelled_at IS NOT NULL", "cancelled_by IS NOT NULL AND cancelled_reason IS NOT NULL", "cancel_is_explained"
    ),
    sa.Index("ix_backfill_created_at", "created_at", "backfill_id"),
)

# What a backfill does with each of its intervals: `run_id` is the run it made (run, rerun), that it found finished
# (keep), or open (join).
backfill_interval = sa.Table(
    "backfill_interval",
    metadata,
    sa.Column("backfill_id", sa.String(40), sa.ForeignKey("backfill.backfill_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("interval_start", Instant, nullable=False),
    sa.Column("interval_end", Instant, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("run.run_id"), nullable=False),
    one_of("action", BACKFILL_ACTIONS),
    sa.UniqueConstraint("backfill_id", "interval_start"),
)

scheduler = sa.Table(
    "scheduler",
    metadata,
    sa.Column("scheduler_id", sa.String(40), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("heartbeat_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
)
