"""Counts what was predicted: by time and version, by probability, by class, and by who asked; in one pass over the log.

DuckDB streams the parts and keeps the groups alone: memory is that of the groups, not of the rows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from core.errors import InvalidRequest
from monitoring.history import looking
from monitoring.parts import everything
from stores.sql import text

if TYPE_CHECKING:
    from core.repo import FeatureRepo
    from monitoring.history import Which

Bucket = Literal["hour", "day", "week", "month"]
_MOST_BUCKETS = 5_000
_MOST_ACTORS = 100
_TENTHS = 10
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_GROUPS = ("start", "model_version", "tenth", "class", "actor", "what_if")
# A part of the text is looked for first: it is cheap, and most vectors lack nothing.
_MISSING = "CASE WHEN contains(features, 'null') THEN list_contains(json_type(features, '$.*'), 'NULL') ELSE false END"


def statistics(repo: FeatureRepo, which: Which, bucket: Bucket) -> dict[str, Any]:
    """Count predictions.

    Parameters
    ----------
    repo : FeatureRepo
        Whose log.
    which : Which
        What to count.
    bucket : {"hour", "day", "week", "month"}
        How long buckets are; by ``predicted_at``, UTC. Weeks begin on Mondays.

    Returns
    -------
    dict
        ``total``, and how many of these were ``what_if``; ``buckets`` with any predictions, in the order of time and
        version: ``start``, ``end``, ``model_version``, ``predictions``, ``positives``, ``mean_probability``,
        ``stale``, ``missing`` (without a value of at least one feature); ``probability``: ten bins from ``low`` to
        ``high``; ``classes``: name to count; ``actors``: those who asked most, first.

    Raises
    ------
    InvalidRequest
        When there would be more than 5,000 buckets.
    Unavailable
        When others are looking back, and take long.
    """
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _GROUPS}
    if chosen := which.parts(repo):
        condition, given = which.condition(repo)
        with looking() as con:
            source = f"{everything(repo.layout, chosen)} WHERE {condition}"
            for row in con.execute(_query(source, bucket, repo.problem.label.positive), given).fetchall():
                found[_set_of(row[0])].append(row[1:])
    return {
        "total": sum(row[6] for row in found["what_if"]),
        "what_if": sum(row[6] for row in found["what_if"] if row[5]),
        "buckets": _buckets(found["start"], bucket),
        "probability": _bins({row[2]: row[6] for row in found["tenth"]}),
        "classes": {row[3]: row[6] for row in sorted(found["class"], key=lambda row: str(row[3]))},
        "actors": _actors({row[4]: row[6] for row in found["actor"]}),
    }


def _query(source: str, bucket: Bucket, positive: str) -> str:
    """Return the query: groups by each of the sets, and what is counted of each."""
    rows = (
        f"SELECT date_trunc({text(bucket)}, predicted_at AT TIME ZONE 'UTC') AS start, model_version, "
        f"least(floor(probability * {_TENTHS}), {_TENTHS - 1})::INTEGER AS tenth, class, actor, "
        f"what_if IS TRUE AS what_if, probability, len(stale) > 0 AS late, {_MISSING} AS lacking FROM {source}"
    )
    return (
        f"SELECT GROUPING({', '.join(_GROUPS)}), {', '.join(_GROUPS)}, count(*), "
        f"count_if(class = {text(positive)}), avg(probability), count_if(late), count_if(lacking) FROM ({rows}) "
        "GROUP BY GROUPING SETS ((start, model_version), (tenth), (class), (actor), (what_if))"
    )


def _set_of(grouping: int) -> str:
    """Return the first column that a row is grouped by: the mask has a bit for each column that it is not."""
    last = len(_GROUPS) - 1
    return next(name for i, name in enumerate(_GROUPS) if not grouping >> (last - i) & 1)


def _buckets(rows: list[tuple[Any, ...]], bucket: Bucket) -> list[dict[str, Any]]:
    if len(rows) > _MOST_BUCKETS:
        raise InvalidRequest(
            f"That would be {len(rows):,} buckets, {_MOST_BUCKETS:,} may be.",
            hint="Ask for longer buckets, or a shorter time.",
        )
    out = []
    for start, version, *_, count, positives, mean, late, lacking in sorted(rows, key=lambda row: (row[0], row[1])):
        begin = start.replace(tzinfo=UTC)
        out.append(
            {
                "start": begin,
                "end": _end(begin, bucket),
                "model_version": version,
                "predictions": count,
                "positives": positives,
                "mean_probability": mean,
                "stale": late,
                "missing": lacking,
            }
        )
    return out


def _end(start: datetime, bucket: Bucket) -> datetime:
    if bucket == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + _LENGTHS[bucket]


def _bins(counts: dict[int, int]) -> list[dict[str, Any]]:
    return [
        {"low": tenth / _TENTHS, "high": (tenth + 1) / _TENTHS, "predictions": counts.get(tenth, 0)}
        for tenth in range(_TENTHS)
    ]


def _actors(counts: dict[str | None, int]) -> list[dict[str, Any]]:
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0] or ""))[:_MOST_ACTORS]
    return [{"actor": actor, "predictions": count} for actor, count in most]
