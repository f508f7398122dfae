"""A fault becomes an alert that is delivered: real services, a real Prometheus, a real Alertmanager, a webhook."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from core.settings import get_settings
from tests.monitoring.prometheus import Receiver, Stack, binaries
from tests.monitoring.test_grafana import queries
from tests.serving import world as worlds
from tests.serving.test_server import Server
from tests.serving.world import World, key_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binaries()
    get_settings()
    built = worlds.build(tmp_path_factory.mktemp("live") / "loans")
    yield built
    built.server.stop()


@contextmanager
def asked_for_predictions(server: Server) -> Iterator[None]:
    """Keep asking, some thirty times a second, whatever comes back."""
    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(0.03):
            with suppress(httpx.TransportError):  # it was killed
                server.predict(3000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(20)


def _about_time(labels: dict[str, str]) -> bool:
    return labels["alertname"] == "HighLatency" or labels.get("slo") == "latency"


def test_an_outage_is_paged_and_so_is_its_end(world: World, tmp_path: Path):
    server = Server(world, tmp_path / "server.log", PUNCTUAL_WORKERS="2")
    (tmp_path / "stack").mkdir()
    with Receiver() as receiver:
        targets = {"prediction": f"127.0.0.1:{server.port}"}
        stack = Stack(tmp_path / "stack", targets, key_for(world.repo, "read"), receiver.url)
        try:
            stack.until(lambda: server.client.get("/health").status_code == httpx.codes.OK, "readiness")
            with asked_for_predictions(server):
                stack.until(lambda: stack.query('up{job="prediction"} == 1'), "a scrape")
                stack.until(lambda: stack.query('slo:budget_burn:rate1h{slo="availability"} == 0'), "a quiet hour")
                # Slow it may be, where others are at work on the machine.
                stack.until(lambda: not [a for a in stack.alerts() if not _about_time(a)], "peace")
                assert not [a for a in receiver.alerts("/page") if a["labels"].get("slo") == "availability"]
                assert stack.query("punctual_up")[0]["value"][1] == "2"
                assert stack.query("sum(rate(punctual_predictions_total[5s])) > 1")
                for query in queries():
                    stack.query(query)

                world.server.stop()
                paged = stack.until(
                    lambda: [a for a in receiver.alerts("/page") if a["labels"].get("slo") == "availability"],
                    "the page for the outage",
                )
                assert paged[0]["labels"]["alertname"] == "ErrorBudgetBurnsFast"
                assert paged[0]["annotations"]["runbook"] == "docs/monitoring.md#errorbudgetburnsfast"

                world.server.start()
                stack.until(
                    lambda: [
                        a
                        for a in receiver.alerts("/page", "resolved")
                        if a["labels"]["alertname"] == "ErrorBudgetBurnsFast" and a["labels"]["slo"] == "availability"
                    ],
                    "the end of the outage",
                )

                server.process.kill()
                down = stack.until(
                    lambda: [a for a in receiver.alerts("/page") if a["labels"]["alertname"] == "ServiceDown"],
                    "the page for the service",
                )
                assert down[0]["labels"]["service"] == "prediction"
        finally:
            stack.close()
            server.stop()
