"""Requests that are sent when they are due, whatever has become of earlier ones."""

from __future__ import annotations

import asyncio
import gc
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_LOOK_SECONDS = 0.1  # between looks whether all is answered, where nothing arrives
_GIVE_UP_SECONDS = 60.0


@dataclass
class Answers:
    """What came of an open-loop run.

    Attributes
    ----------
    latencies : list of float
        Seconds from the moment that a request was due, not from the one that it was sent: a server that stalls makes
        those wait that come meanwhile, and that is counted.
    statuses : list of (float, int)
        When each answer came (seconds of the monotonic clock), and its status; 0 where the connection broke.
    wrong : list of str
        What was wrong with answers, where they were looked at.
    """

    latencies: list[float] = field(default_factory=list)
    statuses: list[tuple[float, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    def note(self, due: float, status: int) -> None:
        """Take an answer to a request that was due then; the status is 0 where the connection broke."""
        now = time.perf_counter()
        self.latencies.append(now - due)
        self.statuses.append((now, status))

    @property
    def kinds(self) -> dict[int, int]:
        """How many answers there were of each status."""
        return dict(Counter(status for _, status in self.statuses))

    @property
    def failed(self) -> int:
        """How many were not answered with a 200."""
        return sum(status != 200 for _, status in self.statuses)


class _Connection:
    """One connection, with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number, self.due = 0, 0.0
        self.waits = False
        self.answered = 0  # requests
        self.arrived = b""

    def take(self, number: int, due: float) -> None:
        self.number, self.due, self.waits, self.arrived = number, due, True, b""

    def receive(self) -> tuple[int, bytes] | None:
        """Return status and body when the answer is whole.

        Raises
        ------
        OSError
            When the connection is closed.
        """
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError
        self.arrived += data
        head, found, body = self.arrived.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return None
        self.answered += 1
        self.waits = False
        return int(head[9:12]), body


class OpenLoop:
    """Sends requests when they are due, over as many connections as that takes.

    One thread sleeps until the next is due, to about a tenth of a millisecond, and another waits for answers: a sender
    that is late, or busy with answers, would count as the service's latency.

    Parameters
    ----------
    url, key : str
        Where to send them, and what to show.
    bodies : sequence of bytes
        Sent in turn.
    check : callable, optional
        Looks at a request's number and its answer's body, and returns what is wrong with it, or an empty text.
    """

    def __init__(
        self, url: str, key: str, bodies: Sequence[bytes], check: Callable[[int, bytes], str] | None = None
    ) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        self._requests = [
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            for body in bodies
        ]
        self._check = check
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Connection] = deque()
        self._lock = threading.Lock()  # between taking a connection and finding it closed

    async def run(self, per_second: float, seconds: float) -> Answers:
        """Send ``per_second`` requests a second, evenly, and return when all are answered."""
        return await asyncio.to_thread(self._run, per_second, int(per_second * seconds))

    def close(self) -> None:
        """Close the connections."""
        for key in list(self._selector.get_map().values()):
            self._drop(key.data)
        self._selector.close()

    def _run(self, per_second: float, count: int) -> Answers:
        answers = Answers()
        gc.collect()
        gc.freeze()  # what is here by now is not to be looked through meanwhile: that stop would be the service's fault
        sender = threading.Thread(target=self._send, args=(per_second, count, answers))
        sender.start()
        end = time.perf_counter() + count / per_second + _GIVE_UP_SECONDS
        while len(answers.statuses) < count and time.perf_counter() < end:
            for key, _ in self._selector.select(_LOOK_SECONDS):
                self._receive(key.data, answers)
        sender.join()
        for key in list(self._selector.get_map().values()):
            if key.data.waits:
                self._drop(key.data)
                answers.note(key.data.due, 0)
        return answers

    def _send(self, per_second: float, count: int, answers: Answers) -> None:
        start = time.perf_counter() + 0.05
        for number in range(count):
            due = start + number / per_second
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            self._ask(number % len(self._requests), due, answers)

    def _ask(self, number: int, due: float, answers: Answers) -> None:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            if connection is not None:
                connection.take(number, due)
        if connection is None:
            try:
                connection = _Connection(self._address)
            except OSError:
                answers.note(due, 0)
                return
            connection.take(number, due)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        with suppress(OSError):  # who waits for the answer will find it closed
            connection.socket.sendall(self._requests[number])

    def _receive(self, connection: _Connection, answers: Answers) -> None:
        try:
            answer = connection.receive()
        except OSError:
            self._drop(connection)
            if connection.waits and connection.answered and not connection.arrived:
                self._ask(connection.number, connection.due, answers)  # it was closed as the request went out
            elif connection.waits:
                answers.note(connection.due, 0)
            return
        if answer is None:
            return
        status, body = answer
        answers.note(connection.due, status)
        if status == 200 and self._check is not None and (wrong := self._check(connection.number, body)):
            answers.wrong.append(wrong)
        self._idle.append(connection)

    def _drop(self, connection: _Connection) -> None:
        with self._lock, suppress(ValueError):
            self._idle.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()
