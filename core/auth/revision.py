"""A number that rises with every change of keys, users and sessions, so that guards see changes by asking for it.

Its row is the lock of the accounts as well: what changes them takes it first, so that two changes at once see each
other ("is this the last administrator?"), on every database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.tables import Revision

if TYPE_CHECKING:
    from core.database import Database

NUMBER = select(Revision.number)


@contextmanager
def changing(database: Database) -> Iterator[Session]:
    """Give a session that changes accounts: one at a time, and seen by every guard.

    Raises
    ------
    DatabaseUnavailable
        When the database does not answer.
    """
    with database.session() as session:
        session.execute(update(Revision).values(number=Revision.number + 1))
        yield session


@contextmanager
def alone(database: Database) -> Iterator[Session]:
    """Give a session that writes, one at a time, what guards need not see.

    Raises
    ------
    DatabaseUnavailable
        When the database does not answer.
    """
    with database.session() as session:
        session.scalars(select(Revision).with_for_update()).one()
        yield session
