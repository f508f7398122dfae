"""Keeps truth on disk, a file a day, with a ledger that says what each file was made from.

Beside it, also a file a day, lie the keys that were asked for: by them a label finds the days that it changes.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.files import atomic_path, digest_of, read_json, sha256, write_json
from core.windows import as_utc
from monitoring.logged import within
from monitoring.matching import COUNTS_FIRST, truth_schema
from stores.sql import connect, moment, quote, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from core.layout import Layout


def truth_folder(layout: Layout) -> Path:
    """Return where the truth of a feature repo is kept."""
    return layout.monitoring / "truth"


class TruthStore:
    """The truth of one feature repo: ``<YYYY-MM-DD>.parquet`` by ``predicted_at``, and ``days.json``.

    Parameters
    ----------
    layout : Layout
        Where the feature repo keeps its data.
    """

    def __init__(self, layout: Layout) -> None:
        self._folder = truth_folder(layout)
        self._path = self._folder / "days.json"
        self._days: dict[str, dict[str, Any]] = read_json(self._path) if self._path.is_file() else {}

    def version(self, day: date) -> str | None:
        """Return what a day's truth was made from; None where there is none."""
        return self._days.get(day.isoformat(), {}).get("version")

    def counts(self, day: date) -> dict[str, int]:
        """Return how many predictions of a day there are, and are ``labelled``, ``waiting``, or came ``after``."""
        entry = self._days[day.isoformat()]
        return {name: int(entry[name]) for name in ("predictions", "labelled", "waiting", "after")}

    def keep(self, day: date, version: str, rows: pa.Table, after: int) -> bool:
        """Keep a day's truth, of :func:`monitoring.matching.truth_schema`.

        Returns
        -------
        bool
            Whether it is another than before.
        """
        path = self._file(day.isoformat())
        changed = not path.is_file() or not pq.read_table(path).equals(rows)
        if changed:
            with atomic_path(path) as temporary:
                pq.write_table(rows, temporary, compression="zstd")
        labelled = rows.num_rows - rows.column("label").null_count
        moments = pc.min_max(rows.column("moment")).as_py()
        self._days[day.isoformat()] = {
            "version": version,
            "sha256": sha256(path),
            "predictions": rows.num_rows + after,
            "labelled": labelled,
            "waiting": rows.num_rows - labelled,
            "after": after,
            "first_moment": moments["min"] and moments["min"].isoformat(),
            "last_moment": moments["max"] and moments["max"].isoformat(),
        }
        return changed

    def removed(self, day: date, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        """Return what is kept of predictions that the log no longer has: those of a day that are not among ``ids``."""
        path = self._file(day.isoformat())
        if not path.is_file():
            return schema.empty_table()
        kept = pq.read_table(path)
        kept = kept.filter(pc.invert(pc.is_in(kept.column("prediction_id"), value_set=ids)))
        columns = [
            kept.column(f.name).cast(f.type) if f.name in kept.column_names else pa.nulls(kept.num_rows, f.type)
            for f in schema
        ]
        return pa.table(columns, schema=schema)

    def keep_keys(self, day: date, keys: pa.Array) -> None:
        """Keep which keys were asked for on a day; comes before :meth:`keep`."""
        path = self._keys(day.isoformat())
        keys = pc.unique(keys)
        table = pa.table({"day": pa.array([day] * len(keys), pa.date32()), "key": keys.cast(pa.string())})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def keys(self, days: Iterable[date]) -> str | None:
        """Return SQL after FROM that reads ``day`` and ``key`` of some days; None where nothing is kept of them."""
        paths = [path for day in days if (path := self._keys(day.isoformat())).is_file()]
        return f"read_parquet([{', '.join(map(text, paths))}])" if paths else None

    def save(self) -> None:
        """Write the ledger: what is in the files comes before what is said of them."""
        write_json(self._path, self._days)

    def read(self, since: datetime, until: datetime, slices: list[str], version: str | None = None) -> pa.Table:
        """Return what is kept of the predictions made in ``[since, until)``, with ``first`` and ``once`` worked out.

        ``label`` is null for those that wait. Of those for one row of the spine one is ``first`` for each model
        version, and one is ``once`` of all versions that are asked for. Where the spine has no row yet, they are of one
        row as far as anybody knows if their keys are the same, and only those of the window are looked at.
        """
        own, related = self._files(since, until)
        schema = pa.schema([*truth_schema(slices), ("first", pa.bool_()), ("once", pa.bool_())])
        if not own:
            return schema.empty_table()
        window, same_model = within(since, until), "true" if version is None else f"model_version = {text(version)}"
        with connect() as con:
            con.execute(f"CREATE VIEW own AS SELECT * FROM {self._relation(own)} WHERE {window} AND {same_model}")
            there = {row[0] for row in con.execute("DESCRIBE own").fetchall()}
            [(earliest, latest)] = con.sql("SELECT min(moment), max(moment) FROM own").fetchall()
            about = f"moment BETWEEN {moment(earliest)} AND {moment(latest)}" if earliest else "false"
            asked = "prediction_id, predicted_at, model_version, key, moment, agrees, label"
            con.execute(
                "CREATE TEMP TABLE placed AS "
                f"SELECT prediction_id, predicted_at, {_place('model_version')} AS version, {_place()} AS place "
                f"FROM (SELECT {asked} FROM {self._relation(related)} WHERE {same_model} AND {about} "
                f"UNION ALL SELECT {asked} FROM own WHERE moment IS NULL)"
            )
            columns = ", ".join(quote(n) if n in there else f"NULL AS {quote(n)}" for n in schema.names[:-2])
            rows = con.sql(
                f"SELECT {columns}, version = 1 AS first, place = 1 AS once FROM own "
                f"JOIN (SELECT prediction_id, version, place FROM placed WHERE {window}) USING (prediction_id) "
                "ORDER BY prediction_id"
            ).to_arrow_table()
        return rows.cast(schema)

    def count(self, since: datetime, until: datetime) -> int:
        """Return how many labelled predictions made in ``[since, until)`` are ``once``, as :meth:`read` has it."""
        own, related = self._files(since, until)
        if not own:
            return 0
        with connect() as con:
            [(count,)] = con.sql(
                "SELECT count(*) FROM (SELECT predicted_at "
                f"FROM {self._relation(related)} WHERE label IS NOT NULL QUALIFY {_place()} = 1) "
                f"WHERE {within(since, until)}"
            ).fetchall()
        return int(count)

    def newest_label(self, until: datetime, version: str) -> datetime | None:
        """Return when a version made the newest prediction before ``until`` whose label is known; None without one."""
        last = as_utc(until).date().isoformat()
        days = [day for day, entry in self._days.items() if day <= last and entry["labelled"]]
        days = [day for day in days if self._file(day).is_file()]
        if not days:
            return None
        with connect() as con:
            [(newest,)] = con.sql(
                f"SELECT max(predicted_at) FROM {self._relation(days)} "
                f"WHERE label IS NOT NULL AND {within(None, until, version)}"
            ).fetchall()
        return newest and as_utc(newest)

    def labels(self, days: Iterable[date], ids: Sequence[str]) -> dict[str, int]:
        """Return the labels that are known of some predictions, which were made on these days.

        Returns
        -------
        dict
            Prediction id -> 0 or 1; ids whose label is not known are left out.
        """
        there = sorted(day.isoformat() for day in days if self._file(day.isoformat()).is_file())
        if not there:
            return {}
        with connect() as con:
            known = con.execute(
                f"SELECT prediction_id, label FROM {self._relation(there)} "
                "WHERE label IS NOT NULL AND prediction_id IN (SELECT unnest($ids))",
                {"ids": list(ids)},
            )
            return dict(known.fetchall())

    def fingerprint(self, since: datetime, until: datetime) -> str:
        """Return what changes when anything that :meth:`read` gives for a window may have changed."""
        _, related = self._files(since, until)
        return digest_of(*(f"{day} {self._days[day]['sha256']}" for day in related))

    def _files(self, since: datetime, until: datetime) -> tuple[list[str], list[str]]:
        """Return the days of a window, and all days with predictions for the same rows of the spine."""
        first, last = as_utc(since).date().isoformat(), as_utc(until).date().isoformat()
        own = sorted(day for day in self._days if first <= day <= last and self._file(day).is_file())
        spans = [(e["first_moment"], e["last_moment"]) for day in own if (e := self._days[day])["first_moment"]]
        if not spans:
            return own, own
        earliest, latest = min(span[0] for span in spans), max(span[1] for span in spans)
        related = sorted(
            day
            for day, e in self._days.items()
            if day in own or (e["first_moment"] and e["first_moment"] <= latest and e["last_moment"] >= earliest)
        )
        return own, [day for day in related if self._file(day).is_file()]

    def _relation(self, days: list[str]) -> str:
        return f"read_parquet([{', '.join(text(self._file(day)) for day in days)}], union_by_name = true)"

    def _keys(self, day: str) -> Path:
        return self._folder / "keys" / f"{day}.parquet"

    def _file(self, day: str) -> Path:
        return self._folder / f"{day}.parquet"


def _place(*more: str) -> str:
    """Return SQL for the place of a prediction among those for the same row of the spine; the first one counts."""
    row = ", ".join(("key", "moment", *more))
    # What the log no longer has may wait for ever: it does not keep one from counting whose label is known.
    return f"row_number() OVER (PARTITION BY {row} ORDER BY label IS NULL, {COUNTS_FIRST})"
