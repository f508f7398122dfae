"""What goes wrong is one clear line and the right exit code."""

from __future__ import annotations

import socket

import pytest
import yaml

from tests.cli.conftest import assert_one_clear_line

pytestmark = pytest.mark.slow


def slow(*values):
    """Mark a case whose command loads the whole feature store first."""
    return pytest.param(*values, marks=pytest.mark.slow)


def test_help_teaches(empty):
    done = empty.run("--help")
    assert done.returncode == 0
    for command in ("up", "fetch", "validate", "transform", "materialize", "train", "predict", "features", "doctor"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("validate",), "punctual fetch"),
        slow(("transform",), "punctual validate"),
        slow(("dataset",), "punctual validate"),
        slow(("train",), "punctual dataset"),
        slow(("check", "leakage"), "punctual validate"),
        slow(("predict", "3000"), "punctual apply"),
        (("lineage", "nothing"), "no prediction 'nothing'"),
        slow(("features", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_a_step_too_early_says_which_one_is_missing(empty, words, says):
    assert_one_clear_line(empty.run(*words), 1, says)


def test_wrong_usage(empty):
    assert empty.run("fly").returncode == 2
    assert empty.run("fetch", "--since", "2024-01-01").returncode == 2
    assert empty.run("fetch", "--since", "soon", "--until", "later").returncode == 2


def test_a_folder_that_is_no_repo(empty, tmp_path):
    done = empty.run("fetch", PUNCTUAL_FEATURE_REPO=str(tmp_path))
    assert_one_clear_line(done, 1, "PUNCTUAL_FEATURE_REPO")


def test_a_wrong_setting_is_named(empty):
    assert_one_clear_line(empty.run("fetch", PUNCTUAL_PORT="eighty"), 1, "PUNCTUAL_PORT='eighty'")


def test_a_wrong_problem_is_named(empty):
    path = empty.repo / "problem.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"candidates": []}))
    assert_one_clear_line(empty.run("fetch"), 1, "problem.yaml", "candidates")


def test_up_with_the_api_port_taken(empty):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(empty.environment["PUNCTUAL_PORT"])))
        other.listen()
        assert_one_clear_line(empty.run("up"), 1, empty.environment["PUNCTUAL_PORT"], "PUNCTUAL_PORT")


def test_up_with_the_store_port_taken_by_something_else(empty):
    host, port = empty.environment["PUNCTUAL_REDIS"].split(":")
    with socket.socket() as other:
        other.bind((host, int(port)))
        other.listen()
        assert_one_clear_line(empty.run("up"), 1, port, "PUNCTUAL_REDIS")


@pytest.mark.parametrize(("there", "then"), [(0o755, 0o700), (0o750, 0o750)], ids=["all", "group"])
def test_data_that_everybody_may_look_into_is_closed(empty, there, then):
    data = empty.repo / "data"
    data.mkdir()
    data.chmod(there)
    empty.run("doctor")
    assert data.stat().st_mode & 0o777 == then


def test_doctor_on_an_empty_repo(empty):
    done = empty.run("doctor")
    assert_one_clear_line(done, 3, "punctual fetch")
