"""What people are told of promotions and rollbacks that nobody else tells of: by hand, or by the gate in a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.notify import Message
from training.ledger import as_dict

if TYPE_CHECKING:
    from core.tables import Promotion
    from training.ledger import Ledger


def message_of(row: Promotion) -> Message:
    """Say who put which version in the place of which, and why.

    Parameters
    ----------
    row : Promotion
        Of the ledger: ``active``, or a ``request`` that waits.

    Returns
    -------
    Message
        ``training.promotion`` or ``training.rollback``; its facts hold the row as ``promotion``.
    """
    instead = f", in place of version {row.previous_version}" if row.previous_version else ""
    event, who, what = {
        "request": ("promotion", "Asked for", f"version {row.version} waits for a second person's approval"),
        "promote": ("promotion", "Promoted", f"version {row.version} is the champion now{instead}"),
        "rollback": ("rollback", "Rolled back", f"version {row.version} is the champion again{instead}"),
    }[row.action]
    agreed = f", approved by {row.approved_by}" if row.approved_by else ""
    lines = [f"{who} by {row.requested_by}{agreed}.", *row.reasons]
    return Message(f"training.{event}", f"punctual: {row.model}: {what}", "\n".join(lines), {"promotion": as_dict(row)})


def message_of_training(ledger: Ledger, version: str) -> Message | None:
    """Say what the gate did with a version just trained: made it the champion, or asked for that.

    Returns
    -------
    Message or None
        As :func:`message_of`; None where the version is neither the champion nor asked for.

    Raises
    ------
    DatabaseUnavailable
        When the ledger cannot be read.
    """
    row = ledger.request(version) or ledger.active()
    return message_of(row) if row is not None and row.version == version else None
