"""What the first start of a machine makes: an administrator, and the machine's own two keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import Conflict
from core.files import locked, read_secret, write_secret

if TYPE_CHECKING:
    from core.auth.accounts import Accounts
    from core.layout import Layout

ADMIN = "admin"
BY = "first start"
# For people at this machine, and for its services among each other.
KEYS = {"client": ("predict", "read"), "service": ("predict", "read", "data", "train")}


def first_start(accounts: Accounts, layout: Layout) -> str | None:
    """Make what is missing, and return the new administrator's password, which nobody can show again.

    Several processes may start at once, on one machine or on several: one of them makes the administrator, and the
    others return None. A key file that the database does not know (it was restored, or is another) is made anew.

    Raises
    ------
    DatabaseUnavailable
        When the database does not answer.
    """
    password = None
    if accounts.users.count() == 0:
        try:
            password = accounts.users.add(ADMIN, "admin", by=BY)
        except Conflict:
            password = None  # another process was faster
    layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(layout.secrets / ".lock"):
        for name, scopes in KEYS.items():
            path = layout.secrets / f"{name}.key"
            there = read_secret(path)
            if there is None or not accounts.keys.knows(there, scopes):
                key, _ = accounts.keys.create(f"this machine's {name}", scopes, owner=BY)
                write_secret(path, key)
    return password
