"""Users that may be disabled for a while."""

import sqlalchemy as sa
from alembic import op

from core.tables import Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; every user that is there stays enabled."""
    op.add_column("users", sa.Column("disabled_at", Moment(), nullable=True))


def downgrade() -> None:
    """Drop the column: who was disabled is enabled again."""
    op.drop_column("users", "disabled_at")
