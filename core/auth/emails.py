"""Mail addresses of users: what is one, and whose it is. Small letters; an address stands for one user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import select

from core.errors import Conflict, InvalidRequest
from core.tables import User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST = 254
# One address that a header can hold: no spaces, commas or angles, nothing that begins another line.
PATTERN = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$"
_ADDRESS = re.compile(PATTERN)


def read(text: str | None) -> str | None:
    """Return an address as it is kept, None for none.

    Raises
    ------
    InvalidRequest
        When it is no address.
    """
    if text is None:
        return None
    address = text.strip().lower()
    if len(address) > LONGEST or not _ADDRESS.fullmatch(address):
        raise InvalidRequest(f"{text[:80]!r} is no mail address.", hint="Write one, as in ada@example.org.")
    return address


def check_free(session: Session, name: str, address: str | None) -> None:
    """Make sure that no other user has an address.

    Raises
    ------
    Conflict
        When one has.
    """
    if address is None:
        return
    others = select(User.name).where(User.email == address, User.name != name)
    if session.scalars(others).first() is not None:
        raise Conflict("Another user has that mail address.", hint="An address stands for one user.")


def holder(session: Session, typed: str) -> User | None:
    """Return the user of an address; None for any other text, which is not asked for."""
    address = typed.strip().lower()
    if len(address) > LONGEST or not _ADDRESS.fullmatch(address):
        return None
    return session.scalars(select(User).where(User.email == address)).first()
