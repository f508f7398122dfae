"""The prediction log: nothing answered is lost, memory is bounded, and every prediction can be traced."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from core.errors import Overloaded, Unavailable
from core.model import PredictionModel
from core.settings import Settings
from serving.app import build_app
from serving.log import SCHEMA, PredictionIds, PredictionLog
from tests.asgi import Api, problem
from tests.serving.world import World

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


def record(number: int) -> dict[str, Any]:
    """Return a prediction to log."""
    return {
        "prediction_id": f"{number:032x}",
        "predicted_at": NOW,
        "served_at": NOW,
        "entity": {"loan_id": number, "asked_at": NOW},
        "features": {"amount": 1.5, "region": "west", "hour": None, "share": float("nan")},
        "features_as_of": {"loan_terms": NOW, "customer_payments": None},
        "stale": ["customer_payments"],
        "probability": 0.25,
        "class": "paid",
        "model_version": "1",
        "feature_service": "default_risk",
        "schema_hash": "abc",
        "correlation_id": "here",
    }


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.parquet"))


def logged(folder: Path) -> list[str]:
    """Return the ids in the log, in the order of the parts."""
    return [i for part in parts(folder) for i in pq.read_table(part)["prediction_id"].to_pylist()]


def blocked_disk(folder: Path, first: dict[str, Any]) -> Path:
    """Let the first part's temporary file be a pipe: writing it waits until somebody reads."""
    name = f".{first['prediction_id']}-{os.getpid()}.parquet.{os.getpid()}.tmp"
    path = folder / first["served_at"].strftime("%Y-%m-%d") / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    return path


