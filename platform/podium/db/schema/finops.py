"""Prices, the ledger, its rollups, and which attempts made which model version."""

import sqlalchemy as sa

from podium.db.schema.columns import Exact, Instant, exactly_when, metadata, one_of

QUANTITY_SCALE = 6
PRICE_SCALE = 12
AMOUNT_SCALE = QUANTITY_SCALE + PRICE_SCALE
NO_CURRENCY = "XXX"
"""ISO 4217's code for "no currency": the rollup of entries whose price is unknown."""

price = sa.Table(
    "price",
    metadata,
    sa.Column("price_id", sa.String(40), primary_key=True),
    sa.Column("sku", sa.String(200), nullable=False),
    sa.Column("region", sa.String(100), nullable=False),
    sa.Column("purchase_option", sa.String(100), nullable=False),
    sa.Column("unit", sa.String(60), nullable=False),
    sa.Column("unit_price", Exact(PRICE_SCALE), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("valid_from", Instant, nullable=False),
    sa.Column("valid_to", Instant),
    sa.Column("source", sa.String(500), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("imported_at", Instant, nullable=False),
    sa.CheckConstraint("valid_to IS NULL OR valid_from < valid_to", name="validity_not_empty"),
    sa.UniqueConstraint("sku", "region", "purchase_option", "valid_from"),
)

ledger_entry = sa.Table(
    "ledger_entry",
    metadata,
    sa.Column("entry_id", sa.String(40), primary_key=True),
    sa.Column("idempotency_key", sa.String(300), nullable=False, unique=True),
    sa.Column("posted_at", Instant, nullable=False),
    sa.Column("charge_start", Instant, nullable=False),
    sa.Column("charge_end", Instant, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("reverses_entry_id", sa.String(40), sa.ForeignKey("ledger_entry.entry_id"), unique=True),
    sa.Column("team", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(200), nullable=False),
    sa.Column("subject_type", sa.String(40), nullable=False),
    sa.Column("subject_id", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(40)),
    sa.Column("step", sa.String(200)),
    sa.Column("attempt_id", sa.String(40)),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("resource", sa.String(40), nullable=False),
    sa.Column("sku", sa.String(200), nullable=False),
    sa.Column("price_id", sa.String(40), sa.ForeignKey("price.price_id")),
    sa.Column("quantity", Exact(QUANTITY_SCALE), nullable=False),
    sa.Column("unit", sa.String(60), nullable=False),
    sa.Column("unit_price", Exact(PRICE_SCALE)),
    sa.Column("amount", Exact(AMOUNT_SCALE)),
    sa.Column("currency", sa.String(3)),
    sa.Column("meter_source", sa.String(40), nullable=False),
    sa.Column("meter_quality", sa.String(20), nullable=False),
    sa.Column("allocation_rule", sa.String(100)),
    sa.Column("allocation_source", sa.String(200)),
    sa.Column("reason", sa.Text),
    one_of("kind", ("direct", "serving", "idle", "shared", "reversal")),
    one_of("meter_quality", ("measured", "reserved", "estimated", "missing")),
    exactly_when("reverses_entry_id IS NOT NULL", "kind = 'reversal'", "reversal_names_its_entry"),
    exactly_when("reason IS NOT NULL", "kind = 'reversal'", "reversal_gives_its_reason"),
    # A usage whose price is unknown is posted without an amount, and seen; never as zero.
    sa.CheckConstraint(
        "(price_id IS NULL AND unit_price IS NULL AND amount IS NULL AND currency IS NULL) OR "
        "(price_id IS NOT NULL AND unit_price IS NOT NULL AND amount IS NOT NULL AND currency IS NOT NULL)",
        name="priced_or_not",
    ),
    sa.CheckConstraint("charge_start <= charge_end", name="period_ordered"),
    sa.Index("ix_ledger_entry_run_id", "run_id"),
    sa.Index("ix_ledger_entry_attempt_id", "attempt_id"),
    sa.Index("ix_ledger_entry_charge_start", "charge_start"),
)

# Kept in the posting transaction, so that reports and scrapes never sum the ledger: one row per UTC day and labels.
cost_rollup = sa.Table(
    "cost_rollup",
    metadata,
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("team", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("environment", sa.String(200), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("resource", sa.String(40), primary_key=True),
    sa.Column("sku", sa.String(200), primary_key=True),
    sa.Column("outcome", sa.String(20), primary_key=True),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("amount", Exact(AMOUNT_SCALE)),
    sa.Column("quantity", Exact(QUANTITY_SCALE), nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    exactly_when("amount IS NULL", f"currency = '{NO_CURRENCY}'", "unpriced_has_no_currency"),
)

version_lineage = sa.Table(
    "version_lineage",
    metadata,
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("version", sa.String(40), primary_key=True),
    sa.Column("attempt_id", sa.String(40), primary_key=True),
)

# How runs ended and what they cost, kept in the transaction that ends each: a scrape reads a row per labels and
# bucket however many runs there are. A run that is resumed ends again and then counts what it cost since.
run_rollup = sa.Table(
    "run_rollup",
    metadata,
    sa.Column("pipeline", sa.String(200), primary_key=True),
    sa.Column("team", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("environment", sa.String(200), primary_key=True),
    sa.Column("outcome", sa.String(20), primary_key=True),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("cost_bucket", sa.String(20), primary_key=True),
    sa.Column("ends", sa.BigInteger, nullable=False),
    sa.Column("amount", Exact(AMOUNT_SCALE)),
    sa.Column("wall_seconds", sa.Float, nullable=False),
    sa.Column("last_ended_at", Instant, nullable=False),
    exactly_when("amount IS NULL", f"currency = '{NO_CURRENCY}'", "unpriced_has_no_currency"),
)

# What of a run is in its rollup already, and until when.
run_cost = sa.Table(
    "run_cost",
    metadata,
    sa.Column("run_id", sa.String(40), sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("amount", Exact(AMOUNT_SCALE), nullable=False),
    sa.Column("ended_at", Instant, nullable=False),
)

# What equal work that was not done again would have cost: what it cost when it was done.
saving = sa.Table(
    "saving",
    metadata,
    sa.Column("step_run_id", sa.String(40), sa.ForeignKey("step_run.step_run_id"), primary_key=True),
    sa.Column("source_attempt_id", sa.String(40), primary_key=True),
    sa.Column("reason", sa.String(20), nullable=False),
    sa.Column("run_id", sa.String(40), nullable=False),
    sa.Column("step", sa.String(200), nullable=False),
    sa.Column("team", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(200), nullable=False),
    sa.Column("wall_seconds", sa.Float, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount", Exact(AMOUNT_SCALE)),
    sa.Column("saved_at", Instant, nullable=False),
    one_of("reason", ("cache",)),
    exactly_when("amount IS NULL", f"currency = '{NO_CURRENCY}'", "unpriced_has_no_currency"),
    sa.Index("ix_saving_run_id", "run_id"),
)
