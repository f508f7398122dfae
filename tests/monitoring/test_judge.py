"""Two versions on the same labelled predictions: exact logged vectors, rows that are new to both, and noise."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.model import Feature, PredictionModel
from monitoring import judge as judging
from monitoring.judge import _gain, contest, score
from monitoring.logged import logged
from monitoring.truth import update_truth
from tests.monitoring.log_world import LogWorld, at

FEATURES = [
    Feature("amount", "numeric"),
    Feature("town", "categorical", ("north", "south")),
    Feature("loan_id", "categorical", tuple(range(40))),
    Feature("first", "categorical", (False, True)),
]
DAYS, A_DAY = 10, 60


class Line:
    """An estimator whose probability rises with each coded input."""

    def __init__(self, *weights: float) -> None:
        self.weights = np.array(weights)

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-(np.nan_to_num(matrix, nan=-1.0) @ self.weights)))
        return np.column_stack([1 - p, p])


def model(*weights: float, test_from: float | None = -100, features: list[Feature] = FEATURES) -> PredictionModel:
    about = {} if test_from is None else {"test_from": at(test_from).isoformat()}
    same = np.array([0.0, 1.0])
    return PredictionModel(features, Line(*weights), (same, same), 0.5, ("paid", "missed"), about)


GOOD, POOR = model(1.0, 0.5, 0.0, 0.5), model(0.2, -0.5, 0.02, 0.0)


class Registry:
    """Versions in memory."""

    def __init__(self, **versions: PredictionModel) -> None:
        self.versions = {name.removeprefix("v"): made for name, made in versions.items()}

    def load(self, version: str) -> PredictionModel:
        return self.versions[version]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> LogWorld:
    """Give ten days of predictions by version 1 (which is POOR), labels drawn from what GOOD says."""
    world = LogWorld.make(tmp_path_factory.mktemp("judge") / "loans")
    rng, rows, spine = np.random.default_rng(0), [], []
    for n in range(DAYS * A_DAY):
        vector: dict[str, Any] = {
            "amount": None if n % 17 == 0 else float(rng.normal()),
            "town": ["north", "south", "east", None][n % 4],
            "loan_id": n % 40,
            "first": bool(n % 2),
        }
        columns = {name: [value] for name, value in vector.items()}
        made = at(24 * n / A_DAY)
        rows.append(
            {
                "prediction_id": f"{n:08d}",
                "predicted_at": made,
                "probability": float(POOR.predict_proba(columns)[0]),
                "entity": {"loan_id": n, "customer_id": 1},
                "features": vector,
            }
        )
        missed = int(rng.random() < GOOD.predict_proba(columns)[0])
        known = {"event_timestamp": made, "label_timestamp": made + timedelta(hours=1)}
        spine.append({"loan_id": n, "customer_id": 1, "missed": missed, **known})
    world.log(*rows)
    world.spine(spine)
    world.now(at(24 * DAYS + 2))
    update_truth(world.repo)
    return world


def judge(world: LogWorld, registry: Registry, **changed: Any) -> dict[str, Any]:
    how: dict[str, Any] = {"confidence": 0.95, "min_rows": 100, "since": at(0), "until": at(24 * DAYS), **changed}
    return contest(world.repo, registry, "2", "1", how.pop("since"), how.pop("until"), **how)  # type: ignore[arg-type]


def test_a_model_scores_a_logged_vector_as_it_did_when_it_predicted(lived: LogWorld):
    rows = logged(lived.repo, at(0), at(24 * DAYS), features=FEATURES)
    assert rows.num_rows == DAYS * A_DAY
    np.testing.assert_allclose(score(POOR, rows), rows.column("probability").to_numpy(), rtol=0, atol=1e-12)


def test_the_better_model_wins_beyond_noise_and_the_other_way_round_loses(lived: LogWorld):
    won = judge(lived, Registry(v1=POOR, v2=GOOD))
    assert (won["metric"], won["rows"]) == ("auc", DAYS * A_DAY)
    assert 0 < won["low"] < won["gain"] < won["high"]
    lost = judge(lived, Registry(v1=GOOD, v2=POOR))
    assert lost["gain"] == pytest.approx(-won["gain"])
    assert lost["high"] < 0
    assert judge(lived, Registry(v1=POOR, v2=GOOD)) == won


def test_the_same_model_twice_gains_nothing(lived: LogWorld):
    found = judge(lived, Registry(v1=GOOD, v2=GOOD))
    assert (found["gain"], found["low"], found["high"]) == (0.0, 0.0, 0.0)


def test_a_surer_judgement_takes_a_wider_interval(lived: LogWorld):
    narrow, wide = (judge(lived, Registry(v1=POOR, v2=GOOD), confidence=c) for c in (0.8, 0.999))
    assert wide["low"] < narrow["low"] < narrow["gain"] < narrow["high"] < wide["high"]


def test_only_rows_count_that_neither_learned_from(lived: LogWorld):
    later = model(*GOOD.estimator.weights, test_from=48)
    found = judge(lived, Registry(v1=POOR, v2=later))
    assert found["since"] == at(48).isoformat()
    assert found["rows"] == (DAYS - 2) * A_DAY


@pytest.mark.parametrize(
    ("champion", "how", "says"),
    [
        (POOR, {"min_rows": 5000}, "600 labelled predictions that neither learned from, asked: 5,000"),
        (POOR, {"since": at(-50), "until": at(-10)}, "0 labelled predictions"),
        (POOR, {"version": "7"}, "0 labelled predictions"),
        (model(1, 1, 1, 1, test_from=24 * DAYS), {}, "learned from all of the window"),
        (model(1, 1, 1, 1, test_from=None), {}, "not known from when on"),
        (model(1, features=[Feature("income", "numeric")]), {}, "the log does not have income"),
    ],
)
def test_what_cannot_be_judged_says_why(lived: LogWorld, champion: PredictionModel, how: dict[str, Any], says: str):
    found = judge(lived, Registry(v1=champion, v2=GOOD), **how)
    assert says in found["why"]
    assert "low" not in found


def test_rare_labels_are_not_thinned_out_by_the_sample_of_the_log(
    lived: LogWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    world = lived.copied_to(tmp_path / "loans")
    world.sql("spine", f"SELECT * FROM read_parquet('{world.folder}/spine.parquet')")
    rows = pq.read_table(world.folder / "spine.parquet").to_pylist()
    world.spine([row | ({} if n % 4 == 0 else {"label_timestamp": at(9999)}) for n, row in enumerate(rows)])
    assert update_truth(world.repo).labelled == DAYS * A_DAY / 4
    monkeypatch.setattr(judging, "MOST_ROWS", 150)  # a quarter of the log, and all that has a label
    found = judge(world, Registry(v1=POOR, v2=GOOD))
    assert found["rows"] == 150
    monkeypatch.setattr(judging, "MOST_ROWS", 120)
    assert judge(world, Registry(v1=POOR, v2=GOOD))["rows"] == 120


def test_a_row_that_two_champions_predicted_is_judged_once(lived: LogWorld, tmp_path: Path):
    world = lived.copied_to(tmp_path / "loans")
    again = [
        {name: row[name] for name in ("prediction_id", "predicted_at", "probability", "entity", "features")}
        | {"prediction_id": f"again{n:04d}", "model_version": "2"}
        for n, row in enumerate(logged(world.repo, at(0), at(24), features=FEATURES).to_pylist())
        for row in [row | {"features": {f.name: row[f.name] for f in FEATURES}}]
    ]
    world.log(*again)
    update_truth(world.repo)
    assert judge(world, Registry(v1=POOR, v2=GOOD))["rows"] == DAYS * A_DAY
    assert judge(world, Registry(v1=POOR, v2=GOOD), version="2", min_rows=10)["rows"] == A_DAY


@pytest.mark.slow
def test_two_models_of_equal_worth_are_rarely_told_apart():
    rng, told = np.random.default_rng(1), 0
    for _ in range(100):
        truth, moments = rng.random(700), [at(24 * n / 50) for n in range(700)]
        y = (rng.random(700) < truth).astype(int)
        two = [np.clip(truth + rng.normal(0, 0.3, 700), 0, 1) for _ in range(2)]
        found = _gain("auc", y, two, pa.table({"predicted_at": moments}), 0.95)
        told += found["low"] > 0
    assert told <= 9  # 2.5 % by chance; 14 days of rows drawn together are a little too sure of themselves
