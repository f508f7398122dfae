"""How old the online features are against their promise, and how often a model had to do without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from core.repo import FeatureRepo


def freshness(repo: FeatureRepo, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return the age of every online feature view against its promise.

    Parameters
    ----------
    repo : FeatureRepo
        Whose views.
    now : datetime, optional
        Timezone-aware, on the problem's clock; default: now.

    Returns
    -------
    list of dict
        ``view``; ``age_seconds``: how long ago the newest fact that is online became known, None where nothing is;
        ``promise_seconds``: the view's tag ``freshness``, else its ttl, None where it never gets stale; ``fresh``.

    Raises
    ------
    StoreUnavailable
        When the online store does not answer.
    """
    raise NotImplementedError


def missing_rates(repo: FeatureRepo, since: datetime, until: datetime) -> dict[str, float]:
    """Return for each feature in which share of the predictions of ``[since, until)`` the model had no value."""
    raise NotImplementedError
