"""Plans, runs, step runs, attempts, their outputs and events, and the workers that made them."""

import sqlalchemy as sa

from podium.db.schema.columns import Document, Instant, Sequence, exactly_when, is_in, metadata, one_of

RUN_STATES = ("queued", "running", "succeeded", "failed", "cancelled", "refused")
RUN_ENDED = ("succeeded", "failed", "cancelled", "refused")
OUTCOMES = ("promoted", "rejected", "rolled_back", "inconclusive", "none")
STEP_STATES = ("waiting", "ready", "running", "held", "succeeded", "failed", "skipped", "cancelled")
STEP_ENDED = ("succeeded", "failed", "skipped", "cancelled")
ATTEMPT_STATES = ("running", "succeeded", "failed", "timed_out", "cancelled", "lost", "snoozed")
ATTEMPT_ENDED = ATTEMPT_STATES[1:]
RUN_TAKEN_UP = ("run.resumed", "run.retried")
"""The events by which a run that had ended goes on."""
TOLD = ("run.succeeded", "run.failed", "run.deadline_passed", "run.cancelled", "step.held")
"""The events that others wait for: triggers and alerts."""
TRIGGERS = ("person", "schedule", "data", "drift", "backfill", "api")

plan = sa.Table(
    "plan",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("file", sa.String(1000), nullable=False),
    sa.Column("code_digest", sa.String(64), nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Column("stored_at", Instant, nullable=False),
    sa.Index("ix_plan_pipeline_stored_at", "pipeline", "stored_at"),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("run_id", sa.String(40), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("plan_digest", sa.String(64), sa.ForeignKey("plan.digest"), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("team", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(200), nullable=False),
    sa.Column("interval_start", Instant, nullable=False),
    sa.Column("interval_end", Instant, nullable=False),
    sa.Column("parameters", Document, nullable=False),
    sa.Column("trigger", sa.String(20), nullable=False),
    sa.Column("idempotency_key", sa.String(300), nullable=False, unique=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("outcome", sa.String(20)),
    sa.Column("reason", sa.Text),
    sa.Column("open_steps", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("started_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("cancel_requested_at", Instant),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("rank_at", Instant),  # who is asked first: created_at, a point of priority counting as ten minutes
    sa.Column("deadline_at", Instant),
    sa.Column("rerun_of", sa.String(40), sa.ForeignKey("run.run_id")),
    sa.Column("uses_cache", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("cause", sa.Text),  # what the trigger saw, in words
    sa.Column("backfill_id", sa.String(40), sa.ForeignKey("backfill.backfill_id")),
    one_of("state", RUN_STATES),
    one_of("trigger", TRIGGERS),
    one_of("outcome", OUTCOMES),
    exactly_when("outcome IS NOT NULL", "state = 'succeeded'", "outcome_of_success"),
    exactly_when("ended_at IS NOT NULL", is_in("state", RUN_ENDED), "ended_when_final"),
    sa.CheckConstraint("interval_start < interval_end", name="interval_not_empty"),
    sa.CheckConstraint("open_steps >= 0", name="open_steps_counted"),
    sa.CheckConstraint("state <> 'succeeded' OR open_steps = 0", name="success_is_complete"),
    sa.Index(
        "uq_run_open_interval",
        "pipeline",
        "interval_start",
        "interval_end",
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    ),
    sa.Index("ix_run_pipeline_interval", "pipeline", "interval_start", "interval_end", "created_at"),
    sa.Index("ix_run_created_at", "created_at", "run_id"),
    sa.Index(
        "ix_run_backfill_id",
        "backfill_id",
        sqlite_where=sa.text("backfill_id IS NOT NULL"),
        postgresql_where=sa.text("backfill_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_run_open_rank",
        "rank_at",
        "run_id",
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    ),
    sa.Index(
        "ix_run_open_model",
        "model",
        "state",
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    ),
)

step_run = sa.Table(
    "step_run",
    metadata,
    sa.Column("step_run_id", sa.String(40), primary_key=True),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("run.run_id"), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("cached", sa.Boolean, nullable=False),
    sa.Column("cache_key", sa.String(64)),
    sa.Column("waiting_on", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("not_before", Instant),
    sa.Column("ready_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("decide_by", Instant),
    sa.Column("decided_by", sa.String(200)),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("run_id", "name", "map_index"),
    one_of("state", STEP_STATES),
    exactly_when("ended_at IS NOT NULL", is_in("state", STEP_ENDED), "ended_when_final"),
    sa.CheckConstraint("not_before IS NULL OR state = 'waiting'", name="back_off_is_waiting"),
    sa.CheckConstraint("waiting_on >= 0 AND failures >= 0", name="counted"),
    sa.CheckConstraint("NOT cached OR state = 'succeeded'", name="cached_is_success"),
    sa.CheckConstraint("decide_by IS NULL OR state = 'held'", name="held_until_decided"),
    sa.Index(
        "ix_step_run_cache_key",
        "cache_key",
        sqlite_where=sa.text("state = 'succeeded' AND cache_key IS NOT NULL"),
        postgresql_where=sa.text("state = 'succeeded' AND cache_key IS NOT NULL"),
    ),
    sa.Index(
        "ix_step_run_claimable",
        "state",
        "run_id",
        sqlite_where=sa.text("state IN ('ready', 'waiting')"),
        postgresql_where=sa.text("state IN ('ready', 'waiting')"),
    ),
    sa.Index(
        "uq_step_run_running_cache_key",
        "cache_key",
        unique=True,
        sqlite_where=sa.text("state = 'running' AND cache_key IS NOT NULL"),
        postgresql_where=sa.text("state = 'running' AND cache_key IS NOT NULL"),
    ),
    sa.Index(
        "ix_step_run_held",
        "decide_by",
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    ),
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("worker_id", sa.String(40), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("lock_path", sa.String(1000), nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("backend", sa.String(20), nullable=False, server_default="local"),
    sa.Column("labels", Document),
    sa.Column("slots", sa.Integer),
    sa.Column("cpu", sa.Float),
    sa.Column("memory_bytes", sa.BigInteger),
    sa.Column("gpu", sa.Integer),
    sa.Column("heartbeat_at", Instant),
    sa.Column("draining_at", Instant),
    sa.Column("for_any_run", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Index(
        "ix_worker_open",
        "worker_id",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("attempt_id", sa.String(40), primary_key=True),
    sa.Column("step_run_id", sa.String(40), sa.ForeignKey("step_run.step_run_id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("worker_id", sa.String(40), sa.ForeignKey("worker.worker_id"), nullable=False),
    sa.Column("code_digest", sa.String(64), nullable=False),
    sa.Column("lease_expires_at", Instant, nullable=False),
    sa.Column("heartbeat_at", Instant, nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("reserved_cpu", sa.Float, nullable=False),
    sa.Column("reserved_memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("reserved_gpu", sa.Integer, nullable=False),
    sa.Column("waited_seconds", sa.Float),
    sa.Column("wall_seconds", sa.Float),
    sa.Column("cpu_seconds", sa.Float),
    sa.Column("peak_memory_bytes", sa.BigInteger),
    sa.Column("meter_source", sa.String(40)),
    sa.Column("meter_quality", sa.String(20)),
    sa.Column("error_type", sa.String(200)),
    sa.Column("error", sa.Text),
    sa.Column("log", sa.String(1000), nullable=False),
    sa.Column("pool", sa.String(64)),
    sa.Column("reads", Document),
    sa.Column("made", Document),
    sa.UniqueConstraint("step_run_id", "number"),
    one_of("state", ATTEMPT_STATES),
    one_of("meter_quality", ("measured", "estimated", "missing")),
    exactly_when("ended_at IS NULL", "state = 'running'", "ended_when_final"),
    sa.CheckConstraint("number >= 1", name="numbered_from_one"),
    sa.CheckConstraint("state = 'running' OR wall_seconds IS NOT NULL", name="ended_is_metered"),
    sa.Index(
        "uq_attempt_running",
        "step_run_id",
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    ),
    sa.Index(
        "ix_attempt_running_worker",
        "worker_id",
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    ),
)

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("codec", sa.String(40), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("inline", sa.LargeBinary),
    sa.Column("stored_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
)

output = sa.Table(
    "output",
    metadata,
    sa.Column("step_run_id", sa.String(40), sa.ForeignKey("step_run.step_run_id"), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("digest", sa.String(64), sa.ForeignKey("artifact.digest"), nullable=False),
    sa.Column("attempt_id", sa.String(40), sa.ForeignKey("attempt.attempt_id")),
    sa.Index("ix_output_digest", "digest"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("event_id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(40), sa.ForeignKey("run.run_id"), nullable=False),
    sa.Column("step", sa.String(200)),
    sa.Column("attempt", sa.Integer),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ix_event_run_id", "run_id", "event_id"),
    sa.Index(
        "ix_event_told",
        "event_id",
        sqlite_where=sa.text(f"kind IN ({', '.join(map(repr, TOLD))})"),
        postgresql_where=sa.text(f"kind IN ({', '.join(map(repr, TOLD))})"),
    ),
)

# How the attempts of ended runs ended and how long each had waited for a worker, added up in the transaction that ends
# a run: a scrape reads a row per labels and bucket, and counts those of open runs itself.
attempt_rollup = sa.Table(
    "attempt_rollup",
    metadata,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("state", sa.String(20), primary_key=True),
    sa.Column("waited", sa.String(20), primary_key=True),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("waited_seconds", sa.Float, nullable=False),
    one_of("state", ATTEMPT_ENDED),
)
