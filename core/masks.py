"""Keeps secrets out of logs and records, wherever they turn up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASKED = "***"
_NAMES = re.compile(r"password|passwd|secret|token|api_?key|authorization|credential|private", re.IGNORECASE)
# What is a secret by its looks: our own keys, tokens, and passwords inside of addresses and settings.
_LOOKS = (
    (re.compile(r"(p[krs]_[0-9a-f]{12}_)[A-Za-z0-9_-]{8,}"), rf"\1{MASKED}"),
    (re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{MASKED}"),
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), MASKED),
    (re.compile(r"(://[^\s:/@]*:)[^\s@/]+(@)"), rf"\1{MASKED}\2"),
    (re.compile(r"(?i)((?:password|secret|token|api_key)[\"']?\s*[=:]\s*[\"']?)[^\s,;\"'&]+"), rf"\1{MASKED}"),
)


def mask_text(text: str) -> str:
    """Return a text without what looks like a secret in it."""
    for pattern, replacement in _LOOKS:
        text = pattern.sub(replacement, text)
    return text


def mask(value: Any) -> Any:
    """Return plain data with every member whose name says that it is a secret replaced, and texts masked."""
    if isinstance(value, Mapping):
        return {k: MASKED if _NAMES.search(str(k)) and v is not None else mask(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value
