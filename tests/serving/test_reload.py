"""A new champion takes over while requests come in: none fails, none is mixed, and what is no good is refused."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.files import write_json
from core.model import Feature, PredictionModel
from stores.registry import apply
from tests.asgi import Api
from tests.serving.test_log import eventually
from tests.serving.test_server import Server
from tests.serving.world import World, service

LOANS = range(3000, 3020)


def champion(world: World, version: str, role: str = "champion") -> None:
    write_json(world.folder / "data" / "models" / f"{role}.json", {"name": "loans", "version": version})


def second(world: World) -> PredictionModel:
    """Make version 2: it says the opposite of version 1."""
    model = world.model
    model.calibration = (model.calibration[0], model.calibration[1][::-1].copy())
    model.metadata["version"] = "2"
    model.save(world.folder / "data" / "models" / "2")
    return model


def version(api: Api) -> str:
    return str(api.predict({"loan_id": 3000}).json()["predictions"][0]["model_version"])


def health(api: Api) -> dict[str, Any]:
    return dict(api.get("/health").json()["dependencies"]["model"])


def test_a_new_champion_takes_over(own_world: World) -> None:
    own_world.fill()
    second(own_world)
    with service(own_world.repo, model_poll=0.02) as api:
        assert version(api) == "1"
        champion(own_world, "2")
        eventually(lambda: version(api) == "2")
        assert health(api)["version"] == "2"
        champion(own_world, "1")
        eventually(lambda: version(api) == "1")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "estimator.joblib").write_bytes(b"no model"),
        lambda folder: (folder / "estimator.joblib").unlink(),
        lambda folder: (folder / "model.json").write_text("{"),
    ],
    ids=["changed", "missing", "no-header"],
)
def test_a_spoilt_model_is_refused_and_the_last_good_one_goes_on(own_world: World, spoil: Any) -> None:
    own_world.fill()
    second(own_world)
    folder = own_world.folder / "data" / "models" / "2"
    spoil(folder)
    with service(own_world.repo, model_poll=0.02) as api:
        champion(own_world, "2")
        eventually(lambda: health(api)["status"] == "degraded")
        assert str(folder) in health(api)["detail"]
        assert api.get("/health").status_code == httpx.codes.OK
        assert version(api) == "1"
        second(own_world)
        eventually(lambda: version(api) == "2")
        assert health(api)["status"] == "ok"


def test_a_model_that_does_not_fit_is_refused(own_world: World) -> None:
    own_world.fill()
    model = second(own_world)
    model.features.append(Feature("shoe_size", "numeric"))
    model.save(own_world.folder / "data" / "models" / "2")
    with service(own_world.repo, model_poll=0.02) as api:
        champion(own_world, "2")
        eventually(lambda: health(api)["status"] == "degraded")
        assert "shoe_size" in health(api)["detail"]
        assert version(api) == "1"


def test_a_pointer_that_cannot_be_read_changes_nothing(own_world: World) -> None:
    own_world.fill()
    with service(own_world.repo, model_poll=0.02) as api:
        pointer = own_world.folder / "data" / "models" / "champion.json"
        pointer.write_text("{")
        eventually(lambda: health(api)["status"] == "degraded")
        assert version(api) == "1"
        pointer.unlink()
        eventually(lambda: health(api)["status"] == "ok")
        assert version(api) == "1"


def test_features_that_changed_come_with_the_champion_that_was_trained_on_them(
    own_world: World, tmp_path: Path
) -> None:
    own_world.fill()
    model = second(own_world)
    model.features = [f for f in model.features if f.name != "amount_thousands"] + [Feature("amount_plus", "numeric")]
    model.save(own_world.folder / "data" / "models" / "2")
    with service(own_world.repo, model_poll=0.02) as api:
        own_world.copy_to(tmp_path / "changed", change=lambda text: text.replace("amount_thousands", "amount_plus"))
        for name in ("registry.db", "registry.json"):
            (own_world.folder / "data" / name).write_bytes((tmp_path / "changed" / "data" / name).read_bytes())
        assert version(api) == "1"  # the features of the last good champion can still be read
        champion(own_world, "2")
        eventually(lambda: version(api) == "2")


def define(world: World, old: str, new: str) -> None:
    """Change the definitions, and apply them."""
    definitions = world.folder / "definitions.py"
    assert old in definitions.read_text()
    definitions.write_text(definitions.read_text().replace(old, new))
    apply(world.repo)


def promised(api: Api) -> float:
    """Return how old a customer's payments may be, in seconds."""
    views = api.get("/features/3000").json()["views"]
    return float(views["customer_payments"]["promise"]["freshness_seconds"])


