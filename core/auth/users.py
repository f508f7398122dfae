"""People: their names, roles and passwords."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from core.auth import emails, passwords
from core.auth.audit import record
from core.auth.principal import ROLES, allows
from core.auth.revision import alone, changing
from core.clock import SystemClock
from core.errors import Conflict, InvalidRequest, NotFound
from core.tables import ApiKey, ResetLink, User
from core.tables import Session as SessionRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.clock import Clock
    from core.database import Database

_NAME = re.compile(r"^[a-z0-9][a-z0-9._@-]{0,63}\Z")


class Users:
    """The users of a database.

    Every change takes ``by``, who makes it, and leaves an audit record in the same transaction.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database, self._clock = database, clock or SystemClock()

    def add(
        self, name: str, role: str = "user", password: str | None = None, *, by: str, email: str | None = None
    ) -> str:
        """Add a user.

        Returns
        -------
        str
            The password: one that was made up here must be changed at the first log-in.

        Raises
        ------
        InvalidRequest
            When name, role, password or address is not allowed.
        Conflict
            When the name or the address is taken.
        """
        if not _NAME.match(name):
            raise InvalidRequest(
                f"{name[:80]!r} is no user name.", hint="Use up to 64 small letters, digits and ._@-, no sign first."
            )
        _check_role(role)
        address = emails.read(email)
        chosen = passwords.made_up() if password is None else password
        passwords.check_rules(name, chosen)
        digest = passwords.hashed(chosen)
        with changing(self._database) as session:
            if session.get(User, name) is not None:
                raise Conflict(f"There is a user {name!r} already.", hint="Choose another name.")
            emails.check_free(session, name, address)
            must = password is None
            row = User(
                name=name,
                role=role,
                password_hash=digest,
                must_change=must,
                created_at=self._clock.now(),
                email=address,
            )
            session.add(row)
            record(session, by, "user added", name, detail={"role": role})
        return chosen

    def all(self) -> list[dict[str, Any]]:
        """Return every user, by name: ``name``, ``role``, ``email``, ``must_change``, ``disabled``, ``created_at``."""
        with self._database.session(reading=True) as session:
            return [_view(row) for row in session.scalars(select(User).order_by(User.name))]

    def count(self) -> int:
        """Return how many there are."""
        with self._database.session(reading=True) as session:
            return session.scalar(select(func.count()).select_from(User)) or 0

    def exists(self, name: str) -> bool:
        """Say whether there is a user of that name."""
        with self._database.session(reading=True) as session:
            return get(session, name) is not None

    def set_role(self, name: str, role: str, *, by: str) -> None:
        """Give a user another role; their sessions end, and their keys that the role does not allow.

        Raises
        ------
        InvalidRequest, NotFound
            When there is no such role or user.
        Conflict
            When the last administrator would go.
        """
        _check_role(role)
        with changing(self._database) as session:
            row = found(session, name)
            if role != "admin":
                _keep_an_admin(session, row)
            before, row.role = row.role, role
            self._end(session, name)
            revoked = self._revoke_keys(session, name, ROLES[role])
            detail = {"role": role, "before": before, "revoked": revoked}
            record(session, by, "role changed", name, detail=detail)

    def disable(self, name: str, *, by: str, owner: str | None = None) -> None:
        """Let nobody log in as a user any more; their sessions end, and their keys rest until they are enabled.

        Parameters
        ----------
        name : str
            Whom; one who is disabled stays so.
        by, owner : str
            Who does it, and the user who answers for them: the same, unless it is a key.

        Raises
        ------
        NotFound
            When there is no such user.
        Conflict
            When it is the last administrator who may log in, or oneself.
        """
        with changing(self._database) as session:
            row = found(session, name)
            if name in (by, owner):
                raise Conflict("Nobody disables themselves.", hint="Ask another administrator.")
            _keep_an_admin(session, row)
            if row.disabled_at is None:
                row.disabled_at = self._clock.now()
                self._end(session, name)
                record(session, by, "user disabled", name)

    def enable(self, name: str, *, by: str) -> None:
        """Let a disabled user log in again, with the password of before; keys that rested are good again.

        Raises
        ------
        NotFound
            When there is no such user.
        """
        with changing(self._database) as session:
            row = found(session, name)
            if row.disabled_at is not None:
                row.disabled_at = None
                record(session, by, "user enabled", name)

    def set_email(self, name: str, email: str | None, *, by: str) -> None:
        """Give a user another mail address, or none; a link that went to the one before is no good any more.

        Raises
        ------
        InvalidRequest, NotFound
            When it is no address, or there is no such user.
        Conflict
            When another user has it.
        """
        address = emails.read(email)
        with changing(self._database) as session:
            row = found(session, name)
            emails.check_free(session, name, address)
            row.email = address
            session.execute(delete(ResetLink).where(ResetLink.user == name))
            record(session, by, "mail address changed", name)

    def remove(self, name: str, *, by: str) -> None:
        """Remove a user; their sessions and their keys end.

        Raises
        ------
        NotFound, Conflict
            When there is no such user, or it is the last administrator.
        """
        with changing(self._database) as session:
            row = found(session, name)
            _keep_an_admin(session, row)
            revoked = self._revoke_keys(session, name, frozenset())
            session.delete(row)  # and, by the foreign key, the sessions
            record(session, by, "user removed", name, detail={"revoked": revoked})

    def reset(self, name: str, *, by: str) -> str:
        """Return a new password of a user, which must be changed at the next log-in; their sessions end.

        Raises
        ------
        NotFound
            When there is no such user.
        """
        chosen = passwords.made_up()
        self.set_password(name, chosen, by=by, must_change=True)
        return chosen

    def set_password(self, name: str, password: str, *, by: str, must_change: bool = False) -> None:
        """Set a password; all sessions of the user end, and a link for another one is no good any more.

        Raises
        ------
        InvalidRequest
            When the password is not allowed.
        NotFound
            When there is no such user.
        """
        passwords.check_rules(name, password)
        digest = passwords.hashed(password)
        with changing(self._database) as session:
            self.set_hash(session, found(session, name), digest, must_change=must_change)
            record(session, by, "password reset" if must_change else "password changed", name)

    def set_hash(self, session: Session, row: User, digest: str, *, must_change: bool) -> None:
        """Set a password in a transaction of somebody else's, by its hash; what it ends, ends."""
        row.password_hash, row.must_change = digest, must_change
        self._end(session, row.name)

    def verify(self, name: str, password: str) -> User | None:
        """Return the user whose password it is and who is not disabled, or None; it takes as long either way."""
        passwords.warm_up()
        with self._database.session(reading=True) as session:
            row = get(session, name)
        digest = row.password_hash if row else None
        if not passwords.matches(digest, password) or row is None or row.disabled_at is not None:
            return None
        if passwords.outdated(row.password_hash):
            newer = passwords.hashed(password)
            with alone(self._database) as session:  # unless somebody has changed it meanwhile
                same = (User.name == name) & (User.password_hash == digest)
                changed = update(User).where(same).values(password_hash=newer).returning(User.name)
                if session.execute(changed).first():
                    row.password_hash = newer
        return row

    def _end(self, session: Session, name: str) -> None:
        theirs = (SessionRow.user == name) & SessionRow.revoked_at.is_(None)
        session.execute(update(SessionRow).where(theirs).values(revoked_at=self._clock.now()))
        session.execute(delete(ResetLink).where(ResetLink.user == name))

    def _revoke_keys(self, session: Session, owner: str, allowed: frozenset[str]) -> list[str]:
        query = select(ApiKey).where(ApiKey.owner == owner, ApiKey.revoked_at.is_(None))
        too_much = [row for row in session.scalars(query) if not all(allows(allowed, scope) for scope in row.scopes)]
        for row in too_much:
            row.revoked_at = self._clock.now()
        return [row.id for row in too_much]


