"""Runs that differ from params.yaml: what may be set, within which bounds, and what they leave alone."""

from __future__ import annotations

import inspect
from datetime import datetime

import pytest

from core.errors import InvalidRequest, NoData
from core.settings import Settings
from tests.training.loans import QUICK
from training.candidates import CANDIDATES, make
from training.jobs import result_of
from training.overrides import TUNABLE, Overrides, options, parse_settings
from training.params import TrainParams
from training.registry import Registry
from training.train import train


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"candidates": ["magic"]}, "magic"),
        ({"candidates": []}, "candidates"),
        ({"params": {"magic": {"x": 1}}}, "magic"),
        ({"params": {"catboost": {"train_dir": "/etc"}}}, "train_dir"),
        ({"params": {"catboost": {"depth": 99}}}, "from 1 to 10"),
        ({"params": {"catboost": {"depth": 6.5}}}, "whole number"),
        ({"params": {"catboost": {"depth": True}}}, "whole number"),
        ({"params": {"catboost": {"depth": "8; rm -rf"}}}, "whole number"),
        ({"params": {"logistic": {"C": float("nan")}}}, "C must be"),
        ({"params": {"logistic": {"C": float("inf")}}}, "C must be"),
        ({"params": {"logistic": {"C": None}}}, "C must be"),
        ({"since": datetime(2024, 2, 1), "until": datetime(2024, 1, 1)}, "before until"),
        ({"seed": 3}, "seed"),
    ],
)
def test_what_cannot_be_set_is_named_before_anything_runs(given, named):
    with pytest.raises(InvalidRequest, match=named):
        Overrides.checked(**given)


def test_settings_on_the_command_line_are_read():
    assert parse_settings(["catboost.depth=8", "catboost.l2_leaf_reg=1e0", " logistic.C = 0.5"]) == {
        "catboost": {"depth": 8, "l2_leaf_reg": "1e0"},
        "logistic": {"C": 0.5},
    }
    for wrong in ("catboost.depth", "depth=8", "catboost.=8", "=", "catboost.depth=[1"):
        with pytest.raises(InvalidRequest, match="--set"):
            parse_settings([wrong])


def test_a_parameter_of_a_candidate_that_is_not_trained_is_named():
    overrides = Overrides(candidates=["logistic"], params={"catboost": {"depth": 4}})
    with pytest.raises(InvalidRequest, match="catboost"):
        overrides.apply(TrainParams(), ["catboost"])


def test_the_form_offers_what_the_libraries_take():
    from catboost import CatBoostClassifier

    known = set(inspect.signature(CatBoostClassifier.__init__).parameters)
    assert set(TUNABLE) == set(CANDIDATES)
    assert set(TUNABLE["catboost"]) <= known
    for name in ("logistic", "hist_gradient_boosting"):
        ends = {p: t.kind(t.most) for p, t in TUNABLE[name].items()}
        make(name, [], TrainParams(**{name: ends}))
    offered = options(TrainParams(), ["catboost"])["candidates"]
    assert offered["catboost"]["default"] is True
    assert offered["logistic"]["default"] is False
    assert offered["catboost"]["parameters"]["depth"]["default"] == 6


def test_an_overridden_run_is_recorded_and_leaves_dvcs_reports_alone(rivals):
    reports = rivals.repo.layout.reports
    before = {p: p.read_bytes() for p in reports.rglob("*") if p.is_file()}
    overrides = Overrides(
        candidates=["logistic"],
        params={"logistic": {"C": 0.5}},
        since=datetime(2024, 1, 20),
        until=datetime(2024, 2, 5),
    )
    outcome = train(rivals.repo, QUICK, overrides=overrides, promote=False)
    assert outcome.candidate == "logistic"
    assert {p: p.read_bytes() for p in reports.rglob("*") if p.is_file()} == before
    record = Registry(rivals.repo).version(outcome.version)
    assert record["lineage"]["override.logistic.C"] == "0.5"
    assert record["lineage"]["override.candidates"] == "logistic"
    assert record["lineage"]["override.since"].startswith("2024-01-20")
    assert record["params"]["logistic.C"] == "0.5"


def test_only_the_rows_to_learn_from_are_bounded(rivals):
    from training.data import prepare
    from training.dataset import read_dataset

    rows, manifest = read_dataset(rivals.repo)
    given = rivals.repo.problem, rows, manifest["spine_columns"], QUICK
    whole = prepare(*given)
    since, until = Overrides(since=datetime(2024, 1, 20)).since, Overrides(until=datetime(2024, 2, 1)).until
    part = prepare(*given, since, until)
    assert part.parts.test.tolist() == whole.parts.test.tolist()
    assert part.parts.validation.tolist() == whole.parts.validation.tolist()
    moments = rows.column("event_timestamp").to_pandas()
    expected = [i for i in whole.parts.train if since <= moments[i] < until]
    assert part.parts.train.tolist() == expected
    with pytest.raises(NoData, match="2024"):
        prepare(*given, Overrides(since=datetime(2030, 1, 1)).since, None)


def test_asked_again_by_the_same_job_the_model_is_not_made_twice(trainable):
    first = train(trainable.repo, QUICK, job="job-1")
    reports = trainable.repo.layout.reports / "metrics.json"
    told = reports.read_text()
    reports.unlink()  # as DVC does before it runs a stage again
    again = train(trainable.repo, QUICK, job="job-1")
    assert again == first
    assert reports.read_text() == told
    registry = Registry(trainable.repo)
    assert [v["version"] for v in registry.versions()] == ["1"]
    assert {r.info.status for r in registry.client.search_runs([registry._experiment])} == {"FINISHED"}
    other = train(trainable.repo, QUICK, job="job-2")
    assert other.version == "2"


def test_why_what_the_gate_let_pass_is_not_champion_is_in_the_jobs_result(trainable):
    train(trainable.repo, QUICK, job="late", promote=False)
    train(trainable.repo, QUICK, job="first")
    registry = Registry(trainable.repo)
    late = train(trainable.repo, QUICK, job="late")  # what it was compared with is champion no more
    assert (late.version, late.promoted, registry.version_of("champion")) == ("1", False, "2")
    told = result_of(registry, "late")
    assert (told["promoted"], told["waits"]) == (False, False)
    assert told["reasons"][-1] == late.verdict.reasons[-1]
    assert told["reasons"][-1].startswith("no: not promoted: The champion is version 2 by now")


def test_that_a_model_waits_for_approval_is_in_the_jobs_result(trainable):
    settings = Settings(promotion_approvals=2)
    for _ in range(2):  # asked again after a kill
        outcome = train(trainable.repo, QUICK, job="job-1", settings=settings)
        assert (outcome.promoted, outcome.verdict.reasons[-1]) == (False, "waits: a person must approve it")
        told = result_of(Registry(trainable.repo), "job-1")
        assert (told["promoted"], told["waits"], told["passed"]) == (False, True, True)