def test_definitions_that_are_applied_hold_in_a_service_that_runs(
    own_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="punctual.models")
    own_world.fill()
    with service(own_world.repo, model_poll=0.02) as api:
        assert promised(api) == 30 * 86_400
        assert api.predict({"loan_id": 3000}).json()["predictions"][0]["stale"] == []
        define(own_world, '"freshness": "30d"', '"freshness": "10m"')
        eventually(lambda: promised(api) == 600)
        assert api.predict({"loan_id": 3000}).json()["predictions"][0]["stale"] == ["customer_payments"]
        assert health(api)["status"] == "ok"
        apply(own_world.repo)  # the same once more: nothing is loaded for it
        time.sleep(0.2)
    assert len([r for r in caplog.records if r.getMessage().startswith("the champion is version")]) == 2


def test_definitions_that_the_champion_does_not_fit_are_refused(own_world: World) -> None:
    own_world.fill()
    with service(own_world.repo, model_poll=0.02) as api:
        before = promised(api)
        define(own_world, "amount_thousands", "amount_plus")
        eventually(lambda: health(api)["status"] == "degraded")
        assert "amount_thousands" in health(api)["detail"]
        assert version(api) == "1"
        assert promised(api) == before
        define(own_world, "amount_plus", "amount_thousands")
        eventually(lambda: health(api)["status"] == "ok")
        assert version(api) == "1"


class Load:
    """Asks a server without pause, from several threads, and keeps what it said."""

    def __init__(self, server: Server, threads: int) -> None:
        self._server, self._stop = server, threading.Event()
        self.answers: list[tuple[float, httpx.Response | httpx.TransportError]] = []
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client(
            base_url=self._server.client.base_url, headers=self._server.client.headers, timeout=10
        ) as client:
            while not self._stop.is_set():
                number += 1
                loans = [LOANS[(number + i) % len(LOANS)] for i in range(1 + number % 3)]
                began = time.monotonic()
                try:
                    answer = client.post("/predict", json={"entities": [{"loan_id": loan} for loan in loans]})
                except httpx.TransportError as error:
                    self.answers.append((began, error))
                else:
                    self.answers.append((began, answer))


@pytest.mark.slow
def test_twenty_swaps_under_load_without_a_failed_or_mixed_answer(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    second(own_world)
    server = Server(own_world, tmp_path / "server.log", PUNCTUAL_WORKERS="2")
    try:
        server.wait_until_ready()
        expected = {"1": probabilities(server)}
        champion(own_world, "2")
        eventually(lambda: set(versions(server, 40)) == {"2"})
        expected["2"] = probabilities(server)
        assert not set(expected["1"].values()) & set(expected["2"].values())
        with Load(server, 6) as load:
            for swap in range(20):
                champion(own_world, "12"[swap % 2])
                time.sleep(0.6)  # longer than a poll: every worker meets every swap
            champion(own_world, "1")
            last = time.monotonic()
            time.sleep(3)
    finally:
        code = server.stop()
    assert code == 0
    answered = Counter[str]()
    for began, answer in load.answers:
        assert isinstance(answer, httpx.Response), answer
        assert answer.status_code == httpx.codes.OK, answer.text
        predictions = answer.json()["predictions"]
        assert len({p["model_version"] for p in predictions}) == 1
        for p in predictions:
            assert p["probability"] == expected[p["model_version"]][p["loan_id"]]
            answered[p["model_version"]] += 1
            if began > last + 2:
                assert p["model_version"] == "1", "a worker still serves the old model"
    assert min(answered["1"], answered["2"]) > 100
    assert "Traceback" not in server.log.read_text()


def probabilities(server: Server) -> dict[int, float]:
    return {p["loan_id"]: p["probability"] for p in server.predict(*LOANS).json()["predictions"]}


def versions(server: Server, count: int) -> list[str]:
    """Ask over new connections, so that every worker is met."""
    found = []
    for _ in range(count):
        answer = httpx.post(
            f"{server.client.base_url}/predict",
            json={"entities": [{"loan_id": 3000}]},
            headers=server.client.headers,
            timeout=10,
        )
        found.append(answer.json()["predictions"][0]["model_version"])
    return found


@pytest.mark.slow
def test_mlflow_is_never_imported(own_world: World, tmp_path: Path) -> None:
    own_world.fill()
    trap = tmp_path / "trap" / "mlflow"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('MLflow was imported')")
    server = Server(own_world, tmp_path / "server.log", PYTHONPATH=str(trap.parent))
    try:
        server.wait_until_ready()
        assert server.predict(3000).status_code == httpx.codes.OK
        second(own_world)
        champion(own_world, "2")
        eventually(lambda: versions(server, 1) == ["2"])
    finally:
        assert server.stop() == 0, server.log.read_text()
    assert "MLflow was imported" not in server.log.read_text()
