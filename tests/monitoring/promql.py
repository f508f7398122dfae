"""Which metrics a PromQL expression asks for, and by which labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?")
_WORDS = {"and", "or", "unless", "bool", "offset"}


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return each metric of an expression with the labels that it is picked by."""
    text = _GROUPING.sub(" ", _RANGE.sub(" ", _STRING.sub("''", expression)))
    found = []
    for name, rest in _SELECTOR.findall(text):
        if rest != "(" and name not in _WORDS:
            found.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", rest))))
    return found


def groupings(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    found = _GROUPING.findall(_STRING.sub("''", expression))
    return {label.strip() for labels in found for label in labels.split(",") if label.strip()}


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of a kind, ``record`` or ``alert``, of all files."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]
