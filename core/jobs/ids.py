"""The names of jobs: random, or made from an idempotency key, so that the same key is the same job by construction."""

from __future__ import annotations

import re
import uuid
from hashlib import sha256

from core.errors import InvalidRequest

_ID = re.compile(r"[a-z][a-z0-9-]{0,40}-[0-9a-f]{20}")
KEY = r"^[\x21-\x7e]{1,200}$"  # of an idempotency key: visible ASCII characters


def new_id(kind: str, key: str | None, actor: str) -> str:
    """Return the id of a job of this kind that somebody starts with this key; others' equal keys are other jobs.

    Raises
    ------
    InvalidRequest
        When the key is not 1 to 200 visible ASCII characters.
    """
    if key is None:
        return f"{kind}-{uuid.uuid4().hex[:20]}"
    if not re.fullmatch(KEY, key):
        raise InvalidRequest("An idempotency key is 1 to 200 visible ASCII characters.")
    return f"{kind}-{sha256(f'{kind} {key} {actor}'.encode()).hexdigest()[:20]}"


def is_job_id(text: str) -> bool:
    """Return whether a text can be the id of a job; one that can is safe as a file's name."""
    return _ID.fullmatch(text) is not None
