"""Passwords: the rules, hashes by Argon2, and comparisons that take as long for nobody as for somebody."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import InvalidRequest

SHORTEST, LONGEST = 12, 1024  # characters
_BESIDE_NAME = 8  # characters that are not the user name
_HASHER = PasswordHasher()
# A hash takes 64 MB for a moment: guesses in parallel must not take all memory.
_AT_ONCE = threading.BoundedSemaphore(2)


def check_rules(name: str, password: str) -> None:
    """Refuse passwords that are easy to guess.

    Raises
    ------
    InvalidRequest
        Saying what is asked for.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidRequest(f"A password has {SHORTEST} to {LONGEST} characters.", hint="A sentence is a good one.")
    if len(password.casefold().replace(name.casefold(), "")) < _BESIDE_NAME:
        raise InvalidRequest("That password is little more than the user name.", hint="Leave the name out.")
    if len(set(password)) < 5:
        raise InvalidRequest("That password has too few different characters.", hint="Use five or more.")


def made_up() -> str:
    """Return a random password of 160 bits."""
    return secrets.token_urlsafe(20)


def hashed(password: str) -> str:
    """Return the hash to keep: algorithm, parameters and salt are in it."""
    with _AT_ONCE:
        return _HASHER.hash(_bytes(password))


def matches(digest: str | None, password: str) -> bool:
    """Say whether a password belongs to a hash; None, for no such user, takes as long and is never right."""
    known = digest or _nobody()
    with _AT_ONCE:
        try:
            _HASHER.verify(known, _bytes(password[:LONGEST]))
        except (VerificationError, InvalidHashError):
            return False
    return digest is not None and len(password) <= LONGEST


def outdated(digest: str) -> bool:
    """Say whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(digest)


def warm_up() -> None:
    """Make the hash of nobody, so that the first log-in takes as long as the others."""
    _nobody()


@cache
def _nobody() -> str:
    return hashed(secrets.token_urlsafe(16))


def _bytes(password: str) -> bytes:
    # The same characters typed on two keyboards may be different code points; and JSON may hold halves of characters.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
