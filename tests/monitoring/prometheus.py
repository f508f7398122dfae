"""A real Prometheus and a real Alertmanager on ports of their own, with the committed files at a hundredfold pace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.conftest import free_port
from tests.monitoring.promql import MONITORING, RULES

# Debian's name for it first.
_ALERTMANAGER = ("prometheus-alertmanager", "alertmanager")
# What the committed rules look back for, and what is enough at one scrape a second.
_PACE = {"5m": "5s", "15m": "10s", "30m": "10s", "1h": "15s", "6h": "20s", "1d": "60s", "3d": "40s", "30d": "60s"}
_PATIENCE = 120  # what takes seconds may take a minute where others are at work


def binaries() -> tuple[str, str]:
    """Return where Prometheus and Alertmanager are; a test that needs them is skipped where they are not."""
    prometheus, alertmanager = shutil.which("prometheus"), next(filter(None, map(shutil.which, _ALERTMANAGER)), None)
    if prometheus is None or alertmanager is None:
        pytest.skip("Prometheus and Alertmanager are not installed: apt-get install prometheus prometheus-alertmanager")
    return prometheus, alertmanager


def faster(rules: str) -> str:
    """Return rules that look back for seconds where the given ones do for minutes to days, and wait for a second."""
    paced = re.sub(r"\[(\w+)\]", lambda match: f"[{_PACE[match[1]]}]", rules)
    paced = re.sub(r"^( +for:) \w+$", r"\1 1s", paced, flags=re.MULTILINE)
    return re.sub(r"^( +interval:) \w+$", r"\1 1s", paced, flags=re.MULTILINE)


@dataclass
class Receiver:
    """A webhook that keeps what it is sent: path and notification."""

    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server names it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def alerts(self, path: str, status: str = "firing") -> list[dict[str, Any]]:
        """Return the alerts that were sent to a path in a state."""
        return [a for where, sent in list(self.got) if where == path for a in sent["alerts"] if a["status"] == status]


class Stack:
    """Both servers.

    Parameters
    ----------
    folder : Path
        Where configuration, data and logs go.
    targets : dict of str to str
        Job -> address of the services to scrape.
    key : str
        What opens their ``/metrics``.
    receiver : str
        URL of the webhook that stands for the committed one.
    """

    def __init__(self, folder: Path, targets: dict[str, str], key: str, receiver: str) -> None:
        prometheus, alertmanager = binaries()
        self.url, alerts = f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        (folder / "rules").mkdir()
        for path in RULES:
            (folder / "rules" / path.name).write_text(faster(path.read_text()))
        (folder / "punctual.key").write_text(key)
        _write(folder / "prometheus.yml", lambda content: _scrape(content, targets, alerts))
        _write(folder / "alertmanager.yml", lambda content: _tell(content, receiver))
        self._log = (folder / "log").open("w")
        self.log = folder / "log"
        self._processes = [
            subprocess.Popen(
                [name, *(f"--{option}" for option in options)], cwd=folder, stdout=self._log, stderr=self._log
            )
            for name, options in {
                alertmanager: (
                    *("config.file=alertmanager.yml", "storage.path=alerts", "cluster.listen-address="),
                    f"web.listen-address={alerts}",
                ),
                prometheus: (
                    *("config.file=prometheus.yml", "storage.tsdb.path=series"),
                    f"web.listen-address={self.url.removeprefix('http://')}",
                ),
            }.items()
        ]

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)
        self._log.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        content = answer.json()
        assert content["status"] == "success", f"{expression}: {content}"
        return list(content["data"]["result"])

    def alerts(self) -> list[dict[str, str]]:
        """Return the labels of the alerts that are pending or firing."""
        found = httpx.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return [alert["labels"] for alert in found]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition; return what it gave."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            assert all(process.poll() is None for process in self._processes), self.log.read_text()
            try:
                if found := condition():
                    return found
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.2)
        raise AssertionError(f"{what} did not come about within {_PATIENCE} s:\n{self.log.read_text()[-4000:]}")


def _write(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load((MONITORING / path.name).read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def _scrape(content: dict[str, Any], targets: dict[str, str], alerts: str) -> None:
    content["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts]
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    content["scrape_configs"] = [jobs[name] | {"static_configs": [{"targets": [at]}]} for name, at in targets.items()]


def _tell(content: dict[str, Any], receiver: str) -> None:
    pace = {"group_wait": "1s", "group_interval": "1s"}
    content["route"] |= pace
    for route in content["route"]["routes"]:
        route |= {name: value for name, value in pace.items() if name in route}
    for one in content["receivers"]:
        for webhook in one["webhook_configs"]:
            webhook["url"] = webhook["url"].replace("http://127.0.0.1:9095", receiver)
