import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.files import atomic_dir, atomic_path, digest_of, read_json, sha256, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_failed_folder_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "d"
    with atomic_dir(folder) as temporary:
        (temporary / "f").write_text("old")
    with pytest.raises(RuntimeError), atomic_dir(folder) as temporary:
        (temporary / "f").write_text("new")
        raise RuntimeError
    assert (folder / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["d"]


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "d"
    for name in ("one", "two"):
        with atomic_dir(folder) as temporary:
            (temporary / name).write_text(name)
    assert os.listdir(folder) == ["two"]


def test_threads_that_write_one_file_at_once_each_write_it_whole(tmp_path):
    path, together = tmp_path / "a", threading.Barrier(4)

    def write(text: str) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text(text)
            together.wait(10)
            assert temporary.read_text() == text

    texts = [str(number) * 1000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, texts))
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["a"]


def test_killed_in_the_middle_nothing_shows(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom core.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()


def test_same_content_same_bytes(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": 2})
    write_json(tmp_path / "b", {"a": 2, "b": 1})
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert digest_of("ab", "c") != digest_of("a", "bc")
