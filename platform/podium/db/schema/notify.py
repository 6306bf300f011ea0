"""Alerts and their deliveries: the outbox."""

import sqlalchemy as sa

from podium.db.schema.columns import Document, Instant, exactly_when, metadata, one_of

DELIVERY_STATES = ("pending", "sent", "withheld", "given_up")

# What there is to tell, once per `key`.
alert = sa.Table(
    "alert",
    metadata,
    sa.Column("alert_id", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(300), nullable=False, unique=True),
    sa.Column("event", sa.String(40), nullable=False),
    sa.Column("pipeline", sa.String(200)),
    sa.Column("model", sa.String(200)),
    sa.Column("team", sa.String(200)),
    sa.Column("run_id", sa.String(40)),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("facts", Document, nullable=False),
    sa.Column("happened_at", Instant, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index("ix_alert_created_at", "created_at", "alert_id"),
)

# To whom it is told. `withheld` is what a rate limit kept back: it is named in the next message that is sent.
alert_delivery = sa.Table(
    "alert_delivery",
    metadata,
    sa.Column("alert_id", sa.String(40), sa.ForeignKey("alert.alert_id"), primary_key=True),
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", Instant),
    sa.Column("error", sa.Text),
    sa.Column("ended_at", Instant),
    one_of("state", DELIVERY_STATES),
    exactly_when("next_try_at IS NOT NULL", "state = 'pending'", "pending_is_tried_again"),
    exactly_when("ended_at IS NULL", "state = 'pending'", "ended_when_final"),
    sa.Index(
        "ix_alert_delivery_pending",
        "next_try_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index("ix_alert_delivery_channel_ended_at", "channel", "ended_at"),
)

# How far each source of alerts was read.
alert_cursor = sa.Table(
    "alert_cursor",
    metadata,
    sa.Column("source", sa.String(100), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("read_at", Instant, nullable=False),
)
