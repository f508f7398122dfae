"""Somebody who has shown who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What keys can be given. `admin` stands for all of them.
SCOPES = ("predict", "read", "data", "train", "admin")
# Every session has it, and no key: its own password and log-out.
SELF = "self"
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset(("admin", SELF)),
    "user": frozenset(("predict", "read", SELF)),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """A key or a session that was checked.

    Attributes
    ----------
    id : str
        The key's or the session's id.
    name : str
        What audit records and logs call it: the user, or ``key:<name>``.
    kind : {"key", "session"}
        Which of the two.
    scopes : frozenset of str
        What it may do.
    rate_limit : str or None
        A limit of its own, as in ``100/minute``.
    owner : str
        The user who answers for it: a session's own, or whoever made the key. Where two people must agree, compare
        these, not the names.
    """

    id: str
    name: str
    kind: Literal["key", "session"]
    scopes: frozenset[str]
    rate_limit: str | None = None
    owner: str = ""

    def may(self, scope: str) -> bool:
        """Say whether it has a scope."""
        return allows(self.scopes, scope)

    @property
    def confined_to(self) -> str | None:
        """The actor whose requests and answers alone are shown to it: itself; None where everybody's are."""
        return None if self.may("data") or self.may("train") else self.name


def allows(scopes: frozenset[str], scope: str) -> bool:
    """Say whether somebody with ``scopes`` may do what asks for ``scope``."""
    return scope in scopes or "admin" in scopes
