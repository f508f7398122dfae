"""A service as a process: over TLS, on several workers, and gone with whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.client import DataClient
from core.errors import ConfigError, PortInUse
from core.layout import Layout
from core.places import service_url
from core.repo import FeatureRepo
from core.server import TIED, check_port, tls_files
from core.settings import Settings
from tests.conftest import free_port
from tests.core.keys import Keyring
from tests.core.tiny import LARGE
from tests.stores.test_guarded_redis import certificate

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def served(repo: FeatureRepo, port: int, workers: int = 1, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    given = {"PUNCTUAL_PORT": str(port), "PUNCTUAL_FEATURE_REPO": str(repo.layout.repo), **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.core.tiny", str(workers)],
        cwd=ROOT,
        env={**os.environ, **given},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answer(url: str, seconds: float = 30, **options: Any) -> httpx.Response:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return httpx.get(url, timeout=5, **options)
        except httpx.ConnectError:
            assert time.monotonic() < deadline, f"nothing at {url}"
            time.sleep(0.05)


def wait_for_end(pid: int) -> None:
    """Wait until a process has closed what it had open, be it buried by its parent or not."""
    deadline = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def gone(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.alone
@pytest.mark.slow
def test_over_tls_with_a_client_that_trusts_the_certificate(repo: FeatureRepo, keys: Keyring, tmp_path: Path):
    cert, key = certificate(tmp_path)
    port = free_port()
    with served(repo, port, PUNCTUAL_TLS_CERT=str(cert), PUNCTUAL_TLS_KEY=str(key)):
        context = ssl.create_default_context(cafile=str(cert))
        found = answer(f"https://127.0.0.1:{port}/pid", verify=context)
        assert found.status_code == 200
        assert "strict-transport-security" in found.headers
        with pytest.raises(httpx.ConnectError, match="(?i)certificate"):
            httpx.get(f"https://127.0.0.1:{port}/pid")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/pid")
        settings = Settings(data_port=port, tls_cert=cert, tls_key=key)
        assert service_url(settings, "data") == f"https://127.0.0.1:{port}"
        client = DataClient.local(settings, Layout(tmp_path / "nowhere"), key=keys["read"])
        assert client.http.call("GET", "/health").json()["service"] == "tiny"


@pytest.mark.alone
@pytest.mark.slow
def test_metrics_count_over_all_workers(repo: FeatureRepo, keys: Keyring):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with served(repo, port, workers=2):
        answer(f"{url}/pid")
        pids = {httpx.get(f"{url}/pid").json()["pid"] for _ in range(60)}
        deadline = time.monotonic() + 20
        while len(pids) < 2:
            assert time.monotonic() < deadline
            pids.add(httpx.get(f"{url}/pid").json()["pid"])
        text = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {keys['read']}"}).text
        asked = next(x for x in text.splitlines() if x.startswith("punctual_requests_total{") and "/pid" in x)
        assert float(asked.rsplit(" ", 1)[1]) >= 61
        up = next(x for x in text.splitlines() if x.startswith("punctual_up{"))
        assert float(up.rsplit(" ", 1)[1]) == 2


@pytest.mark.alone
@pytest.mark.slow
def test_it_stops_when_whoever_started_it_is_gone(repo: FeatureRepo):
    port = free_port()
    with served(repo, port, **{TIED: "1"}) as process:
        answer(f"http://127.0.0.1:{port}/pid")
        assert process.stdin is not None
        process.stdin.close()  # what a kill does to a pipe
        assert process.wait(30) in (0, -signal.SIGTERM)
        assert gone(port)


def test_a_taken_port_is_named_with_its_setting():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=f"{port}.*PUNCTUAL_DATA_PORT"):
            check_port(Settings(), port, "data_port")


def test_half_a_certificate_is_refused(tmp_path: Path):
    assert tls_files(Settings()) == (None, None)
    cert, _ = certificate(tmp_path)
    with pytest.raises(ConfigError, match="PUNCTUAL_TLS_KEY"):
        tls_files(Settings(tls_cert=cert))
    with pytest.raises(ConfigError, match="PUNCTUAL_TLS_CERT"):
        tls_files(Settings(tls_cert=tmp_path / "nowhere.pem", tls_key=cert))


@pytest.mark.alone
@pytest.mark.slow
def test_killed_it_leaves_no_worker_behind(repo: FeatureRepo):
    port = free_port()
    with served(repo, port, workers=2) as process:
        answer(f"http://127.0.0.1:{port}/pid")
        process.kill()
        process.wait(10)
        deadline = time.monotonic() + 15
        while not gone(port):
            assert time.monotonic() < deadline, "a worker still listens"
            time.sleep(0.05)


def read_answer(connection: socket.socket) -> bytes:
    """Return one whole answer, headers and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(4096)
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(4096)
    return head.lower() + b"\r\n\r\n" + body


