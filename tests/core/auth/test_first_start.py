"""The first start: one administrator, two keys, however many services start at once."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.auth import first_start
from core.files import read_secret
from tests.core.auth.conftest import World, bearer, refused


def test_it_makes_an_administrator_and_the_machine_s_keys(world: World):
    password = first_start(world.accounts, world.layout)
    assert password
    assert world.log_in("admin", password)["must_change"] is True
    assert first_start(world.accounts, world.layout) is None
    keys = {name: str(read_secret(world.layout.secrets / f"{name}.key")) for name in ("client", "service")}
    assert stat.S_IMODE(world.layout.secrets.stat().st_mode) == 0o700
    for name, key in keys.items():
        assert stat.S_IMODE((world.layout.secrets / f"{name}.key").stat().st_mode) == 0o600
        assert world.accounts.keys.knows(key)
    guard = world.guard()
    assert guard.authenticate(bearer(keys["client"])).scopes == {"predict", "read"}
    assert guard.authenticate(bearer(keys["service"])).scopes == {"predict", "read", "data", "train"}
    assert not guard.authenticate(bearer(keys["service"])).may("admin")


@pytest.mark.parametrize("damage", ["revoked", "another database", "empty", "rubbish"])
def test_a_key_file_that_is_no_good_is_made_anew(world: World, damage: str):
    first_start(world.accounts, world.layout)
    path, other = world.layout.secrets / "client.key", world.layout.secrets / "service.key"
    before, kept = path.read_text(), other.read_text()
    if damage == "revoked":
        world.accounts.keys.revoke(before[3:15], by="tests")
    elif damage == "another database":
        path.write_text(f"pk_{'0' * 12}_{'A' * 43}")
    else:
        path.write_bytes(b"" if damage == "empty" else b"\xc3\xa9 what")
    assert first_start(world.accounts, world.layout) is None
    assert not refused(world.guard(), path.read_text())
    assert path.read_text() != before or damage == "another database"
    assert other.read_text() == kept


START = """
import sys
from pathlib import Path
from core.auth import Accounts, first_start
from core.database import Database
from core.layout import Layout
from core.settings import Settings
layout, settings = Layout(Path(sys.argv[2])), Settings(database=sys.argv[1])
print(first_start(Accounts(Database(sys.argv[1]), settings, layout), layout) or "")
"""


@pytest.mark.slow
def test_of_services_that_start_at_once_one_makes_the_administrator(empty_database_url: str, tmp_path: Path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, empty_database_url, tmp_path / "repo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len([out for out, _ in said if out.strip()]) == 1
    from core.auth import Accounts
    from core.database import Database
    from core.layout import Layout
    from core.settings import Settings

    accounts = Accounts(Database(empty_database_url), Settings(database=empty_database_url), Layout(tmp_path / "repo"))
    assert accounts.users.count() == 1
    assert len(accounts.keys.all()) == 2, "one key of each kind, not one a process"
