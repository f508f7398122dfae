"""The embedded server: two starts do not fight, dead and recycled pids do not fool it, its data outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from core.errors import ConfigError, PortInUse, StoreUnavailable
from core.redis import parse_address
from stores.embedded import EmbeddedServer, ping
from tests.conftest import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", free_port())
    yield server
    server.stop()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_it_answers_on_loopback_only_and_is_gone_after_stop(server: EmbeddedServer) -> None:
    running = server.start()
    assert (running.owned, running.port) == (True, server.port)
    assert ping("127.0.0.1", server.port)
    with redis.Redis(port=server.port) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        assert client.config_get("appendonly")["appendonly"] == "yes"
    server.stop()
    assert not alive(running.pid)
    assert not ping("127.0.0.1", server.port)
    server.stop()  # nothing to do


def test_its_data_outlives_it(server: EmbeddedServer) -> None:
    with server:
        redis.Redis(port=server.port).set("kept", "yes")
    with server:
        assert redis.Redis(port=server.port).get("kept") == b"yes"


def test_a_second_start_adopts_it_and_does_not_stop_it(server: EmbeddedServer, tmp_path: Path) -> None:
    first = server.start()
    other = EmbeddedServer(tmp_path / "run", "127.0.0.1", server.port)
    second = other.start()
    assert (second.pid, second.owned) == (first.pid, False)
    other.stop()
    assert ping("127.0.0.1", server.port)


def test_the_server_of_a_dead_owner_gets_a_new_one(server: EmbeddedServer, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from stores.embedded import EmbeddedServer\n"
        "s = EmbeddedServer(Path(sys.argv[1]), '127.0.0.1', int(sys.argv[2]))\n"
        "print(s.start().pid, flush=True); time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run"), str(server.port)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert server.start().owned is False
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert ping("127.0.0.1", server.port), "it outlives its owner"
    heir = EmbeddedServer(tmp_path / "run", "127.0.0.1", server.port)
    running = heir.start()
    assert (running.pid, running.owned) == (pid, True)
    heir.stop()
    assert gone(pid)


def test_starts_at_the_same_time_end_with_one_server_and_one_owner(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import sys; from pathlib import Path; from stores.embedded import EmbeddedServer\n"
        "s = EmbeddedServer(Path(sys.argv[1]), '127.0.0.1', int(sys.argv[2])); r = s.start()\n"
        "print(r.pid, r.owned, flush=True); sys.stdin.read(); s.stop()\n"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [p.stdout.readline().split() for p in starts if p.stdout]
    assert len({pid for pid, _ in said}) == 1
    assert sorted(owned for _, owned in said) == ["False", "False", "True"]
    for process in starts:
        process.communicate()
    assert gone(int(said[0][0]))


@pytest.mark.parametrize(
    "content", ["999999999", "nonsense", "", str(os.getpid())], ids=["gone", "nonsense", "empty", "ours"]
)
def test_a_stale_pid_file_does_not_fool_it(server: EmbeddedServer, tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "valkey.pid").write_text(content)  # the last one: the pid of a living process that is not ours
    running = server.start()
    assert running.owned
    assert running.pid != os.getpid()


def test_a_killed_server_is_started_again(server: EmbeddedServer) -> None:
    first = server.start()
    redis.Redis(port=server.port).set("kept", "yes")
    time.sleep(1.5)  # everysec: what is older than a second is on disk
    os.kill(first.pid, signal.SIGKILL)
    assert gone(first.pid)
    second = server.start()
    assert second.pid != first.pid
    assert redis.Redis(port=server.port).get("kept") == b"yes"


def test_it_dies_cleanly_on_sigterm(server: EmbeddedServer) -> None:
    running = server.start()
    os.kill(running.pid, signal.SIGTERM)
    assert gone(running.pid)
    assert not (server.run_dir / "valkey.pid").exists()


def test_a_taken_port_is_named_with_the_setting(tmp_path: Path, server: EmbeddedServer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port} .*PUNCTUAL_REDIS .*connection_string"):
            EmbeddedServer(tmp_path / "x", "127.0.0.1", port).start()
    server.start()
    with pytest.raises(PortInUse, match=str(server.port)):  # another folder's server
        EmbeddedServer(tmp_path / "y", "127.0.0.1", server.port).start()


def test_it_runs_for_another_port_already(server: EmbeddedServer, tmp_path: Path) -> None:
    server.start()
    with pytest.raises(PortInUse, match=f"already runs at port {server.port}"):
        EmbeddedServer(tmp_path / "run", "127.0.0.1", free_port()).start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("a file where a folder must be")
    with pytest.raises(StoreUnavailable, match=r"stopped: .*append"):
        EmbeddedServer(tmp_path, "127.0.0.1", free_port()).start()


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, "127.0.0.1", free_port(), password="let me in")
    with server:
        assert ping("127.0.0.1", server.port, "let me in")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, retry=None).ping()
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0


def test_a_server_of_before_that_asks_for_no_password_is_used_as_it_is(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedServer(tmp_path, "127.0.0.1", port) as before:
        with EmbeddedServer(tmp_path, "127.0.0.1", port, password="new") as found:
            assert found.pid == before.pid
            assert redis.Redis(port=port, username="default", password="new").ping()
    with EmbeddedServer(tmp_path, "127.0.0.1", port, password="new"), pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port, retry=None).ping()


def test_a_server_with_another_password_is_not_waited_for(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedServer(tmp_path, "127.0.0.1", port, password="one"):
        with pytest.raises(StoreUnavailable, match="another password") as error:
            EmbeddedServer(tmp_path, "127.0.0.1", port, password="two").start()
        assert not {"one", "two"} & set(str(error.value).split())


def test_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        EmbeddedServer(tmp_path, "0.0.0.0", 6380)


def test_connection_strings() -> None:
    address = parse_address("redis.example:6379,db=2,password=a=b,ssl=true")
    assert (address.host, address.port) == ("redis.example", 6379)
    assert address.options == {"db": 2, "password": "a=b", "ssl": True}
    assert str(address) == "redis.example:6379"
    assert parse_address("a:1,b:2").nodes == (("a", 1), ("b", 2))


@pytest.mark.parametrize("text", ["", "db=0", "localhost", "localhost:x", "localhost:0", "localhost:70000", ":6379"])
def test_a_wrong_connection_string_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="PUNCTUAL_REDIS"):
        parse_address(text)
