"""A copy of the small loans repo that a test may spoil: what the tests of every step share."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from core.repo import FeatureRepo

LOANS = Path(__file__).resolve().parent / "loans"


@dataclass
class LoansCopy:
    """A copy of the loans repo."""

    folder: Path

    @classmethod
    def copy_to(cls, folder: Path) -> Self:
        """Copy the repo itself, without data."""
        shutil.copytree(LOANS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
        return cls(folder)

    def copied_to(self, folder: Path) -> Self:
        """Return another like this one, data included."""
        shutil.copytree(self.folder, folder)
        return type(self)(folder)

    @property
    def repo(self) -> FeatureRepo:
        """Open it anew, with whatever its files say now."""
        return FeatureRepo.load(self.folder)

    def sql(self, name: str, text: str) -> None:
        """Replace one SQL file."""
        (self.folder / "sql" / f"{name}.sql").write_text(text)

    def problem(self, **changes: Any) -> None:
        """Change fields of ``problem.yaml``."""
        path = self.folder / "problem.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
