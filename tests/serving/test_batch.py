"""Predictions by the file: refused up front or answered row by row, as a job that survives being killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from core.clock import SystemClock
from core.jobs import Job, Jobs
from core.repo import FeatureRepo
from serving import uploads
from serving.batch import jobs_of
from serving.resolve import needs
from stores.registry import open_store
from tests.asgi import Api, problem
from tests.core.keys import accounts_of
from tests.serving.test_log import eventually, logged
from tests.serving.test_server import ROOT
from tests.serving.world import World, service, settings_of

pytestmark = pytest.mark.slow

PARQUET = "application/vnd.apache.parquet"


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    held = io.BytesIO()
    pq.write_table(table, held, **options)
    return held.getvalue()


def upload(api: Api, content: bytes, kind: str, **headers: str) -> httpx.Response:
    return api.post("/predict/batch", content=content, headers={"content-type": kind, **headers})


@pytest.fixture
def working(own_world: World) -> Iterator[tuple[Api, Jobs, World]]:
    """Give a service, and what works on its jobs in this process."""
    own_world.fill()
    jobs = jobs_of(own_world.repo, settings_of(own_world.repo))
    jobs.launch()
    try:
        with service(own_world.repo, max_upload_bytes=2_000_000) as api:
            yield api, jobs, own_world
    finally:
        jobs.close()


def over(api: Api, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> bool:
        found.update(api.get(f"/jobs/{job_id}").json())
        return found["status"] in ("done", "failed", "cancelled")

    eventually(look)
    return found


def result(api: Api, job_id: str) -> pa.Table:
    answer = api.get(f"/predict/batch/{job_id}/result")
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.headers["content-type"] == PARQUET
    return pq.read_table(io.BytesIO(answer.content))


def test_every_row_gets_a_prediction_or_a_reason(working: tuple[Api, Jobs, World]) -> None:
    api, _, world = working
    rows = {"loan_id": [3000, 999_999, None, 3001], "amount": [None, 5, 5, 12]}
    table = pa.table({"loan_id": pa.array(rows["loan_id"], pa.int64()), "amount": pa.array(rows["amount"], pa.int64())})
    answer = upload(api, as_parquet(table), PARQUET)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    job = over(api, answer.json()["id"])
    assert job["status"] == "done", job
    assert job["result"] == {"rows": 4, "predicted": 2, "failed": 2}
    got = result(api, job["id"]).to_pylist()
    assert [row["loan_id"] for row in got] == rows["loan_id"]
    assert "999999" in got[1]["error"]
    assert "loan_id is missing" in got[2]["error"]
    direct = api.predict({"loan_id": 3000}, {"loan_id": 3001, "amount": 12}).json()["predictions"]
    assert [got[0]["probability"], got[3]["probability"]] == [p["probability"] for p in direct]
    assert got[0]["error"] is None
    ids = {got[0]["prediction_id"], got[3]["prediction_id"]}
    assert ids <= set(logged(world.folder / "data" / "predictions"))
    traced = api.get(f"/predictions/{got[0]['prediction_id']}").json()
    assert (traced["correlation_id"], traced["actor"], traced["what_if"]) == (job["id"], "key:tests", False)


def test_the_same_file_sent_several_times_at_once_is_kept_for_each(working: tuple[Api, Jobs, World]) -> None:
    api, _, _ = working
    table = pa.table({"loan_id": pa.array([3000] * 100_000, pa.int64())})
    sent = {"content": as_parquet(table), "headers": {"content-type": PARQUET}}
    answers = api.gather([("POST", "/predict/batch", sent)] * 6)
    assert [answer.status_code for answer in answers] == [httpx.codes.ACCEPTED] * 6
    uploads_of = {answer.json()["arguments"]["upload"] for answer in answers}
    assert len(uploads_of) == 1
    for answer in answers:
        api.post(f"/jobs/{answer.json()['id']}/cancel")


def test_csv_gives_the_same(working: tuple[Api, Jobs, World]) -> None:
    api, _, _ = working
    table = pa.table({"loan_id": pa.array([3000, 3001, 3002], pa.int64())})
    held = io.BytesIO()
    pa_csv.write_csv(table, held)
    jobs = [upload(api, held.getvalue(), "text/csv; charset=utf-8"), upload(api, as_parquet(table), PARQUET)]
    first, second = (result(api, over(api, job.json()["id"])["id"])["probability"] for job in jobs)
    assert first == second


def test_the_same_key_and_file_give_the_same_job(working: tuple[Api, Jobs, World]) -> None:
    api, _, _ = working
    first = upload(api, b"loan_id\n3000\n", "text/csv", **{"idempotency-key": "monday"})
    again = upload(api, b"loan_id\n3000\n", "text/csv", **{"idempotency-key": "monday"})
    assert first.json()["id"] == again.json()["id"]
    problem(upload(api, b"loan_id\n3001\n", "text/csv", **{"idempotency-key": "monday"}), 409)


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b"loan_id\n", "text/csv", "no rows"),
        (b"", "text/csv", "csv"),
        (b"loan\n3000\n", "text/csv", "'loan'"),
        (b"loan_id,loan_id\n1,2\n", "text/csv", "twice"),
        (b"amount\n5\n", "text/csv", "loan_id"),
        (b"loan_id\nabc\n", "text/csv", "abc"),
        (b"\xff\xfe\n\x00", "text/csv", "column"),
        (b"no parquet", PARQUET, "parquet"),
        (b"PAR1PAR1PAR1", PARQUET, "parquet"),
        (b"loan_id\n3000\n", "application/json", "content type"),
        (b"loan_id\n3000\n", "", "content type"),
        (as_parquet(pa.table({"loan_id": ["a", "b"]})), PARQUET, "loan_id"),
        (as_parquet(pa.table({"loan_id": [[1], [2]]})), PARQUET, "loan_id"),
        (as_parquet(pa.table({"loan_id": pa.array(["1"], pa.json_())})), PARQUET, "json"),
        (
            as_parquet(pa.table({"loan_id": ["a"]}), use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"),
            PARQUET,
            "delta",
        ),
        (as_parquet(pa.table({"loan_id": pa.array([], pa.int64())})), PARQUET, "no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_up_front(api: Api, content: bytes, kind: str, says: str) -> None:
    assert says in problem(upload(api, content, kind), 422)["detail"].lower()


def test_a_file_that_is_too_large(working: tuple[Api, Jobs, World]) -> None:
    problem(upload(working[0], b"loan_id\n" + b"3000\n" * 500_000, "text/csv"), 413)


def test_a_file_that_swells(api: Api) -> None:
    swollen = as_parquet(pa.table({"loan_id": pa.array([3000] * 5_000_001, pa.int64())}))
    assert len(swollen) < 1_000_000
    problem(upload(api, swollen, PARQUET), 413)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(5_000)], ids=str
)
def test_a_text_that_swells(orders_api: Api, kind: pa.DataType) -> None:
    rows = 100_000
    ids = pa.array([b"x" * 5_000] * rows, kind if pa.types.is_fixed_size_binary(kind) else pa.large_binary()).cast(kind)
    content = {"order_id": ids, "express": [True] * rows, "discount": [0.5] * rows}
    swollen = as_parquet(pa.table({**content, "channel": ["web"] * rows}))
    assert len(swollen) < 20_000
    assert "bytes" in problem(upload(orders_api, swollen, PARQUET), 413)["detail"]


_UPLOADING = """
import sys
from pathlib import Path

