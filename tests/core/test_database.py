"""The database is migrated by whoever comes first, and never to something it should not be."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from core.database import Database, alembic_config
from core.errors import ConfigError, DatabaseUnavailable
from core.tables import Table, User
from tests.conftest import free_port


def test_the_migrations_make_what_the_code_expects(empty_database_url: str):
    database = Database(empty_database_url)
    database.migrate()
    with database.engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_down_and_up_again(empty_database_url: str):
    database = Database(empty_database_url)
    database.migrate()
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with database.engine.begin() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    Database(empty_database_url).check()
    with database.engine.begin() as connection:
        assert set(Table.metadata.tables) <= set(inspect(connection).get_table_names())


OLD_USER = """INSERT INTO users (name, role, password_hash, must_change, created_at)
VALUES ('old', 'admin', 'x', false, '2024-01-01 00:00:00')"""


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_what_an_older_database_holds_is_there_afterwards(empty_database_url: str, revision: str):
    database = Database(empty_database_url)
    with database.engine.begin() as connection:
        command.upgrade(alembic_config(connection), revision)
        connection.execute(text(OLD_USER))
    with database.session(reading=True) as session:  # brings it up to date
        user = session.get_one(User, "old")
    assert (user.role, user.disabled_at) == ("admin", None)
    with database.engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_a_database_of_newer_code_is_left_alone(empty_database_url: str):
    Database(empty_database_url).migrate()
    with Database(empty_database_url).session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer code"):
        Database(empty_database_url).check()


def test_a_file_of_its_own_is_for_its_owner_alone(tmp_path: Path):
    Database(f"sqlite:///{tmp_path / 'deep' / 'a.db'}").check()
    assert stat.S_IMODE((tmp_path / "deep" / "a.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "no database URL"), ("mysql://x/y", "mysql"), ("postgresql+nothing://x/y", "nothing")],
)
def test_what_cannot_be_used_is_named(url: str, says: str):
    with pytest.raises(ConfigError, match=says):
        Database(url)


def test_a_database_that_is_away_says_where_and_keeps_its_password(tmp_path: Path):
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/x"
    with pytest.raises(DatabaseUnavailable, match="127.0.0.1") as error:
        Database(url).check()
    assert "hunter2" not in str(error.value)
    (tmp_path / "file").write_text("this is no database, but long enough to be taken for one" * 20)
    with pytest.raises((DatabaseUnavailable, Exception), match="not a database"):
        Database(f"sqlite:///{tmp_path / 'file'}").check()


def test_what_fails_half_way_leaves_nothing(empty_database_url: str):
    database = Database(empty_database_url)
    with pytest.raises(ZeroDivisionError), database.session() as session:
        session.execute(text("UPDATE revision SET number = 7"))
        raise ZeroDivisionError
    with database.session(reading=True) as session:
        assert session.execute(text("SELECT number FROM revision")).scalar_one() == 0


DIE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from core.database import Database
seen = 0
@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *_):
    global seen
    if statement.lstrip().startswith(("CREATE", "INSERT")):
        seen += 1
        if seen == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
Database(sys.argv[1]).migrate()
"""


@pytest.mark.parametrize("at", [2, 9])
def test_killed_while_migrating_the_next_one_starts_over(tmp_path: Path, at: int):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    done = subprocess.run([sys.executable, "-c", DIE, url, str(at)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    Database(url).check()
