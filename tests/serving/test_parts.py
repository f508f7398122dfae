"""Workers write lines, another process makes parts of them: nothing is lost or there twice, whoever is interrupted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.errors import Unavailable
from serving.log import PREDICTIONS, SCHEMA, PredictionLog
from serving.parts import ELSEWHERE, Gatherer, gather
from tests.cli.conftest import ROOT
from tests.serving.test_log import eventually, lines, logged, made, parts


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a worker beside which parts are made."""
    monkeypatch.setenv(ELSEWHERE, "1")


@pytest.mark.usefixtures("elsewhere")
def test_a_worker_writes_lines_of_which_a_part_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = PredictionLog(folder, 100, flush_seconds=3600)
    log.append(made(1, 2))
    log.append(made(3))
    log.close()
    assert parts(folder) == []
    (written,) = lines(folder)
    kept = tmp_path / "kept"
    shutil.copy(written, kept)
    gather(folder, PREDICTIONS)
    assert lines(folder) == []
    (part,) = parts(folder)
    assert pq.read_schema(part).equals(SCHEMA)
    assert logged(folder) == [f"{i:032x}" for i in (1, 2, 3)]
    shutil.copy(kept, written)  # whoever made the part was killed before the lines were removed
    gather(folder, PREDICTIONS)
    assert logged(folder) == [f"{i:032x}" for i in (1, 2, 3)]


def test_a_part_is_the_same_wherever_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        log = PredictionLog(folder, 100, flush_seconds=3600)
        log.append(made(1, 2))
        log.close()
        monkeypatch.setenv(ELSEWHERE, "1")
    gather(there, PREDICTIONS)
    (one,), (other,) = parts(here), parts(there)
    assert one.relative_to(here) == other.relative_to(there)
    assert pq.read_table(one).equals(pq.read_table(other))


@pytest.mark.usefixtures("elsewhere")
def test_a_flush_makes_parts_of_what_all_workers_have_written(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    first, second = (PredictionLog(folder, 100, flush_seconds=3600) for _ in range(2))
    first.append(made(1))
    first.close()
    second.append(made(2))
    second.flush()
    assert logged(folder) == [f"{i:032x}" for i in (1, 2)]
    second.close()


@pytest.mark.usefixtures("elsewhere")
def test_lines_that_cannot_be_read_are_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "log"
    log = PredictionLog(folder, 100, flush_seconds=3600)
    log.append(made(1))
    log.append(made(2))
    log.close()
    (written,) = lines(folder)
    first, second = written.read_bytes().splitlines()
    written.write_bytes(b"\n".join((first, b'{"places": [0', second)))
    gather(folder, PREDICTIONS)
    assert logged(folder) == [f"{i:032x}" for i in (1, 2)]
    (kept,) = lines(folder)
    assert (kept.name, kept.read_bytes()) == (f"{written.stem}.unreadable", b'{"places": [0')
    assert [r.path for r in caplog.records if "cannot be read" in r.getMessage()] == [str(written)]  # type: ignore[attr-defined]


WRITER = """
import os, resource, sys, time
from pathlib import Path
from serving.log import PredictionLog
from tests.cli.conftest import ROOT
from tests.serving.test_log import made
log = PredictionLog(Path(sys.argv[1]), 1000, flush_seconds=3600)
if sys.argv[2] == "killed":
    log.append(made(1, 2))
    while log.lag.waiting:
        time.sleep(0.001)
    print("written", flush=True)
    time.sleep(60)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
    for number in range(1, 6):
        log.append(made(number))
        time.sleep(0.1)
    assert "large" in log.lag.failing, log.lag
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.close()
"""


def writer(folder: Path, how: str) -> subprocess.Popen[str]:
    """Start a process that writes to a log."""
    command = [sys.executable, "-c", WRITER, str(folder), how]
    return subprocess.Popen(command, env=os.environ | {ELSEWHERE: "1"}, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_worker_loses_nothing_that_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with writer(folder, "killed") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        gather(folder, PREDICTIONS)
        assert logged(folder) == []  # it may write more
        process.kill()
    with lines(folder)[0].open("ab") as file:
        file.write(b'{"places": [0')  # the machine went with it, in the middle of a line
    gather(folder, PREDICTIONS)
    assert logged(folder) == [f"{i:032x}" for i in (1, 2)]
    assert lines(folder) == []


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_no_half_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with writer(folder, "full") as process:
        assert process.wait(60) == 0
    gather(folder, PREDICTIONS)
    assert logged(folder) == [f"{i:032x}" for i in range(1, 6)]
    assert lines(folder) == []


@pytest.mark.usefixtures("elsewhere")
def test_what_waits_for_its_part_is_late(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = PredictionLog(folder, 100, flush_seconds=0.01)
    assert log.waited() == 0
    log.append(made(1))
    eventually(lambda: lines(folder) and not log.lag.waiting)
    eventually(lambda: log.waited() > 0.05)
    log.flush()
    assert log.waited() == 0
    log.close()


@pytest.mark.usefixtures("elsewhere")
def test_a_disk_that_takes_no_part_keeps_the_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "log"
    folder.write_text("in the way")
    log = PredictionLog(folder, 100, flush_seconds=0.01)
    log.append(made(1))
    with pytest.raises(Unavailable, match="could not be logged"):
        log.flush()
    gatherer = Gatherer({folder: PREDICTIONS})
    gatherer.start()
    eventually(lambda: "parts of the log cannot be written" in caplog.messages)
    folder.unlink()
    eventually(lambda: logged(folder) == [f"{1:032x}"])
    log.append(made(2))
    log.close()
    gatherer.close()
    assert logged(folder) == [f"{i:032x}" for i in (1, 2)]
    assert lines(folder) == []
