"""What a service's OpenAPI document says of good answers, held against an answer."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import httpx
import jsonschema_rs

JSON = "application/json"


class Contract:
    """The good answers that an OpenAPI document names.

    Forms are taken more strictly than by clients, who must bear members that a newer service adds: here a member that
    the document does not name is one that somebody forgot.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, Any] = {}

    def good(self) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
        """Give method, path, status and description of each good answer."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                for status, told in operation["responses"].items():
                    if status.startswith("2"):
                        yield method.upper(), path, int(status), told

    def wrong(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """Return what is wrong with a value of which a schema of the document is to be true."""
        key = repr(schema)
        if key not in self._validators:
            whole = {**_closed(schema), "components": {"schemas": self._schemas}}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in self._validators[key].iter_errors(value)]

    def check(self, answer: httpx.Response) -> None:
        """Fail where a good answer is not what the document says of it; others, and unknown paths, are let be."""
        path = answer.request.url.path.removeprefix("/v1")
        told = self._told(answer.request.method, path)
        if told is None or not answer.is_success:
            return
        where, kind = f"{answer.request.method} {path}", answer.headers.get("content-type", "").partition(";")[0]
        content = told.get(str(answer.status_code), {}).get("content", {})
        assert kind in content, f"{where}: {answer.status_code} as {kind or 'no type'} is not in the reference"
        if kind == JSON:
            found = self.wrong(content[kind].get("schema", {}), answer.json())
            assert not found, f"{where}: {found[:5]}"

    def _told(self, method: str, path: str) -> dict[str, Any] | None:
        """Return what the document says of an operation's answers."""
        for pattern, name in self._paths:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][name]:
                found: dict[str, Any] = self.document["paths"][name][method.lower()]["responses"]
                return found
        return None

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        found = []
        for name in sorted(self.document["paths"], key=lambda path: path.count("{")):
            gap = ".+" if name.startswith("/features/") else "[^/]+"  # an entity's id may hold slashes
            found.append((re.compile(re.sub(r"\\{\w+\\}", gap, re.escape(name))), name))
        return found

    @cached_property
    def _schemas(self) -> dict[str, Any]:
        return {name: _closed(one) for name, one in self.document["components"]["schemas"].items()}


def _closed(schema: Any) -> Any:
    """Return a schema that allows no member beside those it names, unless it says that there are others."""
    closed = copy.deepcopy(schema)
    waiting = [closed]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("properties"), dict) and one.get("type") == "object":
                one.setdefault("additionalProperties", False)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return closed
