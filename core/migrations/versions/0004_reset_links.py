"""Mail addresses of users, and links with which a new password is set."""

import sqlalchemy as sa
from alembic import op

from core.tables import Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the table; nobody has an address yet."""
    op.add_column("users", sa.Column("email", sa.String(254), nullable=True))
    op.create_index("ix_users_email", "users", ["email"], unique=True)
    op.create_table(
        "reset_links",
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("made_by", sa.String(80), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name="fk_reset_links_user_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user", name="pk_reset_links"),
    )
    op.create_index("ix_reset_links_id", "reset_links", ["id"], unique=True)


def downgrade() -> None:
    """Remove them: links that are out are no good any more."""
    op.drop_table("reset_links")
    op.drop_index("ix_users_email", "users")
    op.drop_column("users", "email")
