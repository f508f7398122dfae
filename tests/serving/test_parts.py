"""Workers write lines, another process makes parts of them: nothing is lost or there twice, whoever is interrupted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.errors import Unavailable
from serving.log import PREDICTIONS, SCHEMA, PredictionLog
from serving.parts import ELSEWHERE, Gatherer, gather
from tests.serving.test_log import eventually, logged, made, parts


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a worker beside which parts are made."""
    monkeypatch.setenv(ELSEWHERE, "1")


def lines(folder: Path) -> list[Path]:
    return sorted((folder.parent / "spool" / folder.name).glob("[!.]*"))


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
    log.flush()
    broken = folder.parent / "spool" / "log" / "20240301T120000000000-0a0a0a0a0a0a-1.rows"
    broken.write_bytes(b'{"places": [0')
    log.append(made(2))
    log.flush()
    log.close()
    assert logged(folder) == [f"{i:032x}" for i in (1, 2)]
    assert [path.name for path in lines(folder)] == ["20240301T120000000000-0a0a0a0a0a0a-1.unreadable"]
    assert [r.path for r in caplog.records if "cannot be read" in r.getMessage()] == [str(broken)]  # type: ignore[attr-defined]


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
