"""Where jobs are kept (a DBOS system database a service), who may run them, and how their data is written."""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import psycopg
from dbos import DBOS, DBOSClient, Serializer
from dbos import error as dbos_error
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core import errors
from core.errors import DatabaseUnavailable, PunctualError

if TYPE_CHECKING:
    from pathlib import Path

    from core.repo import FeatureRepo
    from core.settings import Settings

# One version for good: work that was queued before a change of code is taken up after it. Steps are matched by name.
VERSION = "1"
_LOCK = 7_283_512  # of Postgres, beside the service's name
_CONNECT_SECONDS = 3
# A machine that is lost says no goodbye: Postgres would keep its session, and the lock with it, for hours, and one that
# is cut off from Postgres would believe for a quarter of an hour that it still has the lock.
_NOTICES: dict[str, Any] = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_UNANSWERED_MS = 10_000
_ASK_SECONDS = 0.1


class PlainJson(Serializer):
    """Keeps arguments, results and errors as JSON: nothing that is read back can run code."""

    def serialize(self, data: Any) -> str:
        """Write plain data, or an error."""
        if isinstance(data, BaseException):
            data = {"__error__": _plain_error(data)}
        return json.dumps(data, default=str)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - as DBOS names it
        """Read it back; an error of ours has its type again."""
        data = json.loads(serialized_data)
        if isinstance(data, dict) and set(data) == {"__error__"}:
            return _error(data["__error__"])
        return data

    def name(self) -> str:
        """Return the name that is kept beside what it wrote."""
        return "punctual_json"


def _plain_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, dbos_error.DBOSMaxStepRetriesExceeded) and error.errors:
        error = error.errors[-1]  # what went wrong is the answer, not that it was tried often enough
    if isinstance(error, PunctualError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"type": "JobFailed", "message": f"{type(error).__name__}: {error}", "hint": ""}


def _error(plain: dict[str, Any]) -> PunctualError:
    kind = getattr(errors, plain["type"], errors.JobFailed)
    if not (isinstance(kind, type) and issubclass(kind, PunctualError)):
        kind = errors.JobFailed
    return kind(plain["message"], hint=plain["hint"])


@dataclass(frozen=True)
class Store:
    """The job store of one service.

    Attributes
    ----------
    service : str
        Whose it is: executors of different services never take each other's work.
    url : str
        SQLAlchemy URL.
    schema : str
        Schema on Postgres.
    locks : Path
        Folder of lock files, for SQLite.
    """

    service: str
    url: str
    schema: str
    locks: Path

    @classmethod
    def of(cls, service: str, repo: FeatureRepo, settings: Settings) -> Store:
        """Return the store that the settings name: on their Postgres, or a SQLite file in the feature repo's data."""
        url = settings.database or ""
        if url.startswith("postgres"):
            url = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        else:
            url = f"sqlite:///{repo.layout.data / f'jobs-{service}.db'}"
        return cls(service, url, f"jobs_{service}", repo.layout.run)

    @property
    def name(self) -> str:
        """The application's name to DBOS."""
        return f"punctual-{self.service}"

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return self.url.startswith("sqlite")

    def prepare(self) -> None:
        """Make or migrate the tables; of several processes that start at once, one does it.

        Raises
        ------
        DatabaseUnavailable
            When the database does not answer.
        """
        quiet()
        with unavailable(self), self.lock("migrate").held():
            if self.sqlite:
                path = make_url(self.url).database or ""
                with closing(sqlite3.connect(path, timeout=30)) as connection:
                    # Those who look at jobs must not wait for the jobs; it stays so in the file.
                    connection.execute("PRAGMA journal_mode=WAL")
            DBOS.migrate(self.url, schema=self.schema)

    def client(self) -> DBOSClient:
        """Return a client of the store; it raises instead of waiting for a database that is away."""
        return DBOSClient(
            system_database_url=self.url,
            dbos_system_schema=self.schema,
            serializer=PlainJson(),
            application_name=self.name,
            lazy=True,
            retry_connection_errors=False,
        )

    def tally(self) -> list[tuple[str, str, int, int, int | None]]:
        """Count the jobs by kind and status, with the first creation and the last end of each, in ms since 1970.

        DBOS itself lists jobs one by one; its table is part of its documented interface.
        """
        table = "workflow_status" if self.sqlite else f'"{self.schema}".workflow_status'
        query = f"SELECT name, status, count(*), min(created_at), max(completed_at) FROM {table} GROUP BY name, status"
        # A database that is gone without a word must not keep who looks for good.
        soon = {"connect_timeout": _CONNECT_SECONDS, "keepalives_idle": 5, "keepalives_interval": 2}
        engine = create_engine(self.url, poolclass=NullPool, connect_args={} if self.sqlite else soon)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def lock(self, purpose: str) -> Lock:
        """Return a lock that one process at a time can hold, and that dies with it."""
        return FileLock(self.locks, f"jobs-{self.service}-{purpose}") if self.sqlite else PostgresLock(self, purpose)


