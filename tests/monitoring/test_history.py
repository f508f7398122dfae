"""What is looked back at is what plain Python finds in the log, however its parts lie."""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import InvalidRequest, Unavailable
from monitoring import history
from monitoring import statistics as counting
from monitoring.history import Which, newest
from monitoring.statistics import statistics
from monitoring.truth import update_truth
from tests.monitoring.log_world import LogWorld, at

Row = dict[str, Any]
NOTHING = {"total": 0, "what_if": 0, "buckets": [], "classes": {}, "actors": []}


def rows_of(part: int, *, old: bool = False) -> list[Row]:
    """Return twelve predictions; their parts overlap in the machine's time, and go backwards in the problem's."""
    return [
        {
            "prediction_id": f"{part:02d}-{n:03d}",
            "predicted_at": at(1000 - part * 30 + n),
            "served_at": at(part * 10 + n * 1.5),
            "entity": {"loan_id": n % 4, "customer_id": 3},
            "features": {"a": None, "b": "x"} if n % 5 == 0 else {"a": 1.5, "b": 'say ":null,"'},
            "stale": ["loan_terms"] if n % 6 == 0 else [],
            "probability": (n + part) % 12 / 11,
            "class": "missed" if (n + part) % 12 > 5 else "paid",
            "model_version": str(1 + part // 2),
            "actor": None if old else ("anna", "key:app", "bo")[n % 3],
            "what_if": not old and n % 4 == 1,
        }
        for n in range(12)
    ]


@pytest.fixture
def everything(log_world: LogWorld) -> list[Row]:
    """Give the predictions of a log whose first part is an old one."""
    made: list[Row] = []
    for part in range(6):
        rows = rows_of(part, old=part == 0)
        log_world.log(*rows, day=f"2030-01-{9 - part:02d}", old=part == 0)
        made += rows
    return made


def picked(rows: list[Row], asked: dict[str, Any]) -> list[Row]:
    """Return the rows that are asked for, the newest first."""
    names = {"label": "class", "version": "model_version"}
    out = []
    for row in rows:
        good = asked.get("since", at(-9999)) <= row["predicted_at"] < asked.get("until", at(9999))
        good &= asked.get("entity") in (None, str(row["entity"]["loan_id"]))
        good &= all(
            asked.get(name) in (None, row[names.get(name, name)]) for name in ("label", "version", "actor", "what_if")
        )
        out += [row] if good else []
    return sorted(out, key=lambda row: (row["served_at"], row["prediction_id"]), reverse=True)


ASKED: list[dict[str, Any]] = [
    {},
    {"since": at(900), "until": at(950)},
    {"since": at(5000)},
    {"label": "missed"},
    {"version": "2", "what_if": False},
    {"what_if": True},
    {"actor": "anna"},
    {"actor": "key:app", "entity": "2", "what_if": False},
    {"actor": "nobody"},
    {"entity": "3"},
    {"entity": "99"},
    {"label": "' OR true --", "actor": "' OR true --", "entity": "' OR true --"},
]


@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize("asked", ASKED)
def test_the_newest_are_those_that_were_served_last(
    log_world: LogWorld, everything: list[Row], monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], limit: int
) -> None:
    monkeypatch.setattr(history, "_FIRST_PARTS", 1)
    monkeypatch.setattr(history, "_MOST_PARTS", 2)
    found = newest(log_world.repo, Which(**asked), limit)
    expected = picked(everything, asked)[:limit]
    assert [row["prediction_id"] for row in found] == [row["prediction_id"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row == {name: other[name] for name in row if name != "outcome"} | {"outcome": None}


@pytest.mark.parametrize("asked", [one for one in ASKED if not {"label", "version", "entity"} & one.keys()])
def test_counts_are_those_of_plain_python(log_world: LogWorld, everything: list[Row], asked: dict[str, Any]) -> None:
    found = statistics(log_world.repo, Which(**asked), "day")
    expected = picked(everything, asked)
    assert (found["total"], found["what_if"]) == (len(expected), sum(row["what_if"] for row in expected))
    assert found["classes"] == Counter(row["class"] for row in expected)
    assert {one["actor"]: one["predictions"] for one in found["actors"]} == Counter(row["actor"] for row in expected)
    tenths = Counter(min(int(row["probability"] * 10), 9) for row in expected)
    assert [one["predictions"] for one in found["probability"]] == [tenths[n] for n in range(10)]
    assert [(one["low"], one["high"]) for one in found["probability"]] == [(n / 10, (n + 1) / 10) for n in range(10)]
    days = Counter((row["predicted_at"].date(), row["model_version"]) for row in expected)
    assert {(one["start"].date(), one["model_version"]): one["predictions"] for one in found["buckets"]} == days
    assert [one["start"] for one in found["buckets"]] == sorted(one["start"] for one in found["buckets"])
    for one in found["buckets"]:
        own = [
            row
            for row in expected
            if one["start"] <= row["predicted_at"] < one["end"] and row["model_version"] == one["model_version"]
        ]
        assert one["end"] - one["start"] == timedelta(days=1)
        assert one["positives"] == sum(row["class"] == "missed" for row in own)
        assert one["mean_probability"] == pytest.approx(sum(row["probability"] for row in own) / len(own))
        assert one["stale"] == sum(bool(row["stale"]) for row in own)
        assert one["missing"] == sum(None in row["features"].values() for row in own)


def test_buckets_begin_where_calendars_do(log_world: LogWorld) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    log_world.log({"prediction_id": "a", "predicted_at": moment})
    spans = {}
    for bucket in ("hour", "day", "week", "month"):
        (one,) = statistics(log_world.repo, Which(), bucket)["buckets"]  # type: ignore[arg-type]
        spans[bucket] = (one["start"].isoformat()[:13], one["end"].isoformat()[:13])
    assert spans == {
        "hour": ("2024-02-29T23", "2024-03-01T00"),
        "day": ("2024-02-29T00", "2024-03-01T00"),
        "week": ("2024-02-26T00", "2024-03-04T00"),
        "month": ("2024-02-01T00", "2024-03-01T00"),
    }


def test_where_nothing_was_predicted_there_are_zeros(log_world: LogWorld) -> None:
    for _ in range(2):
        found = statistics(log_world.repo, Which(since=at(-50), until=at(-40)), "hour")
        assert [one["predictions"] for one in found.pop("probability")] == [0] * 10
        assert found == NOTHING
        assert newest(log_world.repo, Which(since=at(-50)), 5) == []
        log_world.log({"prediction_id": "a", "predicted_at": at(-60)})


def test_parts_that_cannot_hold_what_is_asked_for_are_not_opened(log_world: LogWorld) -> None:
    for day, actor in (("2030-01-01", "anna"), ("2030-01-02", "bo")):
        log_world.log(
            {"prediction_id": actor, "predicted_at": at(1), "served_at": at(len(actor)), "actor": actor}, day=day
        )
    newest(log_world.repo, Which(), 5)  # the index is made
    (log_world.repo.layout.predictions / "2030-01-02" / "bo-1.parquet").write_bytes(b"no Parquet any more")
    assert [row["actor"] for row in newest(log_world.repo, Which(actor="anna"), 5)] == ["anna"]
    assert newest(log_world.repo, Which(what_if=True), 5) == []
    assert [row["actor"] for row in newest(log_world.repo, Which(until=at(2), actor="anna"), 1)] == ["anna"]


def test_no_more_than_the_newest_parts_are_read(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_FIRST_PARTS", 1)
    for n in range(4):
        log_world.log({"prediction_id": f"{n}", "predicted_at": at(n), "served_at": at(n)})
    newest(log_world.repo, Which(), 1)
    (log_world.repo.layout.predictions / "2030-01-01" / "0-1.parquet").write_bytes(b"no Parquet any more")
    assert [row["prediction_id"] for row in newest(log_world.repo, Which(), 1)] == ["3"]


def test_what_came_of_it_is_told_once_it_is_known(log_world: LogWorld) -> None:
    entity = {"loan_id": 1, "customer_id": 1}
    log_world.log(
        {"prediction_id": "a", "predicted_at": at(1), "entity": entity},
        {"prediction_id": "b", "predicted_at": at(25), "entity": entity},
        {"prediction_id": "c", "predicted_at": at(1), "entity": entity, "what_if": True},
    )
    log_world.spine([{"loan_id": 1, "event_timestamp": at(2), "missed": 1, "label_timestamp": at(10)}])

    def outcomes() -> dict[str, int | None]:
        return {row["prediction_id"]: row["outcome"] for row in newest(log_world.repo, Which(), 10)}

    log_world.now(at(5))
    update_truth(log_world.repo)
    assert outcomes() == {"a": None, "b": None, "c": None}
    log_world.now(at(30))
    update_truth(log_world.repo)
    assert outcomes() == {"a": 1, "b": None, "c": None}


def test_too_many_buckets_are_refused(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MOST_BUCKETS", 2)
    log_world.log(*({"prediction_id": f"{n}", "predicted_at": at(n)} for n in range(3)))
    with pytest.raises(InvalidRequest, match="3 buckets, 2 may be"):
        statistics(log_world.repo, Which(), "hour")
    assert statistics(log_world.repo, Which(), "day")["total"] == 3


def test_a_window_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="until must come after since"):
        Which(since=at(1), until=at(1))


def test_only_a_few_look_back_at_once(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(history, "_turns", threading.BoundedSemaphore(1))
    log_world.log({"prediction_id": "a", "predicted_at": at(1)})
    with history.looking(), pytest.raises(Unavailable, match="Others are looking back"):
        newest(log_world.repo, Which(), 1)
    assert len(newest(log_world.repo, Which(), 1)) == 1
    assert json.dumps(statistics(log_world.repo, Which(), "day"), default=str)
