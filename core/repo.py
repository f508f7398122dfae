"""A feature repo as punctual sees it: layout, problem, raw source and SQL. Feast is opened elsewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from core.clock import Clock, ReplayClock, SystemClock
from core.errors import ConfigError, SourceError
from core.files import digest_of
from core.layout import Layout
from core.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

SPINE = "spine"
UPCOMING = "upcoming"
_LOOKBACK = re.compile(r"^--\s*lookback:\s*(\w+)\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Query:
    """One SQL file: a single SELECT over the raw tables.

    Attributes
    ----------
    name : str
        The feature view's name, ``spine``, or ``upcoming``.
    text : str
        The SELECT.
    lookback : mapping of str to str
        Raw table -> SQL interval of history that a window's rows need (``-- lookback: arrivals 30 days``).
    """

    name: str
    text: str
    lookback: Mapping[str, str]

    @property
    def version(self) -> str:
        """A content hash of the query."""
        return digest_of(self.text)

    def mentions(self, table: str) -> bool:
        """Whether the text names a table. A word in a comment counts too: that costs a look, and spoils nothing."""
        return re.search(rf"\b{re.escape(table)}\b", self.text, re.IGNORECASE) is not None


@dataclass(frozen=True)
class FeatureRepo:
    """One feature repo folder, opened with :meth:`load`."""

    layout: Layout
    problem: Problem

    @classmethod
    def load(cls, path: Path) -> FeatureRepo:
        """Open a feature repo.

        Raises
        ------
        ConfigError
            When the folder or a file of the contract is missing or wrong.
        """
        if not (path / "feature_store.yaml").is_file():
            raise ConfigError(
                f"{path} is not a feature repo: it has no feature_store.yaml.",
                hint="Set PUNCTUAL_FEATURE_REPO to the folder that holds it.",
            )
        layout = Layout(path)
        return cls(layout, Problem.load(layout.repo / "problem.yaml"))

    @property
    def clock(self) -> Clock:
        """The clock this problem lives on."""
        return ReplayClock(self.layout.raw) if self.problem.data.clock == "replay" else SystemClock()

    @cached_property
    def _source(self) -> ModuleType:
        path = self.layout.repo / "source.py"
        if not path.is_file():
            raise ConfigError(f"There is no {path}.", hint="docs/feature-repo.md explains what it must hold.")
        spec = importlib.util.spec_from_file_location(f"punctual_source_{digest_of(str(path))}", path)
        if spec is None or spec.loader is None:  # cannot happen for a .py file; tells mypy so
            raise SourceError(f"{path} cannot be imported.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise SourceError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
        for name in ("SCHEMAS", "fetch"):
            if not hasattr(module, name):
                raise ConfigError(f"{path} defines no {name}.", hint="docs/feature-repo.md explains the contract.")
        return module

    @property
    def schemas(self) -> dict[str, Any]:
        """Raw table name -> pandera ``DataFrameSchema``, as ``source.py`` declares them."""
        return dict(self._source.SCHEMAS)

    def fetch(self, since: datetime, until: datetime) -> dict[str, pd.DataFrame]:
        """Call the repo's own ``fetch(since, until)`` and check that it returns the declared tables.

        Raises
        ------
        SourceError
            When it fails, or returns tables other than those declared in ``SCHEMAS``.
        """
        try:
            tables = self._source.fetch(since, until)
        except Exception as error:
            raise SourceError(
                f"source.py failed for {since:%Y-%m-%d %H:%M} .. {until:%Y-%m-%d %H:%M}: "
                f"{type(error).__name__}: {error}",
                hint="Nothing was written. Mend the source or try again later.",
            ) from error
        if set(tables) != set(self.schemas):
            raise SourceError(
                f"source.py returned the tables {sorted(tables)}, but declares {sorted(self.schemas)}.",
                hint="fetch() must return every table of SCHEMAS, empty ones too.",
            )
        return dict(tables)

    @cached_property
    def queries(self) -> dict[str, Query]:
        """The SQL files of the feature views and of the spine by name: what a training set is made of."""
        folder = self.layout.repo / "sql"
        queries = {p.stem: _query(p) for p in sorted(folder.glob("*.sql")) if p.stem != UPCOMING}
        if SPINE not in queries:
            raise ConfigError(f"There is no {folder / 'spine.sql'}.", hint="docs/feature-repo.md shows one.")
        return queries

    @property
    def spine(self) -> Query:
        """The query that gives the training rows."""
        return self.queries[SPINE]

    @cached_property
    def upcoming(self) -> Query:
        """The query that tells ahead which entities will be asked for, and when.

        Raises
        ------
        ConfigError
            When the repo has none: it is optional, and only what plans ahead needs it.
        """
        path = self.layout.repo / "sql" / f"{UPCOMING}.sql"
        if not path.is_file():
            raise ConfigError(
                f"There is no {path}, so nobody can tell which entities are due next.",
                hint="Write one: what a client would send, and event_timestamp. docs/feature-repo.md shows how.",
            )
        return _query(path)


def _query(path: Path) -> Query:
    text = path.read_text(encoding="utf-8").strip().rstrip(";")
    return Query(path.stem, text, dict(_LOOKBACK.findall(text)))
