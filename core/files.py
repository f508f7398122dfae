"""Writes that are there whole or not at all, and content hashes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def sync(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    # Chance, and no process's number: threads share one, and so may machines that share the disk.
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it becomes ``path``, on an error it is removed.

    A reader sees the old file or the new one, also after a power cut or ``kill -9``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` on success, replacing what was there.

    Replacing an existing folder is not one step for the file system: the old one is moved aside first. A
    crash between the two moves leaves the old folder under its temporary name and the next call starts anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync(file)
        if path.exists():
            old = _beside(path)
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as sorted, indented JSON: the same content gives the same bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(*parts: str) -> str:
    """Return one short (16 hexadecimal digits) content hash of several texts, order included."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def write_secret(path: Path, secret: str) -> None:
    """Write a secret that only its owner can read: the folder is mode 0700, the file 0600, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(secret, encoding="utf-8")


def read_secret(path: Path) -> str | None:
    """Return a secret without the white space around it; None where there is none."""
    return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None


def close_to_others(folder: Path) -> None:
    """Make a folder that everybody may look into its owner's alone: one that came with a checkout, or with older code.

    One that only its group may is left as it is: somebody gave it to several users.
    """
    with suppress(FileNotFoundError, PermissionError):
        if folder.stat().st_mode & 0o007:
            folder.chmod(0o700)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file while the block runs; a killed holder lets go by itself.

    Raises
    ------
    BlockingIOError
        When another holds it, and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def make_secret(path: Path, secret: str) -> str:
    """Write a secret unless one is there, and return the one that is; of several processes, the first wins."""
    if (there := read_secret(path)) is not None:
        return there
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8") as file:  # mode 0600
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)
    return path.read_text(encoding="utf-8").strip()
