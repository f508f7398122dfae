"""Stand-ins for the training and the prediction service: real HTTP servers with the answers that a test wants.

``python -m tests.ingestion.services <port>`` serves both until its standard input closes.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from core.service.answers import Move


@dataclass
class Others:
    """What they answer, and what they were asked.

    Attributes
    ----------
    outcomes : list of dict
        What comes of each training in turn, the last one for all later ones: a job's ``result``, or its ``error``.
    looks : int
        How often a training job is seen running before it is over.
    serving_after : int
        How often the prediction service still names the version before.
    """

    outcomes: list[dict[str, Any]] = field(default_factory=lambda: [{"result": PROMOTED}])
    looks: int = 1
    serving_after: int = 1
    held: bool = False
    asked: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trained(self) -> list[str]:
        """Return the idempotency keys of the trainings that were asked for, each once."""
        return list(self.jobs)

    def answer(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((method, path, body, headers))
        if path == "/training/train":
            key = headers["idempotency-key"]
            return 202, self.view(self.jobs.setdefault(key, {"id": f"train-{len(self.jobs)}", "looks": 0}))
        if path == "/training/rollback":
            return 200, {**Move.example, "version": "1", "previous_version": "2", "action": "rollback"}
        if path == "/models/available":
            self.serving_after -= 1
            return 200, {"champion": "2", "serving": "1" if self.serving_after >= 0 else "2", "models": []}
        for job in self.jobs.values():
            if path == f"/training/jobs/{job['id']}":
                job["looks"] += 1
                return 200, self.view(job)
            if path == f"/training/jobs/{job['id']}/cancel":
                job["cancelled"] = True
                return 200, self.view(job)
        return 404, {"detail": f"no {path}"}

    def view(self, job: dict[str, Any]) -> dict[str, Any]:
        shown = {"id": job["id"], "kind": "train", "progress": 0.5, "step": "train"}
        if job.get("cancelled"):
            return {**shown, "status": "cancelled"}
        if self.held or job["looks"] < self.looks:
            return {**shown, "status": "running"}
        number = list(self.jobs.values()).index(job)
        outcome = self.outcomes[min(number, len(self.outcomes) - 1)]
        return {**shown, "status": "failed" if "error" in outcome else "done", **outcome}


PROMOTED = {"trained": True, "version": "2", "promoted": True, "champion": "2", "reasons": ["better by 0.02"]}
KEPT = {"trained": True, "version": "2", "promoted": False, "champion": "1", "reasons": ["worse by 0.02"]}
WAITS = {**KEPT, "waits": True, "reasons": ["better by 0.02"]}


@contextmanager
def served(others: Others) -> Iterator[Others]:
    """Let them listen while the block runs, on ``others.port`` if it is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content = others.answer(self.command, self.path, json.loads(body) if body else None, headers)
            payload = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = _any  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", others.port), Handler) as server:
        others.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield others
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with served(Others(port=int(sys.argv[1]))):
        sys.stdin.read()
