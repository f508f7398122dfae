"""Keys of every kind for a repo's own database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from core.auth import Accounts
from core.database import database
from core.repo import FeatureRepo
from core.settings import Settings

LOANS = Path(__file__).resolve().parents[1] / "repos" / "loans"
SCOPES = ("predict", "read", "data", "train", "admin")


@dataclass(frozen=True)
class Keyring:
    """Keys by scope, and what made them.

    Attributes
    ----------
    accounts : Accounts
        Of the same database.
    by_scope : dict of str to str
        A key a scope, with that scope alone.
    revoked : str
        A key with every scope that was revoked.
    """

    accounts: Accounts
    by_scope: dict[str, str]
    revoked: str

    def __getitem__(self, scope: str) -> str:
        return self.by_scope[scope]

    def make(self, *scopes: str, days: float | None = None, rate_limit: str | None = None) -> str:
        lifetime = timedelta(days=days) if days else None
        return self.accounts.keys.create("a test", scopes, owner="tests", lifetime=lifetime, rate_limit=rate_limit)[0]


def accounts_of(repo: FeatureRepo, settings: Settings | None = None) -> Accounts:
    chosen = settings or Settings()
    return Accounts(database(repo, chosen), chosen, repo.layout)


def keyring(repo: FeatureRepo, settings: Settings | None = None) -> Keyring:
    """Make the keys."""
    accounts = accounts_of(repo, settings)
    made = {scope: accounts.keys.create(scope, [scope], owner="tests")[0] for scope in SCOPES}
    revoked, facts = accounts.keys.create("revoked", SCOPES, owner="tests")
    accounts.keys.revoke(facts["id"], by="tests")
    return Keyring(accounts, made, revoked)
