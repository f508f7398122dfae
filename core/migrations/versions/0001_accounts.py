"""Accounts, audit log, promotion ledger and flow runs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from core.tables import Moment

revision = "0001"
down_revision = None

_GUARDS = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
    ],
}


def _table(
    name: str, *columns: sa.Column[Any], indexes: tuple[tuple[str, ...], ...] = (), keys: tuple[Any, ...] = ()
) -> None:
    primary = [c.name for c in columns if c.primary_key]
    op.create_table(name, *columns, *keys, sa.PrimaryKeyConstraint(*primary, name=f"pk_{name}"))
    for names in indexes:
        op.create_index(f"ix_{name}_{'_'.join(names)}", name, list(names))


def _text(name: str, length: int, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), **{"nullable": False, **options})


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def upgrade() -> None:
    """Make the tables."""
    _table(
        "users",
        _text("name", 64, primary_key=True),
        _text("role", 16),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        _moment("created_at"),
    )
    _table(
        "api_keys",
        _text("id", 12, primary_key=True),
        _text("name", 64),
        _text("owner", 80),
        _json("scopes"),
        _text("secret_hash", 64),
        _text("old_hash", 64, nullable=True),
        _moment("old_until", nullable=True),
        _text("rate_limit", 40, nullable=True),
        _moment("created_at"),
        _moment("expires_at", nullable=True),
        _moment("revoked_at", nullable=True),
        _moment("last_used_at", nullable=True),
    )
    _table(
        "sessions",
        _text("id", 32, primary_key=True),
        _text("user", 64),
        _text("token_id", 32),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("revoked_at", nullable=True),
        keys=(sa.ForeignKeyConstraint(["user"], ["users.name"], name="fk_sessions_user_users", ondelete="CASCADE"),),
        indexes=(("user",),),
    )
    _table(
        "attempts",
        _text("who", 120, primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        _moment("last_at"),
    )
    _table(
        "revision",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
    )
    _table(
        "audit",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True, nullable=False),
        _moment("at"),
        _text("actor", 80),
        _text("action", 200),
        _text("target", 400),
        _text("outcome", 80),
        _json("detail"),
        _text("correlation_id", 64),
        _text("address", 64),
        indexes=(("at",),),
    )
    _table(
        "promotions",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True, nullable=False),
        _text("model", 64),
        _text("version", 20),
        _text("previous_version", 20, nullable=True),
        _text("action", 16),
        _text("status", 16),
        _text("requested_by", 80),
        _text("approved_by", 80, nullable=True),
        _json("reasons"),
        _moment("created_at"),
        _moment("ended_at", nullable=True),
        indexes=(("model", "status"),),
    )
    _table(
        "flow_runs",
        _text("id", 80, primary_key=True),
        _text("trigger", 16),
        _text("actor", 80),
        _moment("started_at"),
        _moment("ended_at", nullable=True),
        _text("status", 16),
        _text("data_version", 64, nullable=True),
        _text("model_version", 20, nullable=True),
        _json("result"),
        indexes=(("started_at",),),
    )
    op.execute("INSERT INTO revision (id, number) VALUES (1, 0)")
    for statement in _GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Remove them, with all that is in them."""
    for name in ("flow_runs", "promotions", "audit", "revision", "attempts", "sessions", "api_keys", "users"):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only()")
