"""A Redis that asks for a password and speaks TLS, as one in production does."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import StoreUnavailable
from stores.embedded import EmbeddedServer
from stores.reader import OnlineReader
from stores.wire import AsyncWire
from stores.writer import materialize
from tests.conftest import free_port
from tests.stores.online_repo import at, make_store, write_file

PASSWORD = "correct=horse"
NOW = at(1000)


def fill_and_read(folder: Path, address: str) -> list[object]:
    store = make_store(folder, address, features=("big",))
    write_file(folder, "a", [{"shop": "s", "item": 1, "big": 42, "event_timestamp": 10}])
    materialize(store, now=NOW)
    reader = OnlineReader(store, ["stock:big"])
    try:
        return reader.read_sync([{"shop": "s", "item": 1}], NOW).columns["big"]
    finally:
        reader.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", free_port(), password=PASSWORD)
    server.start()
    yield server
    server.stop()


def test_with_its_password(guarded: EmbeddedServer, tmp_path: Path):
    assert fill_and_read(tmp_path, f"127.0.0.1:{guarded.port},password={PASSWORD},db=2") == [42]


@pytest.mark.parametrize("options", ["", ",password=wrong"])
def test_without_it_the_error_names_the_address_and_no_password(guarded: EmbeddedServer, tmp_path: Path, options: str):
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{guarded.port}") as error:
        fill_and_read(tmp_path, f"127.0.0.1:{guarded.port}{options}")
    assert "wrong" not in str(error.value).replace("wrong number", "")
    assert PASSWORD not in str(error.value)


def left_open(wire: AsyncWire, seconds: float = 5) -> int:
    """Return how many more descriptors there are after tries to connect that fail, or that nobody waits for."""

    async def story() -> int:
        with pytest.raises(StoreUnavailable):
            await wire.ping()  # what the first one opens besides stays
        before = psutil.Process().num_fds()
        for _ in range(20):
            with pytest.raises((StoreUnavailable, TimeoutError)):
                await asyncio.wait_for(wire.ping(), seconds)
        await asyncio.sleep(0.1)
        return psutil.Process().num_fds() - before

    return asyncio.run(story())


@pytest.mark.parametrize("options", ["password=wrong", f"password={PASSWORD},db=99"])
def test_what_was_refused_is_closed(guarded: EmbeddedServer, tmp_path: Path, options: str):
    assert left_open(AsyncWire(make_store(tmp_path, f"127.0.0.1:{guarded.port},{options}").config)) <= 0


def test_what_nobody_waits_for_any_more_is_closed(guarded: EmbeddedServer, tmp_path: Path):
    address = f"127.0.0.1:{guarded.port},password={PASSWORD},socket_timeout=0.5"
    pid = guarded.start().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert left_open(AsyncWire(make_store(tmp_path, address).config), seconds=0.05) <= 0
    finally:
        os.kill(pid, signal.SIGCONT)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2020, 1, 1))
        .not_valid_after(dt.datetime(2090, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Give port and certificate of a TLS terminator in front of a Valkey, for the embedded one has no TLS."""
    cert, key = certificate(tmp_path)
    server = EmbeddedServer(tmp_path / "run", "127.0.0.1", free_port())
    server.start()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    loop = asyncio.new_event_loop()

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, to_writer), pass_on(to_reader, writer))

    proxy = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield proxy.sockets[0].getsockname()[1], cert
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    server.stop()


def test_over_tls_with_a_certificate_that_is_trusted(encrypted: tuple[int, Path], tmp_path: Path):
    port, cert = encrypted
    assert fill_and_read(tmp_path, f"127.0.0.1:{port},ssl=true,ssl_ca_certs={cert}") == [42]


def test_over_tls_a_stranger_is_not_talked_to(encrypted: tuple[int, Path], tmp_path: Path):
    port, _ = encrypted
    with pytest.raises(StoreUnavailable, match="(?i)certificate"):
        fill_and_read(tmp_path, f"127.0.0.1:{port},ssl=true")
