"""A copy of a feature repo to let time go by in: the original's clock stays where it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.files import atomic_dir
from core.layout import Layout
from core.repo import FeatureRepo
from stores.registry import apply

if TYPE_CHECKING:
    from core.settings import Settings

# What belongs to the processes of the original, to its own replays, or is made again at once.
_LEFT = ("run", "jobs", "replay", "registry.db", "registry.json", "jobs-*", "*.db-wal", "*.db-shm", "*.lock", "*.tmp")
# Where MLflow's database says where artifacts are: whole addresses, which must become the copy's.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def copy_repo(repo: FeatureRepo, settings: Settings, folder: Path) -> FeatureRepo:
    """Copy a feature repo with its data; one that is there already is returned as it is.

    Parquet files are hard links where the file system allows: nothing ever changes one in place. Databases are copied
    as they are at one moment. The online store is not: the first materialization fills it from the feature rows.

    Raises
    ------
    ConfigError
        When the folder holds something else, or registry or database are not in the repo's own data folder.
    """
    folder = folder.resolve()
    if (folder / "feature_store.yaml").is_file():
        return FeatureRepo.load(folder)
    if folder.exists():
        raise ConfigError(f"{folder} is there and is no feature repo.", hint="Name a folder that does not exist yet.")
    if folder.is_relative_to(repo.layout.repo):
        raise ConfigError(f"{folder} lies inside of what is to be copied.", hint="Name a folder elsewhere.")
    for name, value in (("PUNCTUAL_MLFLOW_URI", settings.mlflow_uri), ("PUNCTUAL_DATABASE", settings.database)):
        if value:
            raise ConfigError(
                f"{name} is set: the copy would share what it names with the original.",
                hint="Set another, or unset it.",
            )
    data = repo.layout.data

    def left(inside: str, names: list[str]) -> set[str]:
        here = Path(inside)
        return set(shutil.ignore_patterns(*(_LEFT if here == data else ("__pycache__", "*.tmp")))(inside, names))

    with atomic_dir(folder) as temporary:
        shutil.copytree(repo.layout.repo, temporary, ignore=left, copy_function=_copy, dirs_exist_ok=True)
        mlflow = Layout(temporary).data / "mlflow.db"
        if mlflow.is_file():
            _readdress(mlflow, repo.layout.mlflow_artifacts, Layout(folder).mlflow_artifacts)
    made = FeatureRepo.load(folder)
    apply(made)
    return made


def _copy(source: str, target: str) -> None:
    if source.endswith(".db"):
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
        return
    if source.endswith(".parquet"):
        try:
            os.link(source, target)
        except OSError:  # another file system
            pass
        else:
            return
    shutil.copy2(source, target)


def _readdress(database: Path, old: Path, new: Path) -> None:
    with closing(sqlite3.connect(database)) as con, con:
        for table, columns in _ADDRESSES.items():
            there = {row[1] for row in con.execute(f"PRAGMA table_info({table})")}
            for column in there.intersection(columns):
                con.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE {column} LIKE ?",
                    (old.as_uri(), new.as_uri(), old.as_uri() + "%"),
                )
