"""A webhook's receiver."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Hook:
    """What was received, and what is answered: the last answer for ever."""

    def __init__(self) -> None:
        self.answers = [200]
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def told(self) -> list[dict[str, Any]]:
        """The messages."""
        return [json.loads(body) for _, body in self.got]

    @property
    def events(self) -> list[str]:
        """What they are about."""
        return [message["event"] for message in self.told]


@contextmanager
def hooked() -> Iterator[tuple[Hook, str]]:
    """Give a receiver and its URL."""
    seen = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(seen.answers.pop(0) if len(seen.answers) > 1 else seen.answers[0])
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield seen, f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()