def find(session: Session, typed: str) -> User | None:
    """Return the user of a name, or else of a mail address; None for any other text."""
    return get(session, typed) or emails.holder(session, typed)


def get(session: Session, name: str) -> User | None:
    """Return the user of a name, None for none."""
    # What is no name is not asked for: a database may choke on it.
    return session.get(User, name) if _NAME.match(name) else None


def found(session: Session, name: str) -> User:
    """Return the user of a name.

    Raises
    ------
    NotFound
        When there is none.
    """
    row = get(session, name)
    if row is None:
        raise NotFound(f"There is no user {name[:80]!r}.", hint="List the users to see who there is.")
    return row


def _keep_an_admin(session: Session, row: User) -> None:
    if row.role != "admin" or row.disabled_at is not None:
        return
    enabled = (User.role == "admin") & User.disabled_at.is_(None)
    if (session.scalar(select(func.count()).select_from(User).where(enabled)) or 0) < 2:
        raise Conflict(f"{row.name} is the last administrator who may log in.", hint="Make another one first.")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidRequest(f"There is no role {role[:40]!r}.", hint=f"There are: {', '.join(ROLES)}.")


def _view(row: User) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in ("name", "role", "email", "must_change", "created_at")}
    return {**facts, "disabled": row.disabled_at is not None}
