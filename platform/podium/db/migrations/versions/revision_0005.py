"""Approvals, versions that no run made, facts of more kinds in the history, and the newest of many versions."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from podium.db.schema.columns import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PROMOTION = {
    "awaits_what_is_bound": (
        "state != 'awaiting_approval' OR (approvals_required >= 1 AND binding_digest IS NOT NULL "
        "AND expires_at IS NOT NULL)"
    ),
}
_HISTORY = {
    "action_known": ("action IN ('promote', 'rollback', 'block', 'unblock', 'approve', 'reject', 'adopt', 'watch')"),
    "state_known": (
        "state IN ('proposed', 'approved', 'rejected', 'applied', 'refused', 'void', 'noticed', 'restored', "
        "'adopted', 'blocked', 'unblocked')"
    ),
}
_COPIED = "copied_from_model IS NOT NULL AND copied_from_version IS NOT NULL"
_VERSION = {
    "origin_known": "origin IN ('run', 'adopted', 'copied')",
    "made_by_a_run": (
        "origin = 'adopted' OR (data_digest IS NOT NULL AND code_digest IS NOT NULL AND evidence_digest IS NOT NULL "
        "AND run_id IS NOT NULL AND interval_start IS NOT NULL AND interval_end IS NOT NULL)"
    ),
    "copied_from_a_version": f"((origin = 'copied') AND ({_COPIED})) OR (NOT (origin = 'copied') AND NOT ({_COPIED}))",
}
_UNKNOWN_OF_ADOPTED: dict[str, sa.types.TypeEngine[Any]] = {
    "data_digest": sa.String(length=64),
    "code_digest": sa.String(length=64),
    "evidence_digest": sa.String(length=64),
    "run_id": sa.String(length=40),
    "interval_start": Instant(),
    "interval_end": Instant(),
}


def upgrade() -> None:
    """Add the table of approvals, and to promotions, versions and history what they did not know."""
    _change(
        "promotion",
        _PROMOTION,
        columns=(
            sa.Column("approvals_required", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("binding_digest", sa.String(length=64), nullable=True),
            sa.Column("expires_at", Instant(), nullable=True),
        ),
    )
    _change("promotion_history", _HISTORY, changed=("action_known", "state_known"))
    _change(
        "model_version",
        _VERSION,
        columns=(
            sa.Column("origin", sa.String(length=20), nullable=False, server_default="run"),
            sa.Column("copied_from_model", sa.String(length=200), nullable=True),
            sa.Column("copied_from_version", sa.String(length=40), nullable=True),
        ),
        nullable=_UNKNOWN_OF_ADOPTED,
    )
    op.create_index("ix_model_version_newest", "model_version", ["model", "registered_at"])
    op.create_index("ix_promotion_history_version", "promotion_history", ["model", "to_version"])
    op.create_table(
        "approval",
        sa.Column("promotion_id", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("actor_verified", sa.Boolean(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("binding_digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("decision IN ('approve', 'reject')", name=op.f("ck_approval_decision_known")),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["promotion.promotion_id"], name=op.f("fk_approval_promotion_id_promotion")
        ),
        sa.PrimaryKeyConstraint("promotion_id", "actor", name=op.f("pk_approval")),
    )


def _change(
    table: str,
    checks: dict[str, str],
    *,
    changed: Sequence[str] = (),
    columns: Sequence[sa.Column[Any]] = (),
    nullable: dict[str, sa.types.TypeEngine[Any]] | None = None,
) -> None:
    """Change a table in place; on SQLite, which cannot, by a copy."""
    with op.batch_alter_table(table) as batch:
        for column in columns:
            batch.add_column(column)
        for name, kind in (nullable or {}).items():
            batch.alter_column(name, existing_type=kind, nullable=True)
        for name in changed:
            batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
        for name, text in checks.items():
            batch.create_check_constraint(op.f(f"ck_{table}_{name}"), sa.text(text))
