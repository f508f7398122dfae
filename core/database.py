"""The database of accounts, audit log and promotion ledger: SQLite by default, Postgres by setting."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from core.errors import ConfigError, DatabaseUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

    from core.repo import FeatureRepo
    from core.settings import Settings

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_283_511  # of Postgres, while migrating
_BUSY_SECONDS = 10
# A connection whose other end is gone without a word must not hang for the hours that TCP would give it.
_POSTGRES = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Database:
    """Opens sessions; migrated to this code's tables when it is first used.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: ``sqlite:///<path>`` or ``postgresql+psycopg://…``.

    Raises
    ------
    ConfigError
        When the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.engine = _engine(self.url)
        self._reading = self.engine.execution_options(punctual_reading=True)
        self._migrated = False

    @contextmanager
    def session(self, *, reading: bool = False) -> Iterator[Session]:
        """Give a session whose work is there whole or not at all.

        Parameters
        ----------
        reading : bool
            Whether it only reads: then it waits for no writer.

        Raises
        ------
        DatabaseUnavailable
            When the database does not answer.
        """
        self.migrate()
        engine = self._reading if reading else self.engine
        with _errors(self.url), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def value(self, query: Executable) -> Any:
        """Return the one value that a query gives; it waits for no writer.

        For what asks all the time: it takes less than half of a session's processor time.

        Raises
        ------
        DatabaseUnavailable
            When the database does not answer.
        """
        self.migrate()
        with _errors(self.url), self._reading.begin() as connection:
            return connection.execute(query).scalar_one()

    def check(self) -> None:
        """Make sure that the database answers.

        Raises
        ------
        DatabaseUnavailable
            When it does not.
        """
        self.value(text("SELECT 1"))

    def migrate(self) -> None:
        """Bring the tables up to this code; of several processes that start at once, one does it.

        Raises
        ------
        DatabaseUnavailable
            When the database does not answer.
        ConfigError
            When it was made by newer code.
        """
        if self._migrated:
            return
        with _errors(self.url), _alone(self.engine, self.url) as connection:
            _upgrade(connection)
        self._migrated = True

    def close(self) -> None:
        """Close the connections; the next session opens them again."""
        self.engine.dispose()


def database(repo: FeatureRepo, settings: Settings) -> Database:
    """Return the database that the settings name: by default one in the feature repo's data folder."""
    repo.layout.data.mkdir(parents=True, exist_ok=True)
    return Database(settings.database or repo.layout.database_url)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "PUNCTUAL_DATABASE is no database URL.", hint="Write sqlite:///… or postgresql+psycopg://…."
        ) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"PUNCTUAL_DATABASE names {parsed.get_backend_name()!r}.", hint="SQLite and Postgres are supported."
        )
    if parsed.drivername in ("postgresql", "postgresql+psycopg2"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "postgresql":
            return create_engine(url, pool_pre_ping=True, pool_timeout=5, connect_args=_POSTGRES)
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    except NoSuchModuleError as error:
        raise ConfigError(f"PUNCTUAL_DATABASE: {error}.", hint="Use postgresql+psycopg://….") from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # We begin transactions ourselves: what reads first and writes later must not find the database taken meanwhile.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("punctual_reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _errors(url: URL) -> Iterator[None]:
    try:
        yield
    except (OperationalError, TimeoutError) as error:
        raise _unavailable(url, error) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise _unavailable(url, error) from error


def _unavailable(url: URL, error: Exception) -> DatabaseUnavailable:
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return DatabaseUnavailable(
        f"The database {url.render_as_string(hide_password=True)} does not answer: {reason}.",
        hint="Start it, or set PUNCTUAL_DATABASE.",
    )


@contextmanager
def _alone(engine: Engine, url: URL) -> Iterator[Connection]:
    """Give a connection while no other process migrates."""
    if url.get_backend_name() == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
        return
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        with engine.begin() as connection:
            yield connection
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with engine.begin() as connection:
            yield connection


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    script = ScriptDirectory.from_config(config)
    there = MigrationContext.configure(connection).get_current_revision()
    if there == script.get_current_head():
        return
    if there is not None and there not in {revision.revision for revision in script.walk_revisions()}:
        raise ConfigError(
            f"The database was made by newer code (revision {there}).",
            hint="Upgrade punctual, or use another database.",
        )
    command.upgrade(config, "head")


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for the migrations of this package on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
