"""Who may do what: API keys, users and their sessions, and the record of what they did."""

from core.auth.accounts import Accounts
from core.auth.first_start import first_start
from core.auth.guard import Guard
from core.auth.principal import Principal

__all__ = ["Accounts", "Guard", "Principal", "first_start"]
