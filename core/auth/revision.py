"""A number that rises with every change of keys, users and sessions, so that guards see changes by asking for it."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.tables import Revision


def bump(session: Session) -> None:
    """Say that something has changed."""
    session.execute(update(Revision).values(number=Revision.number + 1))


def current(session: Session) -> int:
    """Return the number."""
    return session.scalars(select(Revision.number)).one()
