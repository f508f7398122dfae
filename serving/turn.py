"""Requests that are answered together: what each asks, and what becomes of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.request import Entity, offending

if TYPE_CHECKING:
    from core.errors import RequestError
    from serving.lookup import Bad

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes
    ----------
    entities : sequence of dict
        What it asks about.
    request : str
        The id that finds it in the logs.
    actor : str or None
        Who asks: ``anna``, ``key:dashboard``.
    what_if : bool
        Whether it is tried out only: logged like any other, and not counted.
    """

    entities: Sequence[Entity]
    request: str
    actor: str | None = None
    what_if: bool = False

    def __len__(self) -> int:
        return len(self.entities)


class Turn:
    """Calls that are answered together, their rows one after the other, and what has become of each call."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._starts: list[int] = []
        first = 0
        for call in calls:
            self._starts.append(first)
            first += len(call)
        self.count = first
        self.good = list(zip(calls, self._starts, strict=True))
        self._answers: dict[int, list[Answer] | Exception] = {}

    def refuse(self, kind: type[RequestError], bad: Bad) -> None:
        """Take out the calls that have bad rows, each told of its own."""
        if not bad:
            return
        good = []
        for call, first in self.good:
            own = {i - first: bad[i] for i in range(first, first + len(call)) if i in bad}
            if own:
                self._answers[first] = offending(kind, own)
            else:
                good.append((call, first))
        self.good = good

    @property
    def rows(self) -> Collection[int]:
        """The rows of the calls that were not refused."""
        if not self._answers:
            return range(self.count)
        return {row for call, first in self.good for row in range(first, first + len(call))}

    def give(self, first: int, answers: list[Answer]) -> None:
        """Keep the answers of the call that begins at a row."""
        self._answers[first] = answers

    def answers(self) -> list[list[Answer] | Exception]:
        """Return what each call gets, in their order."""
        return [self._answers[first] for first in self._starts]
