"""The drift check: calm where nothing moved, loud where something broke, and every report is kept."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from core.errors import InvalidRequest, ModelUnavailable, NoData, NotFound
from core.problem import Drift
from core.reference import SCORE
from monitoring.drift import check_drift, compare
from monitoring.drift_reports import list_reports, read_report, report_file
from tests.monitoring import drift_world
from tests.monitoring.drift_world import LIMITS, START, WEEK, reference, window
from tests.monitoring.log_world import LogWorld

NO_TRUTH = drift_world.truth(20, 0).slice(0, 0)


def compared(current: pa.Table, limits: Drift = LIMITS, truth: pa.Table = NO_TRUTH):
    return compare(reference(), current, truth, limits, WEEK)


def feature(found, name: str):
    return next(f for f in found.features if f.name == name)


@pytest.mark.parametrize("rows", [500, 2000, 20_000])
def test_windows_of_the_same_law_are_calm_whatever_their_size(rows):
    for seed in range(5):
        found = compared(window(rows, seed=100 + seed))
        assert found.verdict == "no drift"
        assert not any(f.drifted for f in found.features)


@pytest.mark.parametrize("rows", [500, 20_000])
def test_a_large_move_is_seen_and_named_whatever_the_size(rows):
    moved = window(rows, amount=drift_world.traffic(rows, 1)["amount"].to_numpy() + 20)
    found = compared(moved)
    assert feature(found, "amount").drifted
    assert "amount: values moved" in feature(found, "amount").words
    assert [f.name for f in found.features if f.drifted] == ["amount"]
    assert found.verdict == "no drift"  # one of five features: below the share


def test_a_small_move_is_no_drift_however_many_rows_prove_it():
    rows = 20_000
    found = compared(window(rows, noise=np.random.default_rng(5).normal(0.15, 1, rows)))
    column = feature(found, "noise")
    assert column.adjusted_p < 0.001
    assert column.effect < LIMITS.psi
    assert not column.drifted


def test_enough_drifted_features_are_drift_and_the_reason_names_them():
    rng, rows = np.random.default_rng(5), 1500
    found = compared(window(rows, noise=rng.normal(1, 1, rows), amount=rng.normal(140, 20, rows)))
    assert found.verdict == "drift"
    assert found.share == pytest.approx(2 / 5)
    assert "2 of 5 features drifted; 30 % are many: amount, noise." in found.reasons


def test_values_that_go_missing_raise_the_alarm_alone():
    values = drift_world.traffic(1500, 1)["noise"].to_pylist()
    found = compared(window(noise=[None if i % 5 == 0 else v for i, v in enumerate(values)]))
    column = feature(found, "noise")
    assert (column.missing_jump, column.frozen, column.missing_reference) == (True, False, 0.0)
    assert column.missing_current == pytest.approx(0.2)
    assert found.verdict == "drift"
    assert "noise: missing in 20.0 % of the rows, 0.0 % in the reference, many more than usual" in found.reasons[0]


def test_a_feature_that_vanishes_altogether_raises_the_alarm():
    found = compared(window(town=pa.nulls(1500, pa.string())))
    assert found.verdict == "drift"
    assert "too few values" in feature(found, "town").words


def test_values_that_are_there_again_are_named_but_break_nothing():
    full = [1.0] * 1500
    thin = {**reference().profile}
    thin["features"] = [{**f, "missing": 0.5} if f["name"] == "waiting" else f for f in thin["features"]]
    found = compare(type(reference())(thin, reference().sample), window(waiting=full), NO_TRUTH, LIMITS, WEEK)
    assert feature(found, "waiting").drifted
    assert not feature(found, "waiting").missing_jump


def test_a_category_that_the_model_never_saw_raises_the_alarm_once_it_is_common():
    towns = drift_world.traffic(1500, 1)["town"].to_pylist()
    for share, verdict in ((0.01, "no drift"), (0.1, "drift")):
        many = int(1500 * share)
        found = compared(window(town=["harbour"] * many + towns[many:]))
        assert feature(found, "town").new_categories == ["harbour"]
        assert found.verdict == verdict


def test_a_feature_that_stands_still_raises_the_alarm():
    found = compared(window(waiting=[3.25] * 1500))
    assert feature(found, "waiting").frozen
    assert found.verdict == "drift"
    assert "stands still at 3.25" in found.reasons[0]


def test_what_problem_yaml_ignores_is_reported_and_does_not_count():
    limits = Drift(ignore=["noise", "waiting"])
    found = compared(window(noise=[1.0] * 1500, waiting=[3.25] * 1500), limits)
    assert found.verdict == "no drift"
    assert feature(found, "noise").effect > 1
    assert "values left out of the verdict" in feature(found, "noise").words
    gone = compared(window(noise=pa.nulls(1500, pa.float64())), limits)
    assert gone.verdict == "drift"  # by itself nothing goes missing


def test_predictions_that_moved_are_drift():
    score = drift_world.traffic(1500, 1)[SCORE].to_numpy()
    found = compared(window().set_column(5, SCORE, pa.array(score**3)))
    assert found.prediction.drifted
    assert found.verdict == "drift"
    assert "predicted probability: values moved" in found.reasons[0]


def test_limits_are_how_far_the_training_periods_own_windows_lay():
    profile = {**reference().profile}
    restless = [{**f, "usual": {"7d": {"values": 4.0, "missing": 0.0}}} for f in profile["features"]]
    profile["features"] = restless
    moved = window(noise=np.random.default_rng(5).normal(1, 1, 1500))
    found = compare(type(reference())(profile, reference().sample), moved, NO_TRUTH, LIMITS, WEEK)
    assert feature(found, "noise").threshold == pytest.approx(0.2 + 1.5 * 4.0)
    assert not feature(found, "noise").drifted


def test_performance_is_compared_with_windows_of_the_test_rows():
    calm = compared(window(), truth=drift_world.truth(1500, 3))
    assert calm.performance["drifted"] is False
    assert calm.performance["compared_with"] == "7d"
    worse = compared(window(), truth=drift_world.truth(1500, 3, flipped=0.3))
    assert worse.performance["auc"]["drifted"]
    assert worse.performance["brier"]["drifted"]
    assert worse.verdict == "drift"
    assert "AUC" in worse.reasons[-1]


def test_performance_of_the_same_law_is_hardly_ever_called_worse():
    found = [compared(window(600), truth=drift_world.truth(600, seed)).performance for seed in range(200, 240)]
    assert sum(p["drifted"] for p in found) <= 4  # 5 % of 40 are expected; more than 4 happen once in twenty


@pytest.mark.parametrize("labels", [0, 499])
def test_without_enough_labels_nothing_is_said_of_performance(labels):
    assert compared(window(), truth=drift_world.truth(500, 1).slice(0, labels)).performance is None


def test_one_class_alone_says_nothing_of_performance():
    late = drift_world.truth(4000, 1).filter(pa.array(drift_world.truth(4000, 1)["label"].to_numpy() == 1))
    assert compared(window(), truth=late).performance is None


@pytest.fixture
def world(log_world: LogWorld) -> LogWorld:
    shutil.rmtree(log_world.repo.layout.models, ignore_errors=True)
    drift_world.install(log_world.repo.layout.models)
    return log_world


def test_a_report_is_kept_and_found_again(world):
    drift_world.serve(world, window(1000, noise=pa.nulls(1000, pa.float64())))
    report = check_drift(world.repo, START, START + WEEK, page=False)
    assert (report.verdict, report.rows, report.sampled, report.model_version) == ("drift", 1000, 1000, "1")
    assert report.id == "20240301T000000Z_20240308T000000Z-v1"
    kept = read_report(world.repo, report.id)
    assert kept == json.loads(json.dumps(report.as_dict()))
    assert report_file(world.repo, report.id, "json").is_file()
    [short] = list_reports(world.repo)
    assert short["drifted"] == ["noise"]
    assert short["id"] == report.id
    assert short["has_page"] is False


def test_the_same_check_twice_leaves_one_report(world):
    drift_world.serve(world, window(600))
    for _ in range(2):
        check_drift(world.repo, START, START + WEEK, page=False)
    assert len(list_reports(world.repo)) == 1


def test_reports_are_listed_with_the_newest_window_first_and_at_most_so_many(world):
    for day in (3, 1, 2):
        check_drift(world.repo, START, START + timedelta(days=day), page=False)
        check_drift(world.repo, START + timedelta(days=day), START + timedelta(days=day + 1), page=False)
    starts = [r["since"] for r in list_reports(world.repo, 4)]
    assert len(starts) == 4
    assert starts == sorted(starts, reverse=True)


def test_only_the_versions_own_predictions_of_the_window_count_and_no_what_ifs(world):
    drift_world.serve(world, window(600))
    drift_world.serve(world, window(600, noise=[9.0] * 600), version="2")
    drift_world.serve(world, window(600, noise=[9.0] * 600), since=START + WEEK)
    drift_world.serve(world, window(600, noise=[9.0] * 600), what_if=True)
    report = check_drift(world.repo, START, START + WEEK, page=False)
    assert (report.rows, report.verdict) == (600, "no drift")


def test_too_few_predictions_say_nothing(world):
    drift_world.serve(world, window(499, noise=[9.0] * 499))
    report = check_drift(world.repo, START, START + WEEK, page=False)
    assert (report.verdict, report.rows, report.features, report.prediction) == ("too few rows", 499, [], None)
    assert "499 predictions; below 500" in report.reasons[0]
    empty = check_drift(world.repo, START + 5 * WEEK, START + 6 * WEEK, page=False)
    assert (empty.verdict, empty.rows) == ("too few rows", 0)


def test_more_rows_than_are_looked_at_are_drawn_and_that_is_said(world):
    world.problem(drift={"max_rows": 700})
    drift_world.serve(world, window(1500))
    report = check_drift(world.repo, START, START + WEEK, page=False)
    assert (report.rows, report.sampled, report.verdict) == (1500, 700, "no drift")
    assert any(note.startswith("700 of 1,500 predictions were looked at") for note in report.notes)
    world.problem(drift={})


def test_where_there_is_no_run_the_report_says_where_it_is(world):
    drift_world.serve(world, window(600))
    report = check_drift(world.repo, START, START + WEEK, page=False)
    assert report.notes[-1] == "Kept on this machine alone: the model version names no run."
    assert read_report(world.repo, report.id)["notes"] == report.notes


def test_a_model_without_a_reference_says_what_to_do(world):
    for path in (world.repo.layout.models / "1").glob("reference.*"):
        path.unlink()
    with pytest.raises(NoData, match="version 1 has no reference.*punctual train"):
        check_drift(world.repo, START, START + WEEK)


def test_without_a_champion_there_is_nothing_to_test(world):
    (world.repo.layout.models / "champion.json").unlink()
    with pytest.raises(ModelUnavailable, match="no champion"):
        check_drift(world.repo, START, START + WEEK)


@pytest.mark.parametrize(
    ("since", "until"), [(START, START), (START + WEEK, START), (START.replace(tzinfo=None), START + WEEK)]
)
def test_a_window_that_is_none_is_refused(world, since, until):
    with pytest.raises(InvalidRequest, match="window"):
        check_drift(world.repo, since, until)


@pytest.mark.parametrize("name", ["nothing", "../../models/1", "20240301T000000Z_20240308T000000Z-v9", ""])
def test_a_report_that_is_not_there_is_not_found(world, name):
    with pytest.raises(NotFound, match="There is no json of a drift report"):
        read_report(world.repo, name)


def test_a_report_without_a_page_has_no_page(world):
    report = check_drift(world.repo, START, START + WEEK, page=False)
    with pytest.raises(NotFound, match="html"):
        report_file(world.repo, report.id, "html")
    with pytest.raises(InvalidRequest, match="pdf"):
        report_file(world.repo, report.id, "pdf")