class Lock:
    """What :meth:`Store.lock` gives."""

    def take(self, *, wait: bool = False) -> bool:
        """Try to take it, or wait until it can be had; True when it is ours."""
        raise NotImplementedError

    def ours(self) -> bool:
        """Return whether it is still ours."""
        raise NotImplementedError

    def release(self) -> None:
        """Give it back."""
        raise NotImplementedError

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it while the block runs."""
        self.take(wait=True)
        try:
            yield
        finally:
            self.release()


class FileLock(Lock):
    """A locked file: for processes of one machine, as SQLite is."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"
        self._file: IO[str] | None = None

    def take(self, *, wait: bool = False) -> bool:
        """See :class:`Lock`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def ours(self) -> bool:
        """See :class:`Lock`."""
        return self._file is not None

    def release(self) -> None:
        """See :class:`Lock`."""
        if self._file is not None:
            self._file.close()
            self._file = None


class PostgresLock(Lock):
    """An advisory lock of Postgres: for processes of all machines; gone when its connection is."""

    def __init__(self, store: Store, purpose: str) -> None:
        url = make_url(store.url).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._key = f"{store.schema}-{purpose}"
        self._connection: psycopg.Connection[Any] | None = None

    def take(self, *, wait: bool = False) -> bool:
        """See :class:`Lock`."""
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            tcp_user_timeout=_UNANSWERED_MS,
            **_NOTICES,
        )
        # The same for Postgres' side of the connection. Not as options of the connection: poolers refuse those.
        theirs = {"tcp_user_timeout": _UNANSWERED_MS, **{f"tcp_{name}": value for name, value in _NOTICES.items()}}
        connection.execute(
            b"SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS settings (name, value)",
            ([*theirs], [str(value) for value in theirs.values()]),
        )
        # Asked again and again: a statement that waits inside Postgres holds a snapshot, and whoever has the lock and
        # makes an index CONCURRENTLY, as DBOS does, waits for that to end, unseen by Postgres' search for deadlocks.
        query = b"SELECT pg_try_advisory_lock(%s, hashtext(%s))"
        while connection.execute(query, (_LOCK, self._key)).fetchone() != (True,):
            if not wait:
                connection.close()
                return False
            time.sleep(_ASK_SECONDS)
        self._connection = connection
        return True

    def ours(self) -> bool:
        """See :class:`Lock`."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.release()
            return False
        return True

    def release(self) -> None:
        """See :class:`Lock`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def unavailable(store: Store) -> Iterator[None]:
    """Turn errors of the database into ones that say what is away.

    Raises
    ------
    DatabaseUnavailable
        With the store's name, never its password.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout, psycopg.OperationalError, sqlite3.OperationalError) as error:
        raise DatabaseUnavailable(
            f"The {store.service} service's job store ({make_url(store.url).render_as_string()}) does not answer: "
            f"{str(error.args[0] if error.args else error).splitlines()[0]}",
            hint="Is it running? PUNCTUAL_DATABASE says where it is.",
        ) from error


def away(error: BaseException | None) -> bool:
    """Return whether the database is away; what it refuses it would refuse again."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout)


_TOLD = ("Exception encountered in background workflow", "Step being automatically retried", "was cancelled during")


def _told(record: logging.LogRecord) -> bool:
    """Leave out what the job's own log says already, and without a trace."""
    return not any(words in record.getMessage() for words in _TOLD)


def quiet() -> None:
    """Let DBOS speak through our own log, and only when something is wrong."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.WARNING)
    if _told not in logger.filters:
        logger.addFilter(_told)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # or DBOS adds one of its own
    logger.propagate = True
