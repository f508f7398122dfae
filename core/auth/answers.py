"""What the routes of accounts answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.auth.documents import Role
from core.auth.documents import Scope as KeyScope
from core.service.answers import Told


class Session(Told):
    """A session has begun, or goes on."""

    token: str = Field(description="To be sent as Authorization: Bearer.")
    expires_at: datetime
    user: str
    role: Role
    must_change: bool = Field(description="Whether the token is good for a change of the password alone.")

    example: ClassVar[dict[str, Any]] = {
        "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
        "expires_at": "2026-01-01T01:00:00Z",
        "user": "ada",
        "role": "user",
        "must_change": False,
    }


class SessionEnded(Told):
    """The session is over."""

    ended: bool

    example: ClassVar[dict[str, Any]] = {"ended": True}


class Caller(Told):
    """Who asks."""

    name: str
    kind: Literal["key", "session"]
    scopes: list[str] = Field(description="predict, read, data, train, admin, or self.")

    example: ClassVar[dict[str, Any]] = {"name": "ada", "kind": "session", "scopes": ["predict", "read", "self"]}


class LinkAsked(Told):
    """A link is mailed, if there is somebody to mail it to."""

    asked: bool

    example: ClassVar[dict[str, Any]] = {"asked": True}


class PasswordChosen(Told):
    """The new password is good from now on."""

    name: str
    reset: bool

    example: ClassVar[dict[str, Any]] = {"name": "ada", "reset": True}


class ResetLink(Told):
    """A link for a new password, which nobody can show again."""

    name: str
    link: str
    expires_at: datetime

    example: ClassVar[dict[str, Any]] = {
        "name": "bo",
        "link": "http://127.0.0.1:8501/reset#pr_0123456789ab_…",
        "expires_at": "2026-01-01T01:00:00Z",
    }


class User(Told):
    """A person who may log in."""

    name: str
    role: Role
    email: str | None
    must_change: bool = Field(description="Whether the password must be changed at the next log-in.")
    created_at: datetime
    disabled: bool

    example: ClassVar[dict[str, Any]] = {
        "name": "bo",
        "role": "user",
        "email": "bo@example.org",
        "must_change": True,
        "created_at": "2026-01-01T00:00:00Z",
        "disabled": False,
    }


class Users(Told):
    """Every user, by name."""

    users: list[User]

    example: ClassVar[dict[str, Any]] = {"users": [User.example]}


class PasswordGiven(Told):
    """A password that was made up, which nobody can show again."""

    name: str
    password: str
    must_change: bool

    example: ClassVar[dict[str, Any]] = {"name": "bo", "password": "correct-horse-battery-staple", "must_change": True}


class UserAdded(PasswordGiven):
    """The user, with a password that nobody can show again."""

    role: Role

    example: ClassVar[dict[str, Any]] = {**PasswordGiven.example, "role": "user"}


class UserChanged(Told):
    """The user, and what was changed."""

    name: str
    role: Role = Field("user", description="There if it was changed, as the others.")
    disabled: bool = False
    email: str | None = None

    example: ClassVar[dict[str, Any]] = {"name": "bo", "role": "admin"}


class UserRemoved(Told):
    """The user is gone."""

    name: str
    removed: bool

    example: ClassVar[dict[str, Any]] = {"name": "bo", "removed": True}


class AuditRecord(Told):
    """Who did what to what, and what came of it."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    outcome: str
    detail: dict[str, Any]
    correlation_id: str
    address: str


class AuditRecords(Told):
    """Records, the newest first."""

    records: list[AuditRecord]

    example: ClassVar[dict[str, Any]] = {
        "records": [
            {
                "id": 7,
                "at": "2026-01-01T00:00:00Z",
                "actor": "ada",
                "action": "user added",
                "target": "bo",
                "outcome": "done",
                "detail": {"role": "user"},
                "correlation_id": "0123456789abcdef",
                "address": "",
            }
        ]
    }


class Key(Told):
    """What is known of a key."""

    id: str
    name: str
    owner: str
    scopes: list[KeyScope]
    rate_limit: str | None = Field(description="Its own; null where the one of the settings counts.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    example: ClassVar[dict[str, Any]] = {
        "id": "0123456789ab",
        "name": "the app",
        "owner": "ada",
        "scopes": ["predict", "read"],
        "rate_limit": "100/minute",
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-04-01T00:00:00Z",
        "revoked_at": None,
        "last_used_at": None,
    }


class Keys(Told):
    """Every key, the newest first."""

    keys: list[Key]

    example: ClassVar[dict[str, Any]] = {"keys": [Key.example]}


class KeyMade(Key):
    """The key, which nobody can show again, and what is known of it."""

    key: str

    example: ClassVar[dict[str, Any]] = {**Key.example, "key": "pk_0123456789ab_…"}


class KeyRotated(Told):
    """The key with its new secret, which nobody can show again."""

    id: str
    key: str

    example: ClassVar[dict[str, Any]] = {"id": "0123456789ab", "key": "pk_0123456789ab_…"}


class KeyRevoked(Told):
    """The key is no good any more."""

    id: str
    revoked: bool

    example: ClassVar[dict[str, Any]] = {"id": "0123456789ab", "revoked": True}