@pytest.mark.slow
def test_a_refusal_leaves_the_connection_good(repo: FeatureRepo, keys: Keyring):
    port = free_port()
    with served(repo, port):
        answer(f"http://127.0.0.1:{port}/pid")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            for _ in range(3):  # what is left of one body must not end the connection under the next request
                connection.sendall(b"POST /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 7\r\n\r\n")
                assert read_answer(connection).startswith(b"http/1.1 404")
                connection.sendall(b'{"a":1}')


@pytest.mark.slow
def test_a_download_takes_as_long_as_it_takes(repo: FeatureRepo):
    port = free_port()
    (repo.layout.repo / "large").write_bytes(b"x" * LARGE)
    with served(repo, port, PUNCTUAL_REQUEST_TIMEOUT="0.5"):
        answer(f"http://127.0.0.1:{port}/pid")
        start, taken = time.monotonic(), 0
        with httpx.stream("GET", f"http://127.0.0.1:{port}/file", timeout=30) as found:
            for part in found.iter_raw(1_000_000):
                taken += len(part)
                time.sleep(0.05)
        assert taken == LARGE
        assert time.monotonic() - start > 2


@pytest.mark.slow
def test_an_upload_takes_as_long_as_it_keeps_coming(repo: FeatureRepo):
    port = free_port()

    def parts(count: int, seconds: float) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 100_000
            time.sleep(seconds)

    with served(repo, port, PUNCTUAL_REQUEST_TIMEOUT="0.5"):
        answer(f"http://127.0.0.1:{port}/pid")
        url, start = f"http://127.0.0.1:{port}/slow", time.monotonic()
        found = httpx.post(url, content=parts(20, 0.1), timeout=30)
        assert found.json() == {"bytes": 2_000_000}
        assert time.monotonic() - start > 2
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"POST /slow HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\n")
            connection.sendall(b"x" * 64_000)  # a second's worth, and no more
            start = time.monotonic()
            assert b"less than 64 kB/s" in read_answer(connection)
            assert 1 < time.monotonic() - start < 10


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(repo: FeatureRepo):
    port = free_port()
    url = f"http://127.0.0.1:{port}/pid"
    with served(repo, port) as process:
        first = answer(url).json()["pid"]
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 30
        pid = first
        while pid == first:
            assert time.monotonic() < deadline
            try:
                pid = httpx.get(url, timeout=30).json()["pid"]
            except httpx.TransportError:  # it was under way to the one that died
                time.sleep(0.05)
        assert pid != process.pid
    assert process.returncode == 0
    assert gone(port)


def workers_of(url: str) -> set[int]:
    """Return the pids of two workers, once both answer."""
    pids = {answer(url).json()["pid"]}
    deadline = time.monotonic() + 30
    while len(pids) < 2:
        assert time.monotonic() < deadline, "one worker alone answers"
        pids.add(httpx.get(url, timeout=5).json()["pid"])
    return pids


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not deal out connections")
def test_connections_are_dealt_out_to_workers(repo: FeatureRepo):
    port = free_port()
    url = f"http://127.0.0.1:{port}/pid"
    with served(repo, port, workers=2), ExitStack() as stack:
        both = workers_of(url)
        clients = [stack.enter_context(httpx.Client()) for _ in range(40)]
        found = Counter(client.get(url).json()["pid"] for client in clients)
        assert found.keys() == both
        assert min(found.values()) >= 8  # that chance gives one of two so few of 40 happens once in 20,000 times