from core.repo import FeatureRepo
from tests.serving.world import service


def peak():
    told = Path("/proc/self/status").read_text()
    return int(told.partition("VmHWM:")[2].split()[0]) // 1000


with service(FeatureRepo.load(Path(sys.argv[1]))) as api:
    body, before = Path(sys.argv[2]).read_bytes(), peak()
    headers = {"content-type": "application/vnd.apache.parquet"}
    answers = api.gather([("POST", "/predict/batch", {"content": body, "headers": headers})] * 4)
    print({answer.status_code for answer in answers}, peak() - before)
"""


@pytest.mark.parametrize(
    ("rows", "texts", "status"),
    [
        (5_000_000, ["x" * 50], 413),
        (5_000_000, [str(i) * 8 for i in range(10, 99)], 413),
        (2_000_000, ["x" * 10], 202),
        (600_000, [f"{i:010}" for i in range(600_000)], 202),
    ],
    ids=["one long", "some long", "one short", "all others"],
)
def test_what_files_of_several_texts_take_in_memory(
    orders_repo: FeatureRepo, tmp_path: Path, rows: int, texts: list[str], status: int
) -> None:
    """However many rows, however many at once: a fraction of what the values take, which is up to 750 MB a file."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.arange(rows, dtype=np.int32) % len(texts)), texts)
    if len(texts) == rows:
        text = text.cast(pa.string())  # or else it would be written as no writer of ids does
    flags, prices = pa.array(np.zeros(rows, bool)), pa.array(np.zeros(rows))
    columns = dict.fromkeys(("order_id", "product_code", "channel"), text)
    (tmp_path / "ids.parquet").write_bytes(as_parquet(pa.table({**columns, "express": flags, "discount": prices})))
    arguments = [sys.executable, "-c", _UPLOADING, str(orders_repo.layout.repo), str(tmp_path / "ids.parquet")]
    told = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    answered, megabytes = told.rsplit(maxsplit=1)
    assert answered == f"{{{status}}}"
    assert int(megabytes) < 200


