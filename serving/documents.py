"""What the API reference says of requests; the fields come from the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.resolve import Needs
from stores.value_types import ValueType

_JSON_TYPES: dict[ValueType, dict[str, Any]] = {
    ValueType.STRING: {"type": "string"},
    ValueType.INT64: {"type": "integer", "format": "int64"},
    ValueType.INT32: {"type": "integer", "format": "int32"},
    ValueType.DOUBLE: {"type": "number"},
    ValueType.FLOAT: {"type": "number"},
    ValueType.BOOL: {"type": "boolean"},
    ValueType.UNIX_TIMESTAMP: {"type": "string", "format": "date-time"},
}
_JSON_TYPES |= {
    ValueType[f"{kind.name}_LIST"]: {"type": "array", "items": schema} for kind, schema in _JSON_TYPES.items()
}
_EXAMPLES: dict[ValueType, Any] = {
    ValueType.INT64: 1,
    ValueType.INT32: 1,
    ValueType.DOUBLE: 1.0,
    ValueType.FLOAT: 1.0,
    ValueType.BOOL: True,
    ValueType.UNIX_TIMESTAMP: "2024-01-01T12:00:00Z",
}
_EXAMPLES |= {ValueType[f"{kind.name}_LIST"]: [example] for kind, example in _EXAMPLES.items()}
_WHAT_IF = {
    "type": "boolean",
    "default": False,
    "description": "Try something out: answered, logged and explained like any other, and not counted by monitoring.",
}


def request_body(needs: Needs | None) -> dict[str, Any]:
    """Return the OpenAPI request body: every field a client may send, and an example with the required ones.

    Without ``needs`` (nothing is applied yet) entities are objects of any fields.
    """
    if needs is None:
        entity: dict[str, Any] = {"type": "object"}
        return _body(entity, {})
    fields = {name: dict(_JSON_TYPES.get(kind, {})) for name, kind in needs.types.items()}
    required = [name for name in needs.types if name in needs.entity_keys or name not in needs.lookups]
    for name in fields:
        if name not in required:
            fields[name] = {"anyOf": [fields[name], {"type": "null"}]}
        if name in needs.lookups:
            fields[name]["description"] = f"Read from {needs.lookups[name]} when it is not sent."
    entity = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return _body(entity, {name: _EXAMPLES.get(needs.types[name], f"<{name}>") for name in required})


def entity_parameter(needs: Needs | None) -> dict[str, Any]:
    """Return the OpenAPI parameter of an entity's id in a path: of the type that the registry says."""
    key = needs.entity_keys[0] if needs else "id"
    schema = _JSON_TYPES.get(needs.types[key], {}) if needs else {"type": "string"}
    return {"name": "entity", "in": "path", "required": True, "description": f"The {key}.", "schema": schema}


def _body(entity: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    entities = {"type": "array", "items": entity, "minItems": 1}
    members = {"entities": entities, "what_if": _WHAT_IF}
    schema = {"type": "object", "properties": members, "required": ["entities"], "additionalProperties": False}
    examples = {
        "by id": {"value": {"entities": [example]}},
        "what if": {"value": {"entities": [example], "what_if": True}},
    }
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"required": True, "content": content}
