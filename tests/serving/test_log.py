"""The prediction log: nothing answered is lost, memory is bounded, and parts are there whole or not at all."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.errors import Overloaded, Unavailable
from core.files import locked
from serving.log import SCHEMA, Made, PredictionIds, PredictionLog

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def made(*numbers: int) -> Made:
    """Return predictions to log that were made together, in between others."""
    count = len(numbers)
    return Made(
        shared={
            "predicted_at": NOW,
            "served_at": NOW,
            "model_version": "1",
            "feature_service": "default_risk",
            "schema_hash": "abc",
        },
        own={
            "prediction_id": [f"{number:032x}" for number in numbers],
            "stale": [["customer_payments"]] * count,
            "probability": [0.25] * count,
            "class": ["paid"] * count,
            "correlation_id": ["here"] * count,
            "actor": ["anna"] * count,
            "what_if": [True] * count,
        },
        entity={"loan_id": [0, *numbers], "asked_at": [NOW] * (count + 1)},
        features={
            "amount": [0.5, *(1.5 + number for number in numbers)],
            "region": ["east", *["west"] * count],
            "hour": [None] * (count + 1),
            "share": [float("nan")] * (count + 1),
        },
        places=list(range(1, count + 1)),
        features_as_of=[b'{"loan_terms":"2024-03-01T12:00:00Z","customer_payments":null}'] * count,
    )


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.parquet"))


def logged(folder: Path) -> list[str]:
    """Return the ids in the log, in the order of the parts."""
    return [i for part in parts(folder) for i in pq.read_table(part)["prediction_id"].to_pylist()]


def lines(folder: Path) -> list[Path]:
    """Return the files of lines beside a log."""
    return sorted((folder.parent / "spool" / folder.name).glob("[!.]*"))


def eventually(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_clean_stop_writes_everything(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 100_000, flush_seconds=3600)
    for start in range(0, 45_000, 1000):
        log.append(made(*range(start, start + 1000)))
    log.close()
    assert logged(tmp_path / "log") == [f"{i:032x}" for i in range(45_000)]
    assert not list((tmp_path / "log").glob("*/.*"))
    assert lines(tmp_path / "log") == []


def test_what_was_logged_is_what_was_given(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 10)
    log.append(made(7))
    log.close()
    table = pq.read_table(parts(tmp_path / "log")[0])
    assert table.schema.equals(SCHEMA)
    row = table.to_pylist()[0]
    assert row["entity"] == '{"loan_id":7,"asked_at":"2024-03-01T12:00:00Z"}'
    assert row["features"] == '{"amount":8.5,"region":"west","hour":null,"share":null}'
    assert row["features_as_of"] == '{"loan_terms":"2024-03-01T12:00:00Z","customer_payments":null}'
    assert row["predicted_at"] == NOW
    assert row["stale"] == ["customer_payments"]
    assert (row["actor"], row["what_if"]) == ("anna", True)


def test_written_by_itself_after_a_while(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 10, flush_seconds=0.05)
    log.append(made(1))
    eventually(lambda: logged(tmp_path / "log") == [f"{1:032x}"])
    log.close()


def test_a_steady_stream_makes_few_parts(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 100_000, flush_seconds=0.5)
    end = time.monotonic() + 2
    count = 0
    while time.monotonic() < end:
        log.append(made(count))
        count += 1
        time.sleep(0.0005)
    log.close()
    assert len(logged(tmp_path / "log")) == count
    assert len(parts(tmp_path / "log")) <= 6


def test_taking_goes_on_while_parts_are_made(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 100_000, flush_seconds=0.001)
    for number in range(20_000):
        log.append(made(number))
    log.close()
    assert logged(tmp_path / "log") == [f"{i:032x}" for i in range(20_000)]


def test_flushing_does_not_wait_for_what_comes_after(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log", 1_000_000, flush_seconds=3600)
    stop = threading.Event()

    def stream() -> None:
        number = 1
        while not stop.is_set():
            log.append(made(number))
            number += 1
            time.sleep(0.0002)

    log.append(made(0))
    thread = threading.Thread(target=stream)
    thread.start()
    try:
        start = time.monotonic()
        for _ in range(3):
            log.flush(timeout=5)
        assert f"{0:032x}" in logged(tmp_path / "log")
        assert time.monotonic() - start < 5
    finally:
        stop.set()
        thread.join()
        log.close()


def test_bounded_while_the_disk_is_blocked_and_whole_when_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with locked(tmp_path / "spool" / "log" / ".lock"):  # somebody else makes parts, and does not get on
        log = PredictionLog(folder, 100, flush_seconds=0.01)
        log.append(made(0))
        eventually(lambda: [path.suffix for path in lines(folder)] == [".rows"])
        start = time.monotonic()
        for number in range(1, 101):
            log.check_room(1)
            log.append(made(number))
        assert time.monotonic() - start < 1, "appending waited for the disk"
        with pytest.raises(Overloaded, match="100"):
            log.check_room(1)
        assert log.lag.waiting == 100
        assert parts(folder) == []
    log.flush()
    log.check_room(100)
    log.append(made(101))
    log.close()
    assert logged(folder) == [f"{i:032x}" for i in range(102)]


def test_a_disk_that_refuses_is_told_of_and_tried_again(tmp_path: Path) -> None:
    folder, in_the_way = tmp_path / "log", tmp_path / "spool"
    in_the_way.write_text("")
    log = PredictionLog(folder, 10, flush_seconds=0.01)
    log.append(made(1))
    eventually(lambda: log.lag.failing)
    with pytest.raises(Unavailable, match="1 predictions could not be logged"):
        log.flush(timeout=0.1)
    in_the_way.unlink()
    log.flush()
    assert log.lag.failing == ""
    log.close()
    assert logged(folder) == [f"{1:032x}"]


def test_what_came_while_the_disk_refused_is_written_at_the_stop(tmp_path: Path) -> None:
    folder, in_the_way = tmp_path / "log", tmp_path / "spool"
    in_the_way.write_text("")
    log = PredictionLog(folder, 10, flush_seconds=0.01)
    log.append(made(0))
    eventually(lambda: log.lag.failing)
    log.append(made(1, 2))
    in_the_way.unlink()
    log.close()
    assert logged(folder) == [f"{i:032x}" for i in range(3)]


def test_what_could_not_be_written_at_the_stop_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool").write_text("in the way")
    log = PredictionLog(tmp_path / "log", 10, flush_seconds=3600)
    log.append(made(1, 2))
    log.close()
    lost = [r for r in caplog.records if r.getMessage() == "predictions lost at stop"]
    assert [r.count for r in lost] == [2]  # type: ignore[attr-defined]


def test_what_cannot_be_encoded_holds_nothing_else_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    folder = tmp_path / "log"
    log = PredictionLog(folder, 10)
    log.append(made(1))
    log.append(replace(made(2), features={"amount": [0.5, deep]}))
    log.append(made(3))
    log.close()
    assert logged(folder) == [f"{1:032x}", f"{3:032x}"]
    assert [path.suffix for path in lines(folder)] == [".unreadable"]
    assert "lines of the log cannot be read" in caplog.messages


def test_ids_sort_by_time_are_unique_and_tell_their_day() -> None:
    ids = PredictionIds()
    given = [one for count in (1, 999, 0, 1, 256, 300) * 10 for one in ids.next(count)]
    assert given == sorted(set(given))
    assert len(given) == len({i[15:] for i in given}) == 15_570
    today = datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 - ids carry the machine's time
    assert PredictionIds.date_of(given[-1]) in {f"{d:%Y-%m-%d}" for d in (today, today - timedelta(minutes=1))}


@pytest.mark.parametrize("no_id", ["", "x" * 32, "f" * 32, "0" * 31, "0" * 33, "../" * 10, "0" * 31 + "\n", "٣" * 32])
def test_no_id_of_ours(no_id: str) -> None:
    assert PredictionIds.date_of(no_id) is None
