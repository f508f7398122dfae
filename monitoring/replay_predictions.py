"""What a replay predicts, step by step: a file a step, written when all of its answers are there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from core.errors import RequestError
from core.files import atomic_path
from monitoring.logged import logged
from stores.upcoming import Upcoming

if TYPE_CHECKING:
    from core.client import PredictionClient
    from core.repo import FeatureRepo
    from stores.upcoming import Due

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("entity", pa.string()),  # JSON: what was sent
        ("moment", _TIME),  # for when it was due
        ("predicted_at", _TIME),  # the problem's clock when it was asked for: never after its moment
        ("prediction_id", pa.string()),  # null where the service refused
        ("model_version", pa.string()),
        ("probability", pa.float64()),
        ("refused", pa.string()),  # why
    ]
)
_STAMP = "%Y%m%dT%H%M%SZ"
_Row = dict[str, Any]


class Asker:
    """Asks the prediction service for what falls due, once each.

    Parameters
    ----------
    repo : FeatureRepo
        Says what is due.
    client : PredictionClient
        Who is asked.
    folder : Path
        Gets a file a step.
    most : int
        Entities that one request may hold.

    Attributes
    ----------
    count : int
        Predictions made so far, those of earlier runs included.
    """

    def __init__(self, repo: FeatureRepo, client: PredictionClient, folder: Path, most: int) -> None:
        self.folder = folder
        self.count = sum(1 for id_ in read_predictions(folder).column("prediction_id") if id_.is_valid)
        self._repo, self._client, self._most = repo, client, most
        self._upcoming = Upcoming(repo)
        self._first = True

    def ask(self, now: datetime, until: datetime) -> None:
        """Predict what is due in ``[now, until)``, unless that was done.

        Raises
        ------
        ServiceUnavailable
            When the service does not answer; nothing is written then.
        RequestError
            When it refuses without saying which entity it means.
        """
        path = self.folder / f"{now:{_STAMP}}.parquet"
        if not path.is_file():
            due = self._upcoming.between(now, until)
            # Only the step that a run begins with can have been cut off between an answer and this file.
            rows = self._answered(due, now) if self._first else []
            done = {id(row["due"]) for row in rows}
            left = [one for one in due if id(one) not in done]
            for start in range(0, len(left), self._most):
                rows += self._predict(left[start : start + self._most])
            _write(path, rows, now)
            self.count += sum(row["prediction_id"] is not None for row in rows)
        self._first = False

    def _predict(self, due: Sequence[Due]) -> list[_Row]:
        """Return a row for each; those that the service refuses are left out of a second request."""
        if not due:
            return []
        try:
            answers = self._client.predict([one.entity for one in due])
        except RequestError as error:
            refused = {int(e["entity"]): str(e["detail"]) for e in error.context.get("errors", []) if "entity" in e}
            if not refused:
                raise
            kept = [one for i, one in enumerate(due) if i not in refused]
            return self._predict(kept) + [_row(due[i], None, None, None, why) for i, why in refused.items()]
        return [_row(one, a.prediction_id, a.model_version, a.probability) for one, a in zip(due, answers, strict=True)]

    def _answered(self, due: Sequence[Due], now: datetime) -> list[_Row]:
        """Return rows for what the log has of this very moment: answers that a killed run did not live to note."""
        answers: defaultdict[str, list[_Row]] = defaultdict(list)
        names = {name for one in due for name in one.entity}
        for row in logged(self._repo, now, now + timedelta(microseconds=1)).to_pylist():
            entity = {name: value for name, value in json.loads(row["entity"]).items() if name in names}
            answers[_json(entity)].append(row)
        rows = []
        for one in due:
            if found := answers[_json(one.entity)]:
                answer = found.pop(0)
                rows.append(_row(one, answer["prediction_id"], answer["model_version"], answer["probability"]))
        return rows


def read_predictions(folder: Path) -> pa.Table:
    """Return what a replay has predicted so far: :data:`SCHEMA`, in the order of time."""
    files = sorted(str(path) for path in folder.glob("[!.]*.parquet"))
    return ds.dataset(files, schema=SCHEMA, format="parquet").to_table() if files else SCHEMA.empty_table()


def _row(
    due: Due, prediction_id: str | None, version: str | None, probability: float | None, refused: str | None = None
) -> _Row:
    return {
        "due": due,
        "prediction_id": prediction_id,
        "model_version": version,
        "probability": probability,
        "refused": refused,
    }


def _write(path: Path, rows: Sequence[_Row], now: datetime) -> None:
    whole = [
        row | {"entity": _json(row["due"].entity), "moment": row["due"].moment, "predicted_at": now} for row in rows
    ]
    table = pa.Table.from_pylist([{name: row[name] for name in SCHEMA.names} for row in whole], schema=SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _json(entity: dict[str, Any]) -> str:
    return json.dumps(entity, sort_keys=True)
