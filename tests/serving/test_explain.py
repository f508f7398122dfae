"""Why a prediction came out: contributions that add up, of the model that made it, or a clear refusal."""

from __future__ import annotations

import math
import weakref
from typing import Any

import httpx
import numpy as np
import pytest

from core.estimators import CatBoostOnCodes
from core.model import Feature, PredictionModel
from serving.explain import Explainer
from tests.asgi import Api, problem
from tests.serving.test_log import eventually
from tests.serving.test_reload import champion, version
from tests.serving.world import World, service
from training.candidates import logistic
from training.params import TrainParams

LOANS = range(3000, 3010)


def trained(world: World, name: str, estimator: Any) -> PredictionModel:
    """Fit an estimator on made-up rows of the loans' inputs, missing values among them, and keep it."""
    model = world.model
    rng = np.random.default_rng(7)
    x = rng.integers(0, 3, (400, len(model.features))).astype(float)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = (np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 3]) + rng.normal(size=400) > 2).astype(int)
    model.estimator = estimator.fit(x, y)
    model.metadata["version"] = name
    model.save(world.folder / "data" / "models" / name)
    champion(world, name)
    return model


def boosted(features: list[Feature]) -> CatBoostOnCodes:
    categorical = [i for i, f in enumerate(features) if f.kind == "categorical"]
    return CatBoostOnCodes(categorical, {"iterations": 20, "depth": 3, "thread_count": 1, "random_seed": 1})


def explanations(api: Api) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    predictions = api.predict(*({"loan_id": loan} for loan in LOANS)).json()["predictions"]
    out = []
    for prediction in predictions:
        answer = api.get(f"/explain/{prediction['prediction_id']}")
        assert answer.status_code == httpx.codes.OK, answer.text
        out.append((prediction, answer.json()))
    return out


def makers() -> list[Any]:
    return [
        pytest.param(boosted, id="catboost"),
        pytest.param(lambda features: logistic(features, TrainParams()), id="logistic"),
    ]


@pytest.mark.parametrize("make", makers())
def test_contributions_add_up_to_what_was_predicted(own_world: World, make: Any) -> None:
    own_world.fill()
    model = trained(own_world, "7", make(own_world.model.features))
    with service(own_world.repo) as api:
        for prediction, told in explanations(api):
            why = told["explanation"]
            terms = {c["feature"]: c["contribution"] for c in why["contributions"]}
            assert terms.keys() == {f.name for f in model.features}
            raw = why["base_value"] + math.fsum(terms.values())
            calibrated = np.interp(1 / (1 + math.exp(-raw)), *model.calibration)
            assert calibrated == pytest.approx(prediction["probability"], abs=1e-6)
            sizes = [abs(c["contribution"]) for c in why["contributions"]]
            assert sizes == sorted(sizes, reverse=True)
            assert max(sizes) > 0
            assert told["model_version"] == told["lineage"]["model_version"] == "7"


def test_a_feature_that_counts_is_blamed_for_what_it_does(own_world: World) -> None:
    own_world.fill()
    model = trained(own_world, "7", boosted(own_world.model.features))
    with service(own_world.repo) as api:
        prediction, told = explanations(api)[0]
        features = api.get(f"/predictions/{prediction['prediction_id']}").json()["features"]
    shown = {c["feature"]: c["value"] for c in told["explanation"]["contributions"]}
    assert shown == features
    assert shown["region"] in model.features[0].categories  # as people know it, not as the model codes it


def test_the_model_that_made_it_explains_it_also_when_another_serves(own_world: World) -> None:
    own_world.fill()
    trained(own_world, "7", boosted(own_world.model.features))
    with service(own_world.repo, model_poll=0.02) as api:
        before = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
        told = api.get(f"/explain/{before}").json()
        trained(own_world, "8", logistic(own_world.model.features, TrainParams()))
        eventually(lambda: version(api) == "8")
        assert api.get(f"/explain/{before}").json() == told


def test_a_model_without_an_exact_explanation_says_so(api: Api) -> None:
    made = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
    assert "HistGradientBoosting" in problem(api.get(f"/explain/{made}"), 409)["detail"]


def test_a_model_that_is_no_longer_here_explains_while_it_serves(own_world: World) -> None:
    own_world.fill()
    trained(own_world, "7", boosted(own_world.model.features))
    with service(own_world.repo, model_poll=0.02) as api:
        made = api.predict({"loan_id": 3000}).json()["predictions"][0]["prediction_id"]
        (own_world.folder / "data" / "models" / "7" / "estimator.joblib").unlink()
        assert api.get(f"/explain/{made}").status_code == httpx.codes.OK, "the one in memory was not used"
        champion(own_world, "1")
        eventually(lambda: version(api) == "1")
        assert "model 7" in problem(api.get(f"/explain/{made}"), 409)["detail"]


def test_one_model_is_kept_beside_the_one_that_serves(own_world: World) -> None:
    serving, *others = (trained(own_world, name, boosted(own_world.model.features)) for name in ("7", "8", "9"))
    explainer = Explainer(own_world.repo.layout, lambda: serving)
    kept = weakref.ref(explainer._model("8"))
    assert explainer._model("7") is serving
    assert explainer._model("8") is kept()
    assert explainer._model("9").version == others[1].version
    assert kept() is None


@pytest.mark.parametrize("sly", ["no-such-id", "..%2F..%2Fetc%2Fpasswd", "0" * 32])
def test_an_unknown_prediction(api: Api, sly: str) -> None:
    problem(api.get(f"/explain/{sly}"), 404)
