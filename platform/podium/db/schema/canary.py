"""Canaries, and every look at their evidence."""

import sqlalchemy as sa

from podium.db.schema.columns import Document, Instant, exactly_when, is_in, metadata, one_of

CANARY_STATES = (
    "pending", "shadowing", "ramping", "promoted", "rolled_back", "inconclusive", "aborted", "invalid",
)  # fmt: skip
CANARY_ENDED = ("promoted", "rolled_back", "inconclusive", "aborted", "invalid")
LOOK_VERDICTS = ("continue", "promote", "roll_back", "inconclusive", "invalid")

canary = sa.Table(
    "canary",
    metadata,
    sa.Column("canary_id", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("challenger_version", sa.String(40), nullable=False),
    sa.Column("champion_version", sa.String(40), nullable=False),
    sa.Column("traffic", sa.String(20), nullable=False),
    sa.Column("traffic_digest", sa.String(64)),  # of the rows that are replayed
    sa.Column("plan", Document, nullable=False),
    sa.Column("plan_digest", sa.String(64), nullable=False),
    sa.Column("seed", sa.String(64), nullable=False),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("baseline_error_rate", sa.Float, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("counts", Document, nullable=False),
    sa.Column("reasons", Document, nullable=False),
    sa.Column("promotion_id", sa.String(40)),
    sa.Column("run_id", sa.String(40), nullable=False),
    sa.Column("step_key", sa.String(300), nullable=False, unique=True),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("paused_at", Instant),
    sa.Column("ended_at", Instant),
    one_of("state", CANARY_STATES),
    one_of("traffic", ("replay", "live")),
    exactly_when("ended_at IS NOT NULL", is_in("state", CANARY_ENDED), "ended_when_final"),
    exactly_when("traffic_digest IS NOT NULL", "traffic = 'replay'", "replay_names_its_rows"),
    sa.CheckConstraint("state <> 'promoted' OR promotion_id IS NOT NULL", name="promoted_names_its_promotion"),
    sa.CheckConstraint("position >= 0 AND position <= horizon", name="position_within_the_horizon"),
    sa.Index(
        "uq_canary_open",
        "model",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    sa.Index("ix_canary_run_id", "run_id"),
    sa.Index("ix_canary_model", "model", "opened_at"),
)

# One row per look, so that each decision replays from what it was made on.
canary_look = sa.Table(
    "canary_look",
    metadata,
    sa.Column("canary_id", sa.String(40), sa.ForeignKey("canary.canary_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("counts", Document, nullable=False),
    sa.Column("evidence", Document, nullable=False),
    sa.Column("verdict", sa.String(20), nullable=False),
    one_of("verdict", LOOK_VERDICTS),
)