def test_a_text_that_many_rows_share_is_fine(orders_repo: FeatureRepo) -> None:
    table = pa.table({"order_id": ["A1"] * 1000, "channel": ["web", None] * 500, "express": [True] * 1000})
    table = table.append_column("discount", pa.array([0.5] * 1000))
    read = uploads.read(as_parquet(table), PARQUET, needs(orders_repo, open_store(orders_repo)))
    assert pa.Table.from_batches(read).equals(table)


def test_what_somebody_asked_by_the_file_is_theirs(working: tuple[Api, Jobs, World]) -> None:
    api, _, world = working
    keys = accounts_of(world.repo, settings_of(world.repo)).keys
    other = {"authorization": f"Bearer {keys.create('other', ['predict', 'read'], owner='tests')[0]}"}
    overseer = {"authorization": f"Bearer {keys.create('overseer', ['predict', 'data'], owner='tests')[0]}"}
    monday = {"idempotency-key": "monday"}
    job = upload(api, b"loan_id\n3000\n", "text/csv", **monday).json()["id"]
    assert over(api, job)["status"] == "done"
    made = result(api, job)["prediction_id"][0].as_py()
    for path in (f"/jobs/{job}", f"/jobs/{job}/log", f"/predict/batch/{job}/result", f"/predictions/{made}"):
        assert api.get(path).status_code == 200, path
        assert api.get(path, headers=overseer).status_code == 200, path
        problem(api.get(path, headers=other), 404)
    problem(api.get(f"/explain/{made}", headers=other), 404)
    for deed in ("cancel", "retry"):
        problem(api.post(f"/jobs/{job}/{deed}", headers=other), 404)
    assert [one["id"] for one in api.get("/jobs").json()["jobs"]] == [job]
    assert api.get("/jobs", headers=other).json() == {"jobs": []}
    theirs = upload(api, b"loan_id\n3001\n", "text/csv", **monday, **other)
    assert theirs.status_code == 202, "another's key of the same name is another key"
    assert theirs.json()["id"] != job


def test_nobody_fills_the_queue_for_all(own_world: World) -> None:
    with service(own_world.repo) as api:
        own_world.fill()
        for row in range(20):
            assert upload(api, b"loan_id\n%d\n" % (3000 + row), "text/csv").status_code == 202
        refused = upload(api, b"loan_id\n3999\n", "text/csv")
        assert refused.headers["retry-after"] == "60"
        problem(refused, 429)


def test_what_starts_and_stops_jobs_is_in_the_audit_log(working: tuple[Api, Jobs, World]) -> None:
    api, _, world = working
    job = upload(api, b"loan_id\n3000\n", "text/csv").json()["id"]
    over(api, job)
    api.post(f"/jobs/{job}/cancel")
    api.predict({"loan_id": 3000})
    records = accounts_of(world.repo, settings_of(world.repo)).audit_log()
    told = [(one["action"], one["outcome"]) for one in records if one["actor"] == "key:tests"]
    assert told[:2] == [("POST /jobs/{job_id}/cancel", "refused (409)"), ("POST /predict/batch", "done")]


