"""Model versions Podium registered, the evidence on them, promotions and their history."""

import sqlalchemy as sa

from podium.db.schema.columns import Document, Instant, exactly_when, is_in, metadata, one_of

VERDICTS = ("passed", "failed", "insufficient")
ORIGINS = ("run", "adopted", "copied")
ACTIONS = ("promote", "rollback", "block", "unblock", "approve", "reject", "adopt", "watch")
PROMOTION_STATES = ("proposed", "awaiting_approval", "applying", "applied", "refused", "void")
PROMOTION_ENDED = ("applied", "refused", "void")
HISTORY_STATES = (
    "proposed",
    "approved",
    "rejected",
    "applied",
    "refused",
    "void",
    "noticed",
    "restored",
    "adopted",
    "blocked",
    "unblocked",
)

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("candidate_digest", sa.String(64), nullable=False),
    sa.Column("champion_version", sa.String(40)),
    sa.Column("holdout_digest", sa.String(64), nullable=False),
    sa.Column("verdict", sa.String(20), nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Column("run_id", sa.String(40), nullable=False),
    # Not unique: a lost attempt may have judged against a champion that moved before the next attempt.
    sa.Column("step_key", sa.String(300), nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
    one_of("verdict", VERDICTS),
    sa.Index("ix_evidence_holdout", "model", "holdout_digest"),
    sa.Index("ix_evidence_verdict", "model", "verdict"),
    sa.Index("ix_evidence_run_id", "run_id"),
)

model_version = sa.Table(
    "model_version",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("version", sa.String(40), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("source", sa.String(2000), nullable=False),
    sa.Column("data_digest", sa.String(64)),
    sa.Column("code_digest", sa.String(64)),
    sa.Column("evidence_digest", sa.String(64), sa.ForeignKey("evidence.digest")),
    sa.Column("run_id", sa.String(40)),
    sa.Column("step_key", sa.String(300), nullable=False, unique=True),
    sa.Column("interval_start", Instant),
    sa.Column("interval_end", Instant),
    sa.Column("registered_at", Instant, nullable=False),
    sa.Column("origin", sa.String(20), nullable=False, server_default="run"),
    sa.Column("copied_from_model", sa.String(200)),
    sa.Column("copied_from_version", sa.String(40)),
    one_of("origin", ORIGINS),
    # What an adopted version was made by and from, nobody knows.
    sa.CheckConstraint(
        "origin = 'adopted' OR (data_digest IS NOT NULL AND code_digest IS NOT NULL AND evidence_digest IS NOT NULL "
        "AND run_id IS NOT NULL AND interval_start IS NOT NULL AND interval_end IS NOT NULL)",
        name="made_by_a_run",
    ),
    exactly_when(
        "origin = 'copied'",
        "copied_from_model IS NOT NULL AND copied_from_version IS NOT NULL",
        "copied_from_a_version",
    ),
    sa.Index("ix_model_version_run_id", "run_id"),
    sa.Index("ix_model_version_newest", "model", "registered_at"),
)

promotion = sa.Table(
    "promotion",
    metadata,
    sa.Column("promotion_id", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("expected_version", sa.String(40)),
    sa.Column("from_version", sa.String(40)),
    sa.Column("to_version", sa.String(40), nullable=False),
    sa.Column("state", sa.String(30), nullable=False),
    sa.Column("reasons", Document, nullable=False),
    sa.Column("idempotency_key", sa.String(300), nullable=False, unique=True),
    sa.Column("evidence_digest", sa.String(64)),
    sa.Column("run_id", sa.String(40)),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("proposed_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    # What approvals are given for; unset where none is asked.
    sa.Column("approvals_required", sa.Integer, nullable=False, server_default="0"),
    sa.Column("binding_digest", sa.String(64)),
    sa.Column("expires_at", Instant),
    sa.Column("binding", Document),
    one_of("action", ("promote", "rollback")),
    one_of("state", PROMOTION_STATES),
    sa.CheckConstraint(
        "state NOT IN ('applying', 'applied') OR expected_version = from_version "
        "OR (expected_version IS NULL AND from_version IS NULL)",
        name="moves_from_the_expected",
    ),
    exactly_when("ended_at IS NOT NULL", is_in("state", PROMOTION_ENDED), "ended_when_final"),
    sa.CheckConstraint(
        "state != 'awaiting_approval' OR (approvals_required >= 1 AND binding_digest IS NOT NULL "
        "AND expires_at IS NOT NULL)",
        name="awaits_what_is_bound",
    ),
    sa.Index(
        "uq_promotion_open",
        "model",
        unique=True,
        sqlite_where=sa.text("state IN ('proposed', 'awaiting_approval', 'applying')"),
        postgresql_where=sa.text("state IN ('proposed', 'awaiting_approval', 'applying')"),
    ),
    sa.Index("ix_promotion_run_id", "run_id"),
)

approval = sa.Table(
    "approval",
    metadata,
    sa.Column("promotion_id", sa.String(40), sa.ForeignKey("promotion.promotion_id"), primary_key=True),
    sa.Column("actor", sa.String(200), primary_key=True),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("decision", sa.String(20), nullable=False),
    sa.Column("binding_digest", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    one_of("decision", ("approve", "reject")),
)

promotion_history = sa.Table(
    "promotion_history",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("from_version", sa.String(40)),
    sa.Column("to_version", sa.String(40)),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("actor_verified", sa.Boolean, nullable=False),
    sa.Column("approvers", Document, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence_digest", sa.String(64)),
    sa.Column("promotion_id", sa.String(40)),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    one_of("action", ACTIONS),
    one_of("state", HISTORY_STATES),
    sa.CheckConstraint("id >= 1", name="numbered_from_one"),
    sa.Index("ix_promotion_history_move", "model", "action", "state"),
    sa.Index("ix_promotion_history_version", "model", "to_version"),
)