def eventually(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_clean_stop_writes_everything(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, 100_000, flush_seconds=3600)
    for start in range(0, 45_000, 1000):
        log.append([record(i) for i in range(start, start + 1000)])
    log.close()
    assert logged(tmp_path) == [f"{i:032x}" for i in range(45_000)]
    assert not list(tmp_path.glob("*/.*"))


def test_what_was_logged_is_what_was_given(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, 10)
    log.append([record(7)])
    log.close()
    table = pq.read_table(parts(tmp_path)[0])
    assert table.schema.equals(SCHEMA)
    row = table.to_pylist()[0]
    assert row["entity"] == '{"loan_id":7,"asked_at":"2024-03-01T12:00:00Z"}'
    assert row["features"] == '{"amount":1.5,"region":"west","hour":null,"share":null}'
    assert row["features_as_of"] == '{"loan_terms":"2024-03-01T12:00:00Z","customer_payments":null}'
    assert row["predicted_at"] == NOW
    assert row["stale"] == ["customer_payments"]


def test_written_by_itself_after_a_while(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, 10, flush_seconds=0.05)
    log.append([record(1)])
    eventually(lambda: logged(tmp_path) == [f"{1:032x}"])
    log.close()


def test_a_steady_stream_makes_few_parts(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, 100_000, flush_seconds=0.5)
    end = time.monotonic() + 2
    count = 0
    while time.monotonic() < end:
        log.append([record(count)])
        count += 1
        time.sleep(0.0005)
    log.close()
    assert len(logged(tmp_path)) == count
    assert len(parts(tmp_path)) <= 6


def test_flushing_does_not_wait_for_what_comes_after(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, 1_000_000, flush_seconds=3600)
    stop = threading.Event()

    def stream() -> None:
        number = 1
        while not stop.is_set():
            log.append([record(number)])
            number += 1
            time.sleep(0.0002)

    log.append([record(0)])
    thread = threading.Thread(target=stream)
    thread.start()
    try:
        start = time.monotonic()
        for _ in range(3):
            log.flush(timeout=5)
        assert f"{0:032x}" in logged(tmp_path)
        assert time.monotonic() - start < 5
    finally:
        stop.set()
        thread.join()
        log.close()


def test_bounded_while_the_disk_is_blocked_and_whole_when_it_goes_on(tmp_path: Path) -> None:
    pipe = blocked_disk(tmp_path, record(0))
    log = PredictionLog(tmp_path, 100, flush_seconds=0.01)
    start = time.monotonic()
    for number in range(100):
        log.check_room(1)
        log.append([record(number)])
    assert time.monotonic() - start < 1, "appending waited for the disk"
    with pytest.raises(Overloaded, match="100"):
        log.check_room(1)
    assert log.lag.waiting == 100
    with pipe.open("rb") as reader:  # the disk goes on; a pipe cannot be synced, so this try fails and the next is good
        reader.read()
    log.flush()
    log.check_room(100)
    log.append([record(100)])
    log.close()
    assert logged(tmp_path) == [f"{i:032x}" for i in range(101)]


def test_a_disk_that_refuses_is_told_of_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    log = PredictionLog(folder, 10, flush_seconds=0.01)
    log.append([record(1)])
    eventually(lambda: log.lag.failing)
    with pytest.raises(Unavailable, match="1 predictions could not be logged"):
        log.flush(timeout=0.1)
    folder.unlink()
    log.flush()
    assert log.lag.failing == ""
    log.close()
    assert logged(folder) == [f"{1:032x}"]


def test_what_came_while_the_disk_refused_is_written_at_the_stop(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    log = PredictionLog(folder, 10, flush_seconds=0.01)
    log.append([record(0)])
    eventually(lambda: log.lag.failing)
    log.append([record(1), record(2)])
    folder.unlink()
    log.close()
    assert logged(folder) == [f"{i:032x}" for i in range(3)]


def test_what_could_not_be_written_at_the_stop_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    log = PredictionLog(folder, 10, flush_seconds=3600)
    log.append([record(1), record(2)])
    log.close()
    lost = [r for r in caplog.records if r.getMessage() == "predictions lost at stop"]
    assert [r.count for r in lost] == [2]  # type: ignore[attr-defined]


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    pipe = blocked_disk(tmp_path, record(0))
    log = PredictionLog(tmp_path, 10, flush_seconds=0.01)
    log.append([record(0)])
    eventually(pipe.exists)
    assert parts(tmp_path) == []
    with pipe.open("rb") as reader:
        reader.read()
    log.close()
    assert len(parts(tmp_path)) == 1


def test_ids_sort_by_time_are_unique_and_tell_their_day() -> None:
    ids = PredictionIds()
    given = [ids.next() for _ in range(10_000)]
    assert given == sorted(set(given))
    assert len({i[15:] for i in given}) == 10_000
    today = datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 - ids carry the machine's time
    assert PredictionIds.date_of(given[-1]) in {f"{d:%Y-%m-%d}" for d in (today, today - timedelta(minutes=1))}


@pytest.mark.parametrize("no_id", ["", "x" * 32, "f" * 32, "0" * 31, "0" * 33, "../" * 10, "0" * 31 + "\n", "٣" * 32])
def test_no_id_of_ours(no_id: str) -> None:
    assert PredictionIds.date_of(no_id) is None


@pytest.fixture
def copy_api(world: World, tmp_path: Path) -> Any:
    """Give a service whose log only one test writes."""
    copy = world.copy_to(tmp_path / "loans")
    with Api(build_app(copy.repo, Settings(feature_repo=copy.folder, log_queue=50))) as served:
        yield served, copy.folder / "data" / "predictions"


def test_every_prediction_is_logged_as_it_was_answered(copy_api: Any, world: World) -> None:
    api, folder = copy_api
    answer = api.predict({"loan_id": 3000, "amount": 12}, {"loan_id": 1507}, headers={"x-request-id": "trace-me-1"})
    given = {p["prediction_id"]: p for p in answer.json()["predictions"]}
    api.get(f"/predictions/{next(iter(given))}")  # flushes
    rows = {row["prediction_id"]: row for part in parts(folder) for row in pq.read_table(part).to_pylist()}
    assert rows.keys() == given.keys()
    for prediction_id, prediction in given.items():
        row = rows[prediction_id]
        for name in ("probability", "class", "model_version", "stale"):
            assert row[name] == prediction[name]
        assert row["correlation_id"] == "trace-me-1"
        assert row["feature_service"] == "default_risk"
        assert row["schema_hash"] == world.model.schema_hash
        assert row["predicted_at"] == world.repo.clock.now()


def test_the_logged_vector_gives_the_logged_score_again(copy_api: Any, world: World) -> None:
    api, _ = copy_api
    ids = [p["prediction_id"] for p in api.predict(*[{"loan_id": d * 100} for d in range(20)]).json()["predictions"]]
    model: PredictionModel = world.model
    for prediction_id in ids:
        traced = api.get(f"/predictions/{prediction_id}").json()
        columns = {name: [value] for name, value in traced["features"].items()}
        assert list(columns) == [f.name for f in model.features]
        assert model.predict_proba(columns)[0] == pytest.approx(traced["probability"], abs=1e-12)


def test_a_prediction_is_traced_to_its_data(copy_api: Any, world: World) -> None:
    api, _ = copy_api
    prediction = api.predict({"loan_id": 3000}).json()["predictions"][0]
    answer = api.get(f"/predictions/{prediction['prediction_id']}")
    assert answer.status_code == httpx.codes.OK, answer.text
    traced = answer.json()
    lineage = world.model.metadata
    assert traced["lineage"] == {**lineage, "model_version": "1"}
    assert {"snapshot", "feature_service", "data_version", "registry_version"} <= set(traced["lineage"])
    assert traced["entity"]["loan_id"] == 3000
    assert {"customer_id", "amount"} <= set(traced["entity"])
    assert traced["probability"] == prediction["probability"]
    assert traced["features_as_of"] == prediction["features_as_of"]


def test_traced_right_after_it_was_given_and_while_others_are(copy_api: Any) -> None:
    api, _ = copy_api
    for _ in range(5):
        ids = [p["prediction_id"] for p in api.predict({"loan_id": 3000}, {"loan_id": 1507}).json()["predictions"]]
        for prediction_id in ids:
            assert api.get(f"/predictions/{prediction_id}").json()["prediction_id"] == prediction_id


def test_traced_when_its_part_was_begun_before_midnight(copy_api: Any) -> None:
    api, folder = copy_api
    prediction_id = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    path = f"/predictions/{prediction_id}"
    assert api.get(path).status_code == httpx.codes.OK
    part = parts(folder)[0]
    day = datetime.fromisoformat(part.parent.name)
    for days, status in ((1, 200), (2, 404), (-1, 404)):
        other = folder / f"{day - timedelta(days=days):%Y-%m-%d}"
        other.mkdir()
        part = part.rename(other / part.name)
        assert api.get(path).status_code == status


def test_an_id_that_could_be_ours_but_is_in_no_part(copy_api: Any) -> None:
    api, _ = copy_api
    api.predict({"loan_id": 3000})
    problem(api.get(f"/predictions/{PredictionIds().next()}"), 404)


def test_a_request_is_refused_when_the_log_cannot_keep_up(copy_api: Any) -> None:
    api, folder = copy_api
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")  # the disk refuses
    for _ in range(5):
        assert api.predict(*[{"loan_id": 3000}] * 10).status_code == httpx.codes.OK
    answer = api.predict({"loan_id": 3000})
    assert "50" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    eventually(lambda: api.get("/health").status_code == httpx.codes.SERVICE_UNAVAILABLE)
    assert api.get("/health").json()["dependencies"]["log"]["status"] == "error"
    folder.unlink()  # the disk is back
    eventually(lambda: api.predict({"loan_id": 3000}).status_code == httpx.codes.OK)
    eventually(lambda: len(logged(folder)) >= 51)
    assert api.get("/health").status_code == httpx.codes.OK


def test_a_wrong_request_leaves_nothing_in_the_log(copy_api: Any) -> None:
    api, folder = copy_api
    problem(api.predict({"loan_id": 3000}, {"loan_id": 999_999}), 404)
    problem(api.predict({"loan_id": 3000}, {"loan_id": "x"}), 422)
    kept = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    api.get(f"/predictions/{kept}")
    assert logged(folder) == [kept]
