"""ID tokens that were exchanged for a session: each is good once."""

import sqlalchemy as sa
from alembic import op

from core.tables import Moment

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "used_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_used_tokens"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("used_tokens")
