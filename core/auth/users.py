"""People: names, roles, and passwords hashed with Argon2."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from core.auth.principal import ROLES
from core.auth.revision import bump
from core.clock import SystemClock
from core.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from core.tables import Session as SessionRow
from core.tables import User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.database import Database

_NAME = re.compile(r"^[a-z0-9][a-z0-9._@-]{0,63}$")
_SHORTEST, _LONGEST = 12, 1024
_HASHER = PasswordHasher()
# Checked where there is no such user, so that one cannot hear the difference.
_NOBODY = _HASHER.hash(secrets.token_urlsafe(16))


class Users:
    """The users of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: str = "user", password: str | None = None) -> str:
        """Add a user.

        Returns
        -------
        str
            The password: one that was made up here must be changed at the first log-in.

        Raises
        ------
        InvalidRequest
            When name, role or password is not allowed.
        Conflict
            When the name is taken.
        """
        if not _NAME.match(name):
            raise InvalidRequest(
                f"{name[:80]!r} is no user name.", hint="Use up to 64 small letters, digits and ._@-, no sign first."
            )
        _check_role(role)
        chosen = password or secrets.token_urlsafe(15)
        check_password(name, chosen)
        row = User(
            name=name,
            role=role,
            password_hash=_HASHER.hash(chosen),
            must_change=password is None,
            created_at=SystemClock().now(),
        )
        try:
            with self._database.session() as session:
                session.add(row)
                bump(session)
        except IntegrityError as error:
            raise Conflict(f"There is a user {name!r} already.", hint="Choose another name.") from error
        return chosen

    def all(self) -> list[dict[str, Any]]:
        """Return every user, by name."""
        with self._database.session(reading=True) as session:
            return [_view(row) for row in session.scalars(select(User).order_by(User.name))]

    def count(self) -> int:
        """Return how many there are."""
        with self._database.session(reading=True) as session:
            return session.scalar(select(func.count()).select_from(User)) or 0

    def set_role(self, name: str, role: str) -> None:
        """Give a user another role; their sessions end.

        Raises
        ------
        InvalidRequest, NotFound
            When there is no such role or user.
        Conflict
            When the last administrator would go.
        """
        _check_role(role)
        with self._database.session() as session:
            row = _found(session, name)
            if role != "admin":
                _keep_an_admin(session, row)
            row.role = role
            end_sessions(session, name)

    def remove(self, name: str) -> None:
        """Remove a user; their sessions end. Keys that they made stay: revoke those that should not.

        Raises
        ------
        NotFound, Conflict
            When there is no such user, or it is the last administrator.
        """
        with self._database.session() as session:
            row = _found(session, name)
            _keep_an_admin(session, row)
            session.execute(delete(SessionRow).where(SessionRow.user == name))
            session.delete(row)
            bump(session)

    def reset(self, name: str) -> str:
        """Give a user a new password, which must be changed at the next log-in; their sessions end.

        Raises
        ------
        NotFound
            When there is no such user.
        """
        chosen = secrets.token_urlsafe(15)
        with self._database.session() as session:
            row = _found(session, name)
            row.password_hash, row.must_change = _HASHER.hash(chosen), True
            end_sessions(session, name)
        return chosen

    def change_password(self, name: str, old: str, new: str) -> None:
        """Change one's own password; all sessions end.

        Raises
        ------
        Unauthenticated
            When the old one is wrong.
        InvalidRequest
            When the new one is not allowed.
        """
        check_password(name, new)
        if old == new:
            raise InvalidRequest("The new password is the old one.", hint="Choose another.")
        if self.verify(name, old) is None:
            raise Unauthenticated("The old password is wrong.")
        with self._database.session() as session:
            row = _found(session, name)
            row.password_hash, row.must_change = _HASHER.hash(new), False
            end_sessions(session, name)

    def verify(self, name: str, password: str) -> User | None:
        """Return the user whose password it is, or None; it takes as long either way."""
        with self._database.session(reading=True) as session:
            row = session.get(User, name) if _NAME.match(name) else None
        good = _matches(row.password_hash if row else _NOBODY, password[:_LONGEST])
        if row is None or not good or len(password) > _LONGEST:
            return None
        if _HASHER.check_needs_rehash(row.password_hash):
            with self._database.session() as session:
                session.execute(update(User).where(User.name == name).values(password_hash=_HASHER.hash(password)))
        return row


def check_password(name: str, password: str) -> None:
    """Refuse passwords that are easy to guess.

    Raises
    ------
    InvalidRequest
        Saying what is asked for.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise InvalidRequest(f"A password has {_SHORTEST} to {_LONGEST} characters.", hint="A sentence is a good one.")
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise InvalidRequest("That password is too easy to guess.", hint="Leave the name out, and use more signs.")


def end_sessions(session: Session, name: str) -> None:
    """End every session of a user."""
    session.execute(
        update(SessionRow)
        .where(SessionRow.user == name, SessionRow.revoked_at.is_(None))
        .values(revoked_at=SystemClock().now())
    )
    bump(session)


def _matches(digest: str, password: str) -> bool:
    try:
        return _HASHER.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False


def _found(session: Session, name: str) -> User:
    row = session.get(User, name)
    if row is None:
        raise NotFound(f"There is no user {name[:80]!r}.", hint="List the users to see who there is.")
    return row


def _keep_an_admin(session: Session, row: User) -> None:
    admins = session.scalar(select(func.count()).select_from(User).where(User.role == "admin")) or 0
    if row.role == "admin" and admins < 2:
        raise Conflict(f"{row.name} is the last administrator.", hint="Make another one first.")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidRequest(f"There is no role {role[:40]!r}.", hint=f"There are: {', '.join(ROLES)}.")


def _view(row: User) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("name", "role", "must_change", "created_at")}
