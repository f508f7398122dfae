"""Alarms, and decisions on retraining and rollback."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from core.tables import Moment

revision = "0002"
down_revision = "0001"


def _text(name: str, length: int | None, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length) if length else sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _id(table: str) -> tuple[sa.Column[Any], sa.PrimaryKeyConstraint]:
    column: sa.Column[Any] = sa.Column("id", sa.Integer(), autoincrement=True, nullable=False)
    return column, sa.PrimaryKeyConstraint("id", name=f"pk_{table}")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "alarms",
        *_id("alarms"),
        _text("model", 64),
        _text("kind", 16),
        _text("subject", 200),
        _text("words", None),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        _json("facts"),
        _moment("opened_at"),
        _moment("updated_at"),
        _moment("cleared_at", nullable=True),
        _text("cleared_why", None, nullable=True),
        _moment("created_at"),
        _moment("acknowledged_at", nullable=True),
        _text("acknowledged_by", 80, nullable=True),
    )
    open_alone = sa.text("cleared_at IS NULL")
    op.create_index(
        "uq_alarms_open",
        "alarms",
        ["model", "kind", "subject"],
        unique=True,
        sqlite_where=open_alone,
        postgresql_where=open_alone,
    )
    op.create_table(
        "decisions",
        *_id("decisions"),
        _text("model", 64),
        _text("action", 16),
        _moment("at"),
        _text("champion", 20, nullable=True),
        sa.Column("act", sa.Boolean(), nullable=False),
        _json("triggers"),
        _json("reasons"),
        _json("facts"),
        _text("outcome", 16),
        _text("version", 20, nullable=True),
        _text("job", 80, nullable=True),
        _moment("created_at"),
        _moment("ended_at", nullable=True),
    )
    op.create_index("uq_decisions_action", "decisions", ["model", "action", "at"], unique=True)


def downgrade() -> None:
    """Remove them, with all that is in them."""
    for name in ("decisions", "alarms"):
        op.drop_table(name)
