"""What a prediction is asked with: read from the prediction service's own API reference: no problem is built in.

The first field is the entity's id. The others are looked up where they are not sent: sent, they ask *what if*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from core.errors import InvalidRequest, ServiceUnavailable

Kind = Literal["text", "integer", "number", "boolean", "moment"]
_KINDS: dict[tuple[str | None, str | None], Kind] = {
    ("string", "date-time"): "moment",
    ("integer", "int64"): "integer",
    ("integer", "int32"): "integer",
    ("number", None): "number",
    ("boolean", None): "boolean",
}
_SOURCE = re.compile(r"\bfrom (?P<view>\w+):(?P<feature>\w+)\b")


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes
    ----------
    name : str
        As it is sent.
    kind : {"text", "integer", "number", "boolean", "moment"}
        What it holds; moments are UTC.
    required : bool
        Whether nothing can be predicted without it.
    view, feature : str or None
        Where it is read from when it is not sent.
    """

    name: str
    kind: Kind
    required: bool = False
    view: str | None = None
    feature: str | None = None

    def read(self, text: str) -> str | int:
        """Return an id as it was typed, as it is sent.

        Raises
        ------
        InvalidRequest
            When it is to be a whole number and is none.
        """
        typed = text.strip()
        if self.kind != "integer":
            return typed
        try:
            return int(typed)
        except ValueError as error:
            raise InvalidRequest(f"{self.name} is a whole number, got {typed[:60]!r}.") from error


@dataclass(frozen=True)
class Contract:
    """What a request holds.

    Attributes
    ----------
    title : str
        The question that is answered, in words.
    key : Field
        The entity's id.
    inputs : tuple of Field
        What else may be sent.
    """

    title: str
    key: Field
    inputs: tuple[Field, ...]

    @property
    def home(self) -> str | None:
        """The view that is keyed by the entity alone, None where nothing is looked up."""
        return next((field.view for field in self.inputs if field.view), None)


def read_contract(document: Mapping[str, Any]) -> Contract:
    """Read the OpenAPI document of the prediction service.

    Raises
    ------
    ServiceUnavailable
        When it does not say what a request holds: nothing is applied yet, or the service is of another version.
    """
    try:
        body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        entity = body["properties"]["entities"]["items"]
        required = set(entity["required"])
        fields = [_field(name, schema, name in required) for name, schema in entity["properties"].items()]
        title = str(document["info"]["title"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ServiceUnavailable(
            "The prediction service does not say what a request holds.",
            hint="Feast definitions may not be applied yet: run the flow, or punctual apply.",
        ) from error
    return Contract(title.partition(": ")[2] or title, fields[0], tuple(fields[1:]))


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    kind = _KINDS.get((kinds[0].get("type"), kinds[0].get("format")), "text") if kinds else "text"
    source = _SOURCE.search(schema.get("description", ""))
    return Field(name, kind, required, *(source.group("view", "feature") if source else ()))


def sent(value: Any) -> Any:
    """Return a value as JSON has it: moments without a zone are UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return value


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of ``after`` is another value than ``before``, as it is sent; what was emptied is left out."""
    out = {}
    for name, value in after.items():
        if value is None or value == "":
            continue
        if not _same(before.get(name), value):
            out[name] = sent(value)
    return out


def _same(before: Any, after: Any) -> bool:
    if isinstance(after, datetime):
        return as_moment(before) == as_moment(after)
    return bool(before == after)


def as_moment(value: Any) -> datetime | None:
    """Return a moment, UTC, from what a service or a widget gives; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