@pytest.mark.slow
def test_where_a_worker_was_killed_the_others_take_its_connections(repo: FeatureRepo):
    port = free_port()
    url = f"http://127.0.0.1:{port}/pid"
    with served(repo, port, workers=2):
        killed, left = workers_of(url)
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        pids = {httpx.get(url, timeout=5).json()["pid"] for _ in range(30)}  # each on a connection of its own
        assert left in pids
        assert killed not in pids
        assert left in workers_of(url)  # and there are two again


@pytest.mark.slow
def test_a_signal_replaces_the_workers_while_they_serve(repo: FeatureRepo):
    port = free_port()
    url = f"http://127.0.0.1:{port}/pid"
    with served(repo, port, workers=2) as process:
        first, pids = workers_of(url), set()
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 90
        while len(pids - first) < 2 or any(map(psutil.pid_exists, first)):
            assert time.monotonic() < deadline, f"of {first} there still are some, beside {pids - first}"
            with suppress(httpx.ReadError, httpx.RemoteProtocolError):  # it had not been accepted when its worker ended
                pids.add(httpx.get(url, timeout=5).json()["pid"])
        assert workers_of(url) == pids - first


@pytest.mark.slow
def test_it_stops_also_while_it_replaces_workers(repo: FeatureRepo):
    port = free_port()
    with served(repo, port, workers=2) as process:
        both = workers_of(f"http://127.0.0.1:{port}/pid")
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while len(psutil.Process(process.pid).children()) <= len(both) + 1:  # beside them, multiprocessing's helper
            assert time.monotonic() < deadline, "no heir is started"
            time.sleep(0.01)
        process.terminate()
        assert process.wait(15) == 0
        assert gone(port)


@pytest.mark.slow
def test_a_worker_that_cannot_start_again_is_tried_until_it_can_and_the_others_serve(repo: FeatureRepo):
    port = free_port()
    url = f"http://127.0.0.1:{port}/pid"
    needed = repo.layout.repo / "feature_store.yaml"
    with served(repo, port, workers=2) as process:
        killed, left = workers_of(url)
        time.sleep(2)  # the parent has heard by now that they serve
        before = {one.pid for one in psutil.Process(process.pid).children()}
        needed.rename(needed.with_suffix(".away"))
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        tried: set[int] = set()
        deadline = time.monotonic() + 60
        while len(tried) < 2:
            assert time.monotonic() < deadline, "it is not tried again"
            assert process.poll() is None, "it has taken all others along"
            tried |= {one.pid for one in psutil.Process(process.pid).children()} - before
            assert answer(url).json()["pid"] == left
            time.sleep(0.1)
        needed.with_suffix(".away").rename(needed)
        assert left in workers_of(url)
    assert process.returncode == 0


@pytest.mark.slow
def test_two_services_do_not_share_a_port(repo: FeatureRepo):
    port = free_port()
    given = {"PUNCTUAL_FEATURE_REPO": str(repo.layout.repo), "PUNCTUAL_PORT": str(port)}
    command = [sys.executable, "-m", "tests.core.tiny", "2"]
    both = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **given}, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        answer(f"http://127.0.0.1:{port}/pid")
        deadline = time.monotonic() + 30
        while all(process.poll() is None for process in both):
            assert time.monotonic() < deadline, "two run on one port"
            time.sleep(0.05)
        refused = next(process for process in both if process.poll() is not None)
        assert f"Port {port}" in refused.communicate()[1]
    finally:
        for process in both:
            process.terminate()
            process.communicate(timeout=30)


@pytest.mark.slow
def test_a_wrong_setting_ends_it_with_words(repo: FeatureRepo):
    given = {"PUNCTUAL_FEATURE_REPO": str(repo.layout.repo), "PUNCTUAL_PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.tiny", "2"],
        cwd=ROOT,
        env={**os.environ, **given, "PUNCTUAL_RATE_LIMIT_KEY": "often"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "PUNCTUAL_RATE_LIMIT_KEY='often' is no rate limit" in done.stderr