def test_files_are_kept_for_as_long_as_the_setting_says(working: tuple[Api, Jobs, World]) -> None:
    api, _, world = working
    layout = world.repo.layout
    old, new = (upload(api, b"loan_id\n%d\n" % row, "text/csv").json() for row in (3000, 3001))
    for job in (old, new):
        over(api, job["id"])
    for path in (uploads.path_of(layout, old["arguments"]["upload"]), uploads.folder(layout) / "results" / old["id"]):
        os.utime(path, (1e9, 1e9))
    assert uploads.sweep(layout, SystemClock().now() - timedelta(days=1)) == 2
    problem(api.get(f"/predict/batch/{old['id']}/result"), 404)
    assert result(api, new["id"]).num_rows == 1


def test_a_result_that_is_not_there(working: tuple[Api, Jobs, World]) -> None:
    api, jobs, _ = working
    problem(api.get("/predict/batch/predict-0123456789abcdef0123/result"), 404)
    problem(api.get("/predict/batch/..%2F..%2Fsecrets/result"), 404)
    job = jobs.start("predict", {"upload": "gone", "rows": 1}, actor="key:tests")
    assert over(api, job.id)["status"] == "failed"
    problem(api.get(f"/predict/batch/{job.id}/result"), 409)


def test_a_worker_only_queues(own_world: World) -> None:
    with service(own_world.repo) as api:
        own_world.fill()
        job = upload(api, b"loan_id\n3000\n", "text/csv").json()
        assert api.get("/health").json()["dependencies"]["jobs"]["here"] is False
        assert api.get(f"/jobs/{job['id']}").json()["status"] == "queued"


class Worker:
    """The process that predicts by the file."""

    def __init__(self, world: World) -> None:
        address = f"127.0.0.1:{world.server.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.batch_worker"],
            cwd=ROOT,
            env=os.environ | {"PUNCTUAL_FEATURE_REPO": str(world.folder), "PUNCTUAL_REDIS": address},
            stdin=subprocess.PIPE,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)


def test_killed_in_the_middle_it_goes_on_with_the_next_chunk(own_world: World) -> None:
    own_world.fill()
    count = 60_000
    ids = [3000 + i % 20 for i in range(count)]
    with service(own_world.repo) as api:
        job_id = upload(api, as_parquet(pa.table({"loan_id": pa.array(ids, pa.int64())})), PARQUET).json()["id"]
        folder = own_world.folder / "data" / "jobs" / "prediction" / "results" / job_id
        worker = Worker(own_world)
        wait_for(lambda: len(list(folder.glob("[0-9]*.parquet"))) >= 2)
        worker.kill()
        before = {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.parquet")}
        assert len(before) < count // 5_000, "it was done before it could be killed"
        worker = Worker(own_world)
        try:
            wait_for(lambda: api.get(f"/jobs/{job_id}").json()["status"] == "done")
        finally:
            assert worker.stop() == 0
        after = {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.parquet")}
        assert before.items() <= after.items(), "a chunk was predicted twice"
        table = result(api, job_id)
    assert table["loan_id"].to_pylist() == ids
    assert table["error"].null_count == count
    made = table["prediction_id"].to_pylist()
    assert len(set(made)) == count
    assert set(made) <= set(logged(own_world.folder / "data" / "predictions"))


def test_a_store_that_restarts_fails_no_job(own_world: World) -> None:
    own_world.fill()
    own_world.server.stop()
    jobs = jobs_of(own_world.repo, settings_of(own_world.repo))
    jobs.launch()
    try:
        with service(own_world.repo) as api:
            job_id = upload(api, b"loan_id\n3000\n3001\n", "text/csv").json()["id"]
            wait_for(lambda: job_of(jobs, job_id).status == "running")
            time.sleep(1)  # it fails at least once
            own_world.server.start()
            wait_for(lambda: job_of(jobs, job_id).over)
            assert job_of(jobs, job_id).result == {"rows": 2, "predicted": 2, "failed": 0}
    finally:
        jobs.close()


def job_of(jobs: Jobs, job_id: str) -> Job:
    return jobs.get(job_id)


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
