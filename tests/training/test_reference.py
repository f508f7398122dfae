"""What training keeps for drift beside the model: of all rows, as that very model scores them, in every copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from core.reference import MOST_ROWS, SAMPLE, SCORE, Reference
from core.registry import RegistryReader
from training.dataset import read_dataset
from training.evaluate import scores
from training.inputs import as_columns
from training.reference import LENGTHS, build_reference, usual_length, value_of


@pytest.fixture(scope="module")
def kept(trained):
    loans, outcome = trained
    return Reference.load(loans.repo.layout.models / outcome.version)


def test_the_profile_counts_every_row_of_the_snapshot(trained, kept):
    loans, _ = trained
    rows, manifest = read_dataset(loans.repo)
    model = loans.served()
    assert kept.profile["rows"] == rows.num_rows
    assert kept.profile["snapshot"] == manifest["sha256"]
    assert kept.profile["run_id"] == model.metadata["run_id"]
    assert [(f.name, f.kind) for f in kept.features] == [(f.name, f.kind) for f in model.features]
    region = next(f for f in kept.profile["features"] if f["name"] == "region")
    assert region["values"] == rows.to_pandas()["region"].value_counts().to_dict()


def test_the_sample_is_of_all_rows_with_the_models_own_score(trained, kept):
    loans, _ = trained
    rows, _ = read_dataset(loans.repo)
    model = loans.served()
    everything = model.predict_proba(as_columns(rows, [f.name for f in model.features]))
    assert kept.sample.num_rows == min(rows.num_rows, MOST_ROWS)
    assert np.sort(kept.sample.column(SCORE).to_numpy()) == pytest.approx(np.sort(everything))
    again = model.predict_proba(kept.sample.to_pydict())
    assert again == pytest.approx(kept.sample.column(SCORE).to_numpy())


def test_the_metrics_are_those_that_the_model_was_judged_by(trained, kept):
    _, outcome = trained
    for name in ("auc", "brier"):
        assert kept.profile["test"][name] == pytest.approx(outcome.metrics[name])
        assert 0 < kept.profile["test"][f"{name}_error"] < 0.2


def test_a_spoilt_copy_is_fetched_again(rivals):
    folder = rivals.repo.layout.models / "1"
    (folder / SAMPLE).write_bytes(b"spoilt")
    assert RegistryReader(rivals.repo).ensure("1") == folder
    assert Reference.load(folder).sample.num_rows > 0


def stretch(days: int, a_day: int, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Return rows of a number that goes up and down by the day, and of one that does not."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2024-01-01", "us")
    moments = start + np.arange(days * a_day) * np.timedelta64(86_400_000_000 // a_day, "us")
    restless = np.repeat(rng.normal(size=days), a_day) + rng.normal(0, 0.3, days * a_day)
    calm = rng.normal(size=days * a_day)
    table = pa.table({"event_timestamp": pa.array(moments), "restless": restless, "calm": calm})
    return table, rng.random(days * a_day)


def test_how_far_windows_usually_lie_is_kept_by_length():
    from core.model import Feature

    rows, score = stretch(200, 100)
    features = [Feature("restless", "numeric"), Feature("calm", "numeric")]
    profile = build_reference(rows, features, score, 0).profile
    assert profile["windows"] == {"1d": 200, "7d": 29}
    restless, calm = (f["usual"] for f in profile["features"])
    assert restless["1d"]["values"] > restless["7d"]["values"] > 0.2
    assert calm["7d"]["values"] < 0.05
    assert calm["7d"]["missing"] == 0
    assert not calm["1d"]["still"]


def test_a_value_that_stands_still_in_a_window_is_remembered():
    from core.model import Feature

    rows, score = stretch(40, 60)
    daily = pa.array(np.repeat(np.arange(40.0), 60))
    profile = build_reference(rows.append_column("date", daily), [Feature("date", "numeric")], score, 0).profile
    assert profile["features"][0]["usual"]["1d"]["still"]


def test_a_window_is_compared_with_the_longest_that_are_not_longer():
    known = ["1d", "7d"]
    assert usual_length(known, LENGTHS["28d"]) == "7d"
    assert usual_length(known, LENGTHS["7d"]) == "7d"
    assert usual_length(known, LENGTHS["6h"]) == "1d"
    assert usual_length([], LENGTHS["7d"]) is None


@pytest.mark.parametrize("metric", ["auc", "brier"])
def test_a_metric_is_that_of_evaluation(metric):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 300), rng.random(300).round(2)
    assert value_of(metric, y, p) == pytest.approx(scores(y, p, 0.5)[metric])
