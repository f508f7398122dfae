"""Predictions by the file, as a job: chunk by chunk, each there whole or not at all, so that a killed job goes on.

The workers that answer requests only queue such jobs; they are run by :mod:`serving.batch_worker`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Conflict, InvalidRequest, NotFound, PunctualError
from core.files import atomic_path
from core.jobs import Job, Jobs
from serving import model_store, uploads
from serving.log import PredictionIds, PredictionLog
from serving.lookup import Lookup
from serving.predict import Predictor
from serving.request import RequestReader
from serving.resolve import needs
from serving.turn import Call

if TYPE_CHECKING:
    from core.jobs import Work
    from core.repo import FeatureRepo
    from core.settings import Settings

KIND = "predict"
_CHUNK_ROWS = 5_000
_ATTEMPTS = 6  # a store that restarts is back before the last of them
_ANSWER = [
    ("prediction_id", pa.string()),
    ("class", pa.string()),
    ("probability", pa.float64()),
    ("model_version", pa.string()),
    ("stale", pa.list_(pa.string())),
    ("error", pa.string()),  # why a row has no prediction
]


def jobs_of(repo: FeatureRepo, settings: Settings) -> Jobs:
    """Return the prediction service's jobs, to be launched by who works on them and by who looks at them."""
    jobs = Jobs("prediction", repo=repo, settings=settings)
    jobs.queue(KIND, concurrency=1)
    jobs.register(KIND, lambda work, given: run(repo, settings, work, given), steps=("predict", "collect"), queue=KIND)
    return jobs


def result_of(repo: FeatureRepo, job: Job) -> Path:
    """Return the file with a job's predictions.

    Raises
    ------
    NotFound
        When its file was removed.
    Conflict
        When the job is not done.
    """
    if job.status != "done":
        raise Conflict(f"{job.id} is {job.status}: it has no result{'' if job.over else ' yet'}.")
    path = _folder(repo, job.id) / "result.parquet"
    if not path.is_file():
        raise NotFound(f"The result of {job.id} is no longer there.")
    return path


def run(repo: FeatureRepo, settings: Settings, work: Work, given: dict[str, Any]) -> dict[str, Any]:
    """Predict for the rows of an upload: the job's function."""
    folder = _folder(repo, work.id)
    source = uploads.path_of(repo.layout, str(given["upload"]))
    work.step(KIND, lambda: asyncio.run(_score(repo, settings, work, source, folder)), attempts=_ATTEMPTS)
    return work.step("collect", lambda: _collect(folder))


async def _score(repo: FeatureRepo, settings: Settings, work: Work, source: Path, folder: Path) -> int:
    """Write one part a chunk; those that are there already stay."""
    from stores.registry import open_store

    store = open_store(repo)
    wanted = needs(repo, store)
    log = PredictionLog(repo.layout.predictions, max(settings.log_queue, 2 * _CHUNK_ROWS))
    reader = RequestReader(wanted, settings.max_batch)
    lookup = Lookup(store, wanted, keep=settings.kept_rows)
    predictor = Predictor(lookup, model_store.load_champion(repo.layout), repo.clock, log, PredictionIds())
    total, done = pq.ParquetFile(source).metadata.num_rows, 0
    try:
        for number, chunk in enumerate(_chunks(source)):
            work.check()
            part = folder / f"{number:06}.parquet"
            if not part.is_file():
                answers = await _predict(predictor, reader, chunk, work)
                # What the result holds can be traced: the log first, then the part.
                await asyncio.to_thread(log.flush, 60)
                with atomic_path(part) as temporary:
                    pq.write_table(answers, temporary, compression="zstd")
            done += chunk.num_rows
            work.advance(done / total, f"{done} of {total} rows")
    finally:
        lookup.close()
        log.close()
    return done


def _chunks(source: Path) -> Iterator[pa.Table]:
    """Cut a file into chunks of the same rows each time, however it is stored."""
    for batch in pq.ParquetFile(source).iter_batches(batch_size=_CHUNK_ROWS):
        yield pa.Table.from_batches([batch])


async def _predict(predictor: Predictor, reader: RequestReader, chunk: pa.Table, work: Work) -> pa.Table:
    """Return the chunk with its predictions; a row that cannot be predicted says why."""
    answers: list[dict[str, Any]] = []
    calls: list[Call] = []
    places: list[int] = []
    for i, row in enumerate(chunk.to_pylist()):
        answers.append({name: None for name, _ in _ANSWER})
        try:
            entity = reader.check(_plain(row))
        except InvalidRequest as error:
            answers[i]["error"] = str(error)
            continue
        calls.append(Call([entity], work.id, work.actor or None))
        places.append(i)
    found = await predictor.answer(calls) if calls else []
    for i, answer in zip(places, found, strict=True):
        if isinstance(answer, PunctualError):
            answers[i]["error"] = str(answer).removeprefix("entity 0: ")
        elif isinstance(answer, Exception):
            raise answer
        else:
            answers[i].update({name: answer[0][name] for name, _ in _ANSWER if name != "error"})
    for name, kind in _ANSWER:
        chunk = chunk.append_column(f"{name}_" if name in chunk.column_names else name, _column(answers, name, kind))
    return chunk


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    # What JSON has no type for comes as the text that JSON would have.
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def _column(answers: list[dict[str, Any]], name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([answer[name] for answer in answers], kind)


def _collect(folder: Path) -> dict[str, Any]:
    """Put the parts together, in the order of the rows."""
    parts = sorted(folder.glob("[0-9]*.parquet"))
    rows = failed = 0
    with (
        atomic_path(folder / "result.parquet") as temporary,
        pq.ParquetWriter(temporary, pq.read_schema(parts[0]), compression="zstd") as writer,
    ):
        for part in parts:
            table = pq.read_table(part)
            rows += table.num_rows
            failed += table.num_rows - table["error"].null_count
            writer.write_table(table)
    return {"rows": rows, "predicted": rows - failed, "failed": failed}


def _folder(repo: FeatureRepo, job_id: str) -> Path:
    return uploads.folder(repo.layout) / "results" / job_id
