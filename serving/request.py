"""Reads and checks a prediction request: which entity is wrong, and why, before anything is looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from core.errors import BatchTooLarge, ConfigError, InvalidRequest, RequestError
from core.windows import as_utc
from stores.value_types import ValueType

if TYPE_CHECKING:
    from serving.resolve import Needs

Entity = dict[str, Any]
_MEMBERS = ("entities", "what_if")
_SHOWN = 3  # offending entities in the message; all of them are in `errors`
_INT64 = range(-(2**63), 2**63)
_EXACT = 2.0**53  # whole numbers up to here are floats of their own
_INT32 = range(-(2**31), 2**31)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be text")
    value.encode()  # a lone surrogate is no text that could be looked up
    return value


def _integer(allowed: range) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        # JSON has one kind of number: 1.0 is a whole one. Beyond 2^53 a float may stand for its neighbour too.
        if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise ValueError(f"must be a whole number of {allowed.stop.bit_length()} bits")
        return value

    return check


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return float(value)


def _boolean(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _moment(value: Any) -> Any:
    try:
        if isinstance(value, str):
            return as_utc(datetime.fromisoformat(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass  # said below, in our words
    raise ValueError("must be a time: ISO 8601 (without a zone it is UTC) or seconds since 1970")


def _list(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def each(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        try:
            return [check(one) for one in value]
        except UnicodeError:
            raise
        except ValueError as error:
            raise ValueError(f"must be a list, each of which {error}") from error

    return each


_ONE: dict[ValueType, Callable[[Any], Any]] = {
    ValueType.STRING: _text,
    ValueType.INT64: _integer(_INT64),
    ValueType.INT32: _integer(_INT32),
    ValueType.DOUBLE: _number,
    ValueType.FLOAT: _number,
    ValueType.BOOL: _boolean,
    ValueType.UNIX_TIMESTAMP: _moment,
}
_CHECKS = _ONE | {ValueType[f"{kind.name}_LIST"]: _list(check) for kind, check in _ONE.items()}


class Asked(NamedTuple):
    """What a request asks: its entities, checked, and whether it is tried out only."""

    entities: list[Entity]
    what_if: bool


class RequestReader:
    """Reads request bodies for one problem.

    Parameters
    ----------
    needs : Needs
        Which fields there are, and of which types.
    max_batch : int
        Most entities in one request.

    Raises
    ------
    ConfigError
        When a field is of a type that no request can hold.
    """

    def __init__(self, needs: Needs, max_batch: int) -> None:
        # What is not checked might be of any depth, and no log could hold it.
        if unheard := [f"{name} ({kind.name})" for name, kind in needs.types.items() if kind not in _CHECKS]:
            raise ConfigError(
                f"No request can hold a field of this type: {', '.join(unheard)}.",
                hint="Join keys and request-time inputs are text, numbers, booleans, times, and arrays of these.",
            )
        self._checks = {name: _CHECKS[kind] for name, kind in needs.types.items()}
        self._required = needs.entity_keys
        self._max_batch = max_batch

    def read(self, body: bytes) -> Asked:
        """Return what a request asks: entities, each field checked and times as UTC moments; null counts as absent.

        Raises
        ------
        InvalidRequest
            When the body is no request; ``errors`` lists every offending entity with its position.
        BatchTooLarge
            When it asks for more entities than allowed.
        """
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The body is not JSON: {error}.", hint=self._example()) from error
        if not isinstance(content, dict):
            raise InvalidRequest("The body must be a JSON object.", hint=self._example())
        if extra := [name for name in content if name not in _MEMBERS]:
            raise InvalidRequest(f"The body has an unknown member {_shown(extra[0])}.", hint=self._example())
        what_if = content.get("what_if", False)
        if not isinstance(what_if, bool):
            raise InvalidRequest(f"The member what_if must be true or false, not {_shown(what_if)}.")
        entities = content.get("entities")
        if not isinstance(entities, list):
            raise InvalidRequest("The member entities must be a list.", hint=self._example())
        if not entities:
            raise InvalidRequest("The list entities is empty.", hint=self._example())
        if len(entities) > self._max_batch:
            raise BatchTooLarge(
                f"{len(entities)} entities were sent, one request may hold {self._max_batch}.",
                hint="Split the request, or raise PUNCTUAL_MAX_BATCH.",
            )
        out, errors = [], {}
        for position, entity in enumerate(entities):
            try:
                out.append(self._entity(entity))
            except ValueError as error:
                errors[position] = str(error)
        if errors:
            raise offending(InvalidRequest, errors)
        return Asked(out, what_if)

    def check(self, entity: Any) -> Entity:
        """Return one entity, checked.

        Raises
        ------
        InvalidRequest
            Naming the field that is wrong.
        """
        try:
            return self._entity(entity)
        except ValueError as error:
            raise InvalidRequest(f"{error}.") from error

    def _entity(self, entity: Any) -> Entity:
        if not isinstance(entity, dict):
            raise ValueError(f"must be an object, not {_shown(entity)}; allowed fields: {', '.join(self._checks)}")
        out = {}
        for name, value in entity.items():
            check = self._checks.get(name)
            if check is None:
                raise ValueError(f"unknown field {_shown(name)}; allowed fields: {', '.join(self._checks)}")
            if value is None:
                continue
            try:
                out[name] = check(value)
            except ValueError as error:
                words = str(error) if not isinstance(error, UnicodeError) else "must be valid text"
                raise ValueError(f"{name} {words}, got {_shown(value)}") from error
        for name in self._required:
            if name not in out:
                raise ValueError(f"{name} is missing")
        return out

    def _example(self) -> str:
        return 'Send {"entities": [{"%s": ...}]}.' % self._required[0]  # noqa: UP031 - braces are JSON's here


def offending(kind: type[RequestError], errors: dict[int, str]) -> RequestError:
    """Return an error that names every offending entity: the first few in words, all of them in ``errors``."""
    said = "; ".join(f"entity {position}: {detail}" for position, detail in list(errors.items())[:_SHOWN])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    listed: Sequence[dict[str, Any]] = [{"entity": p, "detail": d} for p, d in errors.items()]
    return kind(f"{said}{more}.", errors=listed)


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"  # may be of any size and depth
    # What comes from a path may be a whole number of more than 64 bits, which orjson does not write.
    text = str(value) if type(value) is int else orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
