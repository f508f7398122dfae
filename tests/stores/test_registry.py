from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.files import read_json
from core.repo import FeatureRepo
from core.settings import get_settings
from stores.registry import apply, feature_service, feature_views, open_store, registry_version

LOANS = Path(__file__).resolve().parents[1] / "repos" / "loans"


@pytest.fixture
def folder(tmp_path):
    return copy(tmp_path / "loans")


def copy(to: Path) -> Path:
    shutil.copytree(LOANS, to, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return to


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, (2e9, 2e9))  # Python takes a file of the same second and size for unchanged


def test_applied_before_any_data_exists(folder):
    repo = FeatureRepo.load(folder)
    version = apply(repo)
    store = open_store(repo)
    assert [v.name for v in feature_views(store)] == ["customer_payments", "loan_terms"]
    assert feature_service(repo, store).name == "default_risk"
    assert registry_version(repo) == version
    assert read_json(repo.layout.data / "registry.json")["version"] == version


def test_the_same_definitions_have_the_same_version_anywhere(folder, tmp_path):
    repo = FeatureRepo.load(folder)
    first = apply(repo)
    written = (repo.layout.data / "registry.json").read_bytes()
    assert apply(repo) == first
    other = FeatureRepo.load(copy(tmp_path / "elsewhere"))
    assert apply(other) == first
    assert (other.layout.data / "registry.json").read_bytes() == written


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ttl=timedelta(days=45)", "ttl=timedelta(days=44)"),
        ('"freshness": "30d"', '"freshness": "29d"'),
        ('        Field(name="last_missed", dtype=Int64),\n', ""),
        ('Field(name="amount", dtype=Float64),\n        Field', 'Field(name="amount", dtype=Int64),\n        Field'),
        ('loan_terms[["region", "hour"]]', 'loan_terms[["region"]]'),
        ("/ 1000.0", "/ 100.0"),
    ],
    ids=["ttl", "tag", "field", "type", "service", "on-demand code"],
)
def test_another_definition_has_another_version(folder, old, new):
    repo = FeatureRepo.load(folder)
    before = apply(repo)
    change(folder / "definitions.py", old, new)
    assert apply(repo) != before


def test_two_repos_in_one_process_do_not_mix(folder, tmp_path):
    other = copy(tmp_path / "other")
    change(other / "definitions.py", '        Field(name="last_missed", dtype=Int64),\n', "")
    assert apply(FeatureRepo.load(folder)) != apply(FeatureRepo.load(other))
    (view, _) = feature_views(open_store(FeatureRepo.load(folder)))
    assert "last_missed" in [f.name for f in view.features]


def test_it_leaves_the_process_as_it_was(folder, capsys):
    here, path = Path.cwd(), list(sys.path)
    apply(FeatureRepo.load(folder))
    assert Path.cwd() == here
    assert sys.path == path
    assert "definitions" not in sys.modules
    assert capsys.readouterr().out == ""


def test_a_broken_definition_is_one_line(folder):
    repo = FeatureRepo.load(folder)
    apply(repo)
    before = registry_version(repo)
    (folder / "definitions.py").write_text("import no_such_library\n")
    with pytest.raises(ConfigError, match="no_such_library") as caught:
        apply(repo)
    assert "\n" not in str(caught.value)
    assert registry_version(repo) == before
    assert Path.cwd() != folder


@pytest.mark.parametrize(
    ("old", "new"), [("entity: loan\n", "entity: boat\n"), ("feature_service: default_risk", "feature_service: boats")]
)
def test_problem_yaml_must_name_what_is_defined(folder, old, new):
    change(folder / "problem.yaml", old, new)
    with pytest.raises(ConfigError, match="boat"):
        apply(FeatureRepo.load(folder))


def test_a_wrong_feature_store_yaml_is_named(folder):
    (folder / "feature_store.yaml").write_text("project: loans\nprovider: nowhere\n")
    with pytest.raises(ConfigError, match="feature_store.yaml"):
        open_store(FeatureRepo.load(folder))


def test_before_apply_there_is_no_version(folder):
    with pytest.raises(ConfigError, match="apply"):
        registry_version(FeatureRepo.load(folder))


def test_plain_feast_opens_what_was_applied(folder, monkeypatch):
    monkeypatch.delenv("PUNCTUAL_REDIS", raising=False)
    get_settings.cache_clear()  # settings are read once a process, which an earlier test may have done
    get_settings()
    apply(FeatureRepo.load(folder))
    from feast import FeatureStore

    assert "PUNCTUAL_REDIS" in os.environ
    assert FeatureStore(repo_path=str(folder)).get_feature_view("loan_terms").entities == ["loan"]
