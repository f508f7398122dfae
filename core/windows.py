"""Raw data comes in windows of arrival time: half-open, UTC, named so that they sort."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%Y%m%dT%H%M%SZ"


def as_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; a naive one is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@dataclass(frozen=True, order=True)
class Window:
    """The arrival times ``[since, until)``, timezone-aware UTC, whole seconds."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "since", as_utc(self.since))
        object.__setattr__(self, "until", as_utc(self.until))
        if self.since >= self.until:
            raise ConfigError(
                f"A window must end after it starts: {self.since.isoformat()} .. {self.until.isoformat()}.",
                hint="Give a later end.",
            )

    @property
    def id(self) -> str:
        """The window's name on disk, for example ``20130101T000000Z_20131001T000000Z``."""
        return f"{self.since.strftime(_FORMAT)}_{self.until.strftime(_FORMAT)}"

    @classmethod
    def parse(cls, window_id: str) -> Self:
        """Read a window back from its :attr:`id`."""
        try:
            since, until = (datetime.strptime(p, _FORMAT).replace(tzinfo=UTC) for p in window_id.split("_"))
        except ValueError as error:
            raise ConfigError(
                f"{window_id!r} is not the name of a window.",
                hint="Names look like 20130101T000000Z_20131001T000000Z.",
            ) from error
        return cls(since, until)

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d %H:%M} .. {self.until:%Y-%m-%d %H:%M} UTC"


def list_windows(folder: Path) -> list[Window]:
    """Return the complete windows under ``folder`` in order; unfinished ones (``.tmp``) do not count."""
    if not folder.is_dir():
        return []
    return sorted(
        Window.parse(p.name)
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and not p.name.endswith(".tmp")
    )
