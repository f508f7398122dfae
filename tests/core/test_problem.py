from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from core.clock import ReplayClock, SystemClock
from core.errors import ConfigError, SourceError
from core.problem import Problem, parse_duration
from core.repo import FeatureRepo

LOANS = Path(__file__).parents[1] / "repos" / "loans"


def changed(tmp_path, **fields):
    content = yaml.safe_load((LOANS / "problem.yaml").read_text()) | fields
    path = tmp_path / "problem.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def test_dates_are_utc_midnights():
    problem = Problem.load(LOANS / "problem.yaml")
    assert problem.data.initial.since == datetime(2024, 1, 1, tzinfo=UTC)
    assert problem.data.step == timedelta(days=7)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"entity": None}, "entity"),
        ({"nmae": "x"}, "nmae"),
        ({"name": "Not A Name"}, "name"),
        ({"split": {"test": 2}}, "split.test"),
        ({"data": {"start": "2024-01-01", "initial_until": "soon"}}, "data.initial_until"),
        ({"data": {"start": "2024-01-01", "initial_until": "2024-02-01", "step": "7 parsecs"}}, "parsecs"),
    ],
)
def test_errors_name_file_field_and_value(tmp_path, fields, says):
    with pytest.raises(ConfigError, match=says) as error:
        Problem.load(changed(tmp_path, **fields))
    assert "problem.yaml" in str(error.value)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="no .*problem.yaml"):
        Problem.load(tmp_path / "problem.yaml")
    (tmp_path / "problem.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        Problem.load(tmp_path / "problem.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("6h", 21600), ("7d", 604800), ("2w", 1209600)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


def test_a_folder_that_is_no_repo(tmp_path):
    with pytest.raises(ConfigError, match="PUNCTUAL_FEATURE_REPO"):
        FeatureRepo.load(tmp_path)


def test_queries_and_lookbacks():
    repo = FeatureRepo.load(LOANS)
    assert repo.queries["customer_payments"].lookback == {"payments": "30 days"}
    assert repo.spine.lookback == {}
    assert isinstance(repo.clock, ReplayClock)


def copy_of_loans(tmp_path, **replace):
    import shutil

    folder = shutil.copytree(LOANS, tmp_path / "repo", ignore=shutil.ignore_patterns("data", "__pycache__"))
    for name, text in replace.items():
        (folder / f"{name}.py").write_text(text)
    return FeatureRepo.load(folder)


def test_a_source_that_breaks_is_reported_in_one_line(tmp_path):
    repo = copy_of_loans(tmp_path, source="SCHEMAS = {}\ndef fetch(since, until):\n    raise OSError('no route')\n")
    with pytest.raises(SourceError, match="OSError: no route"):
        repo.fetch(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


def test_a_source_must_return_what_it_declares(tmp_path):
    repo = copy_of_loans(tmp_path, source="SCHEMAS = {'a': None}\ndef fetch(since, until):\n    return {}\n")
    with pytest.raises(SourceError, match=r"declares \['a'\]"):
        repo.fetch(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


def test_a_source_without_fetch(tmp_path):
    with pytest.raises(ConfigError, match="defines no fetch"):
        _ = copy_of_loans(tmp_path, source="SCHEMAS = {}\n").schemas


def test_system_clock_is_aware():
    assert SystemClock().now().tzinfo is UTC
