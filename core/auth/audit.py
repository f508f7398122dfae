"""The audit log: rows that are only ever added; the database itself refuses to change or delete them."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.clock import SystemClock
from core.logs import correlation_id as current_request
from core.masks import mask, mask_text
from core.tables import Audit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger("punctual.audit")

_MOST = 1000
# Neither database nor terminal should meet these: Postgres keeps no NUL, and the others move cursors.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LENGTHS = {"actor": 80, "action": 200, "target": 400, "outcome": 80, "correlation_id": 64, "address": 64}


def record(
    session: Session,
    actor: str,
    action: str,
    target: str,
    outcome: str = "done",
    *,
    detail: dict[str, Any] | None = None,
    correlation_id: str | None = None,
    address: str = "",
) -> None:
    """Add a record to a transaction: it is there if, and only if, what it tells of is.

    Parameters
    ----------
    session : Session
        The transaction.
    actor, action, target, outcome : str
        Who did what to what, and what came of it.
    detail : dict, optional
        Plain data; secrets in it are masked.
    correlation_id : str, optional
        By default that of the request being answered.
    address : str
        Where the request came from.
    """
    texts = {
        "actor": actor,
        "action": action,
        "target": target,
        "outcome": outcome,
        "correlation_id": current_request.get() if correlation_id is None else correlation_id,
        "address": address,
    }
    clean = {name: printable(mask_text(text))[: _LENGTHS[name]] for name, text in texts.items()}
    row = Audit(at=SystemClock().now(), detail=mask(detail or {}), **clean)
    session.add(row)
    # A second copy, out of reach of whoever owns the database.
    log.info("audit", extra={**clean, "detail": row.detail})


def read(
    session: Session,
    *,
    since: datetime | None,
    until: datetime | None,
    actor: str | None,
    action: str | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return records, newest first; see :meth:`core.auth.Accounts.audit_log`."""
    query = select(Audit).order_by(Audit.id.desc()).limit(min(max(limit, 1), _MOST))
    if since is not None:
        query = query.where(Audit.at >= since)
    if until is not None:
        query = query.where(Audit.at < until)
    if actor is not None:
        query = query.where(Audit.actor == printable(actor))
    if action is not None:
        query = query.where(Audit.action.startswith(printable(action), autoescape=True))
    if before is not None:
        query = query.where(Audit.id < before)
    names = ("id", "at", "actor", "action", "target", "outcome", "detail", "correlation_id", "address")
    return [{name: getattr(row, name) for name in names} for row in session.scalars(query)]


def printable(text: str) -> str:
    """Return a text with ``?`` for what cannot be shown."""
    return _UNPRINTABLE.sub("?", text)
