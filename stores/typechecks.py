"""Feast checks the types of what its classes are given where definitions are written, and not at every start.

Feast decorates its classes with ``typechecked`` of typeguard, which compiles a module anew for each of its methods: two
thirds of the time that ``import feast`` takes, which is seconds for every service and every stage. The checks are for
people who write definitions. So they are left out when Feast is imported, and put on the constructors that definitions
call before definitions are read.
"""

from __future__ import annotations

import sys
from typing import Any

import typeguard

_typechecked = typeguard.typechecked
_waiting: list[Any] = []


def defer() -> None:
    """Leave the checks out of what is imported of Feast from now on; others that use typeguard are not touched."""
    if "feast" not in sys.modules:
        typeguard.typechecked = _unless_feast


def check_definitions() -> None:
    """Check from now on what the classes of definitions are constructed with: ``TypeCheckError`` names the argument."""
    while _waiting:
        one = _waiting.pop()
        if "__init__" in vars(one):
            one.__init__ = _typechecked(one.__init__)


def _unless_feast(target: Any = None, **options: Any) -> Any:
    if target is None:
        return lambda given: _unless_feast(given, **options)
    if target.__module__.startswith("feast."):
        _waiting.append(target)
        return target
    return _typechecked(target, **options)
