"""Structured logs on standard error: JSON for machines, short lines for people, secrets for nobody."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

from core.masks import mask, mask_text

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("feast", "mlflow", "alembic", "httpx", "urllib3", "matplotlib", "git", "uvicorn")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    extras = {k: v for k, v in vars(record).items() if k not in _RESERVED}
    if cid := correlation_id.get():
        extras["correlation_id"] = cid
    return dict(mask(extras))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and whatever ``extra=`` carried."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": mask_text(record.getMessage()),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = mask_text(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """``12:00:00 INFO serving.app: message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one readable line (and a trace, if there is one)."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        extras = "".join(f" {k}={v}" for k, v in _extras(record).items())
        line = f"{moment} {record.levelname} {record.name}: {mask_text(record.getMessage())}{extras}"
        return f"{line}\n{mask_text(self.formatException(record.exc_info))}" if record.exc_info else line


def setup_logs(level: str = "INFO", style: str = "text") -> None:
    """Send every log record of this process to standard error in one style.

    Parameters
    ----------
    level : str
        Least severe level shown for our own packages; libraries are shown from WARNING on.
    style : {"text", "json"}
        Lines for people or for machines.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
