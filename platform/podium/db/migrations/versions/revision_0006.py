"""What approvals were given for, in full beside its digest."""

import sqlalchemy as sa
from alembic import op

from podium.db.schema.columns import Document

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it to promotions; of those that were asked for before, the digest alone is known."""
    op.add_column("promotion", sa.Column("binding", Document, nullable=True))
