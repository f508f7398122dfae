"""What the first start of a machine makes: an administrator, and the machine's own two keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.auth.accounts import Accounts
from core.errors import Conflict
from core.files import read_secret, write_secret

if TYPE_CHECKING:
    from core.layout import Layout

ADMIN = "admin"
# For people at this machine, and for its services among each other.
_KEYS = {"client": ("predict", "read"), "service": ("predict", "read", "data", "train")}


def first_start(accounts: Accounts, layout: Layout) -> str | None:
    """Make what is missing, and return the new administrator's password, which nobody can show again.

    Several processes may start at once: one of them makes the administrator, and the others return None.

    Raises
    ------
    DatabaseUnavailable
        When the database does not answer.
    """
    password = None
    if accounts.users.count() == 0:
        try:
            password = accounts.users.add(ADMIN, "admin")
        except Conflict:
            password = None  # another process was faster
        else:
            accounts.audit("first start", "add user", ADMIN)
    for name, scopes in _KEYS.items():
        path = layout.secrets / f"{name}.key"
        there = read_secret(path)
        if there is None or not accounts.keys.knows(there):
            key, _ = accounts.keys.create(f"this machine's {name}", scopes, owner="first start")
            write_secret(path, key)
            accounts.audit("first start", "create key", f"this machine's {name}", detail={"scopes": list(scopes)})
    return password
