"""How often the drift test cries wolf, and how soon it sees what was spoilt, on the training set of a feature repo.

``python -m benchmarks.drift`` (``--write`` also fills the tables of docs/drift.md) needs a repo with a training set and
a champion: ``punctual up --check``. It prints one line of JSON, and ends with 1 where more than 5 % of any
kind of window without drift alarm.

*Without drift*: rows drawn at random from the half that the reference was not made of; and whole weeks and days that
were left out at random, the reference made of the others. *Spoilt*: of weeks that were left out, the last days of a
window of seven have one feature shifted, scaled, emptied, frozen, or given a category that never was.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.model import Feature, PredictionModel
from core.problem import Drift
from core.reference import SCORE, Reference, as_drift_column
from core.registry import pointed_version
from core.repo import FeatureRepo
from core.settings import get_settings
from monitoring.drift import conclude, measure_all
from monitoring.drift_columns import judge
from monitoring.drift_performance import performance_drift
from monitoring.drift_tests import measure
from training.data import split_rows
from training.dataset import EVENT, read_dataset
from training.inputs import as_columns
from training.reference import build_reference, measured, usual_length

PAGE = Path(__file__).resolve().parents[1] / "docs" / "drift.md"
BAR = 0.05
WEEK, DAY = timedelta(days=7), timedelta(days=1)
SIZES = (500, 2_000, 10_000)
SPOILT_DAYS = (1, 2, 3, 5, 7)
FOLDS = 5
Spoil = Callable[[np.ndarray, np.random.Generator], list[Any]]
NUMERIC: dict[str, Spoil] = {
    "shift by one standard deviation": lambda x, _: list(x + np.nanstd(x)),
    "scale by two": lambda x, _: list(2 * x),
    "one value in five missing": lambda x, rng: list(np.where(rng.random(len(x)) < 0.2, np.nan, x)),
    "frozen at one value": lambda x, _: [x[np.isfinite(x)][0] if np.isfinite(x).any() else np.nan] * len(x),
}
CATEGORICAL: dict[str, Spoil] = {
    "one value in ten a new category": lambda x, rng: list(np.where(rng.random(len(x)) < 0.1, "never seen", x)),
    "one value in five missing": lambda x, rng: list(np.where(rng.random(len(x)) < 0.2, None, x)),
    "frozen at one value": lambda x, _: [x[0]] * len(x),
}


class World:
    """The rows of a training set as the prediction log would give them, and when each was."""

    def __init__(self, repo: FeatureRepo) -> None:
        self.limits: Drift = repo.problem.drift
        version = pointed_version(repo.layout, "champion")
        if version is None:
            raise SystemExit("There is no champion: run punctual up --check first.")
        model = PredictionModel.load(repo.layout.models / version)
        self.rows, _ = read_dataset(repo)
        self.features: list[Feature] = model.features
        columns = as_columns(self.rows, [f.name for f in model.features])
        self.score = model.predict_proba(columns)
        typed = {f.name: as_drift_column(f, columns[f.name]) for f in model.features}
        self.logged = pa.table({**typed, SCORE: self.score})
        seconds = pc.cast(pc.cast(self.rows.column(EVENT), pa.timestamp("s", tz="UTC")), pa.int64()).to_numpy()
        self.day = (seconds - seconds.min()) // 86_400
        self.test = split_rows(repo.problem, self.rows).test
        self.y = self.rows.column(repo.problem.label.column).to_numpy().astype(int)

    def reference(self, chosen: np.ndarray) -> Reference:
        """Make a reference of some rows."""
        return build_reference(self.rows.take(pa.array(chosen)), self.features, self.score[chosen], seed=0)

    def verdicts(self, reference: Reference, chosen: np.ndarray, length: timedelta) -> tuple[bool, bool]:
        """Say whether a window is called drift: by our limits, and by the plain limit of the index alone."""
        profile = reference.profile
        described = [*profile["features"], profile["score"]]
        findings = measure_all(reference, self.logged.take(pa.array(chosen)))
        out = []
        for windows in (usual_length(profile["windows"], length), None):
            *features, prediction = judge(described, findings, self.limits, windows)
            out.append(conclude(features, prediction, None, self.limits).verdict == "drift")
        return out[0], out[1]

    def drifted(
        self,
        reference: Reference,
        name: str,
        calm: list[np.ndarray],
        spoilt: list[np.ndarray],
        length: timedelta,
        change: Callable[[np.ndarray], list[Any]],
    ) -> bool:
        """Say whether a feature is called drifted in a window of calm days and of spoilt ones."""
        about = next(f for f in reference.profile["features"] if f["name"] == name)
        column = self.logged.column(name)
        parts = [column.take(pa.array(day)).combine_chunks() for day in calm]
        values = column.take(pa.array(np.concatenate(spoilt))).to_numpy()
        parts.append(as_drift_column(Feature(name, about["kind"]), change(values)))
        sample, windows = reference.sample.column(name), reference.profile["windows"]
        finding = measure(about, reference.profile["rows"], sample, pa.chunked_array(parts))
        return judge([about], [finding], self.limits, usual_length(windows, length))[0].drifted


def random_rows(world: World, rng: np.random.Generator, windows: int) -> dict[str, list[tuple[bool, bool]]]:
    """Judge windows drawn at random from one half of the rows by a reference of the other."""
    half, other = np.array_split(rng.permutation(len(world.score)), 2)
    reference = world.reference(half)
    return {
        f"{rows:,} rows drawn at random": [
            world.verdicts(reference, rng.choice(other, min(rows, len(other)), replace=False), WEEK)
            for _ in range(windows)
        ]
        for rows in SIZES
    }


def left_out(world: World, rng: np.random.Generator) -> Iterator[tuple[Reference, np.ndarray]]:
    """Give references of all weeks but some, and which those are; each whole week is left out once.

    The first week is never judged: the features of a period that has just begun are still empty.
    """
    week = world.day // 7
    full = np.arange(1, (world.day.max() + 1) // 7)
    for weeks in np.array_split(rng.permutation(full), FOLDS):
        yield world.reference(np.flatnonzero(~np.isin(week, weeks))), weeks


def of_days(world: World, reference: Reference, days: np.ndarray, length: timedelta) -> list[tuple[bool, bool]]:
    """Judge each stretch of days that begins on one of these and has enough rows."""
    out = []
    for day in days:
        chosen = np.flatnonzero((world.day >= day) & (world.day < day + length // DAY))
        if len(chosen) >= world.limits.min_rows:
            out.append(world.verdicts(reference, chosen, length))
    return out


def spoil(
    world: World, reference: Reference, weeks: np.ndarray, rng: np.random.Generator, each: int
) -> Iterator[tuple[str, bool, int | None, int]]:
    """Spoil single features of weeks that were left out.

    Yields
    ------
    tuple
        How it was spoilt, whether the first spoilt day was seen in a window of that day alone, after how many spoilt
        days it was seen in a window of seven (None if in none), and rows a day.
    """
    for week in weeks:
        days = [np.flatnonzero(world.day == day) for day in range(week * 7 - 6, week * 7 + 7)]
        before, week_days = days[:6], days[6:]
        rows_a_day = int(np.mean([len(day) for day in week_days]))
        for kind, kinds in (("numeric", NUMERIC), ("categorical", CATEGORICAL)):
            names = [f.name for f in world.features if f.kind == kind and f.name not in world.limits.ignore]
            for name in rng.choice(names, min(each, len(names)), replace=False):
                for how, change in kinds.items():

                    def drifted(calm: list[np.ndarray], spoilt: list[np.ndarray], length: timedelta) -> bool:
                        return world.drifted(reference, name, calm, spoilt, length, lambda x: change(x, rng))  # noqa: B023

                    at_once = drifted([], week_days[:1], DAY)
                    seen = (n for n in SPOILT_DAYS if drifted(before[n - 1 :], week_days[:n], WEEK))
                    yield how, at_once, next(seen, None), rows_a_day


def performance_alarms(world: World) -> list[bool]:
    """Judge each week of the test rows by the others."""
    test, moments = world.test, world.rows.column(EVENT)
    week = (world.day[test] - world.day[test].min()) // 7
    out = []
    for one in np.unique(week):
        others, own = test[week != one], test[week == one]
        if len(own) < world.limits.min_rows or len(others) < world.limits.min_rows:
            continue
        known = measured(world.y[others], world.score[others], moments.take(pa.array(others)), seed=0)
        truth = {"label": world.y[own], "probability": world.score[own], "predicted_at": moments.take(pa.array(own))}
        found = performance_drift(known, pa.table(truth), world.limits, WEEK)
        out.append(bool(found and found["drifted"]))
    return out


def run(world: World, windows: int, each: int, days_each: int) -> dict[str, Any]:
    """Measure everything."""
    rng = np.random.default_rng(0)
    calm = random_rows(world, rng, windows)
    calm |= {"whole weeks": [], "whole days": []}
    delays: dict[str, list[tuple[bool, int | None, int]]] = defaultdict(list)
    for reference, weeks in left_out(world, rng):
        calm["whole weeks"] += of_days(world, reference, weeks * 7, WEEK)
        days = rng.choice((weeks[:, None] * 7 + np.arange(7)).ravel(), days_each * len(weeks), replace=False)
        calm["whole days"] += of_days(world, reference, days, DAY)
        for how, at_once, seen, rows in spoil(world, reference, weeks[:2], rng, each):
            delays[how].append((at_once, seen, rows))
    alarms = [
        {"windows": what, "count": len(found), "false_alarms": _share(f[0] for f in found),
         "plain_limit": _share(f[1] for f in found)}
        for what, found in calm.items()
    ]  # fmt: skip
    worse = performance_alarms(world)
    alarms.append(
        {"windows": "weeks of the test rows, performance", "count": len(worse), "false_alarms": _share(worse)}
    )
    return {
        "benchmark": "drift",
        "worst_false_alarm_rate": max(row["false_alarms"] for row in alarms),
        "alarms": alarms,
        "delays": [_delay(how, found) for how, found in delays.items()],
    }


def _share(found: Any) -> float:
    values = list(found)
    return round(float(np.mean(values)), 4) if values else 0.0


def _delay(how: str, found: list[tuple[bool, int | None, int]]) -> dict[str, Any]:
    seen = [day for _, day, _ in found if day is not None]
    days = float(np.median(seen)) if seen else None
    rows = float(np.median([rows for *_, rows in found]))
    return {
        "spoilt": how,
        "tries": len(found),
        "seen_by_a_day": _share(at_once for at_once, *_ in found),
        "seen_in_a_week": _share(day is not None for _, day, _ in found),
        "median_days": days,
        "median_rows": None if days is None else round(days * rows),
    }


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Return the tables of docs/drift.md by the name of their place."""
    alarms = ["| windows without drift | how many | called drift | by a plain limit |", "|---|---:|---:|---:|"]
    for row in found["alarms"]:
        plain = f"{100 * row['plain_limit']:.1f} %" if "plain_limit" in row else ""
        alarms.append(f"| {row['windows']} | {row['count']} | {100 * row['false_alarms']:.1f} % | {plain} |")
    delays = [
        "| spoilt | tries | seen by a window of the first day | by one of seven days, within the week "
        "| median days | median rows |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in found["delays"]:
        delays.append(
            f"| {row['spoilt']} | {row['tries']} | {100 * row['seen_by_a_day']:.0f} % | "
            f"{100 * row['seen_in_a_week']:.0f} % | {row['median_days'] or 0:g} | {row['median_rows'] or 0:,} |"
        )
    return {"alarms": "\n".join(alarms), "delays": "\n".join(delays)}


def write(found: dict[str, Any]) -> None:
    """Put the tables in their places in docs/drift.md."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables(found).items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in page or end not in page:
            raise SystemExit(f"{PAGE.name} has no place for the table of {name}.")
        page = page.partition(begin)[0] + f"{begin}\n{table}\n{end}" + page.partition(end)[2]
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=5, help="windows drawn at random, of each size")
    parser.add_argument("--features", type=int, default=4, help="features to spoil in each week, of each kind")
    parser.add_argument("--days", type=int, default=1, help="days to judge of each week")
    parser.add_argument("--write", action="store_true", help="fill the tables of docs/drift.md")
    given = parser.parse_args()
    started = time.perf_counter()
    found = run(World(FeatureRepo.load(get_settings().feature_repo)), given.windows, given.features, given.days)
    print(json.dumps({**found, "seconds": round(time.perf_counter() - started, 1)}))
    if given.write:
        write(found)
    # Of a few windows one alarm is more than 5 %, and says nothing.
    return int(any(row["false_alarms"] * row["count"] > math.ceil(BAR * row["count"]) for row in found["alarms"]))


if __name__ == "__main__":
    sys.exit(main())
