"""A stand-in for the training service: a real HTTP server that keeps to its contract, and trains at once.

It promotes and rolls back as the real one does, ``expected`` champion, ledger and all. Whether the real one keeps to
the same contract is what tests/training tells.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Training:
    """What it holds, and what it was asked.

    Attributes
    ----------
    roles : dict
        Role -> version.
    ledger : list of dict
        Rows of the promotion ledger, oldest first.
    passes, approvals : bool, int
        What the gate says of a new version, and how many people must agree to a promotion.
    asked : list of str
        Method and path of each request.
    """

    roles: dict[str, str] = field(default_factory=lambda: {"champion": "1"})
    ledger: list[dict[str, Any]] = field(default_factory=list)
    passes: bool = True
    approvals: int = 1
    fails: bool = False
    asked: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    port: int = 0

    def __post_init__(self) -> None:
        self.ledger = self.ledger or [_row("promote", "1", None)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def moves(self) -> list[tuple[str, str]]:
        """Return what was done after the first promotion: action and version."""
        return [(row["action"], row["version"]) for row in self.ledger[1:]]

    def answer(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        match path.partition("?")[0].strip("/").split("/"):
            case ["training", "train"]:
                return 202, self._train(headers["idempotency-key"])
            case ["training", "jobs", job]:
                return 200, next(j for j in self.jobs.values() if j["id"] == job)
            case ["training", "models"]:
                return 200, {"model": "loans", "roles": self.roles, "versions": []}
            case ["training", "promotions"]:
                return 200, {"promotions": self.ledger[::-1]}
            case ["training", "models", version, "promote"]:
                return self._move("promote", version, body)
            case ["training", "rollback"]:
                return self._move("rollback", self.roles.get("previous"), body)
        return 404, {"detail": f"no {path}"}

    def _train(self, key: str) -> dict[str, Any]:
        if key not in self.jobs:
            version = str(2 + len(self.jobs))
            result = {"trained": True, "version": version, "passed": self.passes, "reasons": ["better by 0.02"]}
            over = {"status": "failed", "error": "no memory"} if self.fails else {"status": "done", "result": result}
            self.jobs[key] = {"id": f"train-{version}", "kind": "train", **over}
        return self.jobs[key]

    def _move(self, action: str, version: str | None, body: dict[str, str]) -> tuple[int, Any]:
        champion = self.roles["champion"]
        if version is None:
            return 409, {"detail": "There is no previous champion to go back to."}
        if body.get("expected", champion) != champion:
            return 409, {"detail": f"The champion is version {champion} by now, not {body['expected']}."}
        if self.approvals == 2 and action == "promote":
            return 202, _row("request", version, champion, status="pending")
        for row in self.ledger:
            row["status"] = "ended"
        self.ledger.append(_row(action, version, champion, reasons=[body["reason"]]))
        self.roles = {"champion": version, "previous": champion}
        return 200, self.ledger[-1]


def _row(action: str, version: str, previous: str | None, **more: Any) -> dict[str, Any]:
    return {"action": action, "version": version, "previous_version": previous, "status": "active", **more}


@contextmanager
def serve(training: Training) -> Iterator[Training]:
    """Let it listen while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content = training.answer(self.command, self.path, json.loads(body) if body else None, headers)
            payload = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = _any  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", training.port), Handler) as server:
        training.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield training
        finally:
            server.shutdown()
            thread.join()
