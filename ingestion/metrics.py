"""What Prometheus learns of data: windows, and how fresh each view is online against what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric

from core.errors import ConfigError, NoData
from core.service import gauge
from core.windows import list_windows

if TYPE_CHECKING:
    from core.repo import FeatureRepo


def window_gauges(repo: FeatureRepo) -> Iterator[Metric]:
    """Give how many windows there are, how far they reach, and where the problem's clock stands."""
    layers = {"raw": repo.layout.raw, "valid": repo.layout.valid}
    windows = {layer: list_windows(folder) for layer, folder in layers.items()}
    counts = {layer: float(len(found)) for layer, found in windows.items()}
    reach = {layer: found[-1].until.timestamp() for layer, found in windows.items() if found}
    yield gauge("punctual_windows", "Windows of raw data, by what was done with them.", ("layer",), counts)
    yield gauge("punctual_window_end_timestamp_seconds", "Where the last window ends.", ("layer",), reach)
    try:
        now = repo.clock.now().timestamp()
    except NoData:
        return  # the replay clock has no time before the first window
    yield gauge("punctual_clock_timestamp_seconds", "The problem's clock, seconds since 1970.", (), {(): now})


def freshness_gauges(repo: FeatureRepo) -> Iterator[Metric]:
    """Give the age of each online view and its promise, on the problem's clock, and which have nothing online.

    Raises
    ------
    StoreUnavailable
        When the online store does not answer.
    """
    from stores.freshness import online_freshness  # it needs Feast, which takes seconds to import
    from stores.registry import open_store, registry_version

    try:
        registry_version(repo)
        now = repo.clock.now()
    except (ConfigError, NoData):
        return  # nothing was applied or fetched yet: there are no views to be old
    views = online_freshness(open_store(repo), now)
    ages = {v.view: age.total_seconds() for v in views if (age := v.age(now)) is not None}
    empty = {v.view: float(v.newest is None) for v in views}
    promises = {v.view: v.promise.total_seconds() for v in views if v.promise is not None}
    yield gauge("punctual_view_age_seconds", "Age of the newest row of a view that is online.", ("view",), ages)
    yield gauge("punctual_view_promise_seconds", "Age up to which a view counts as fresh.", ("view",), promises)
    yield gauge("punctual_view_empty", "1 for a view of which nothing is online.", ("view",), empty)
