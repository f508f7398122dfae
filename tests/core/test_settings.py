import json
import os
from pathlib import Path

import pytest

from core import errors
from core.errors import ConfigError, PunctualError, UnknownEntity
from core.files import read_secret
from core.layout import Layout
from core.redis import Address, make_password, parse_address
from core.settings import Settings, get_settings

DOCS = Path(__file__).parents[2] / "docs"


def test_every_setting_is_documented():
    table = (DOCS / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = next((line for line in table.splitlines() if f"`PUNCTUAL_{name.upper()}`" in line), None)
        assert row, f"docs/settings.md does not list PUNCTUAL_{name.upper()}"
        assert field.description in row
        default = json.dumps(field.default) if isinstance(field.default, list) else field.default
        assert ("none" if default is None else f"`{default}`") in row


def test_every_field_of_problem_yaml_is_documented():
    from core.problem import Problem

    page = (DOCS / "feature-repo.md").read_text()

    def fields(model, prefix=""):
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from fields(field.annotation, f"{prefix}{name}.")
            else:
                yield prefix + name

    missing = [name for name in fields(Problem) if f"`{name}`" not in page]
    assert not missing, f"docs/feature-repo.md does not explain {missing}"


def test_a_wrong_value_names_the_variable(monkeypatch):
    monkeypatch.setenv("PUNCTUAL_PORT", "eighty")
    get_settings.cache_clear()
    with pytest.raises(ConfigError, match="PUNCTUAL_PORT='eighty'"):
        get_settings()
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("127.0.0.1:6390", True),
        ("localhost:6390,db=1", True),
        ("127.0.0.1:6390,username=default,password=embedded-of_another_repo", True),
        ("127.0.0.1:6390,password=own", False),
        ("redis.example:6379", False),
    ],
)
def test_the_embedded_store_s_password_is_part_of_its_address(tmp_path, monkeypatch, given, known):
    monkeypatch.setenv("PUNCTUAL_FEATURE_REPO", str(tmp_path))
    monkeypatch.setenv("PUNCTUAL_REDIS", given)
    make_password(Layout(tmp_path).store_secret)
    get_settings.cache_clear()
    redis = get_settings().redis
    assert redis == os.environ["PUNCTUAL_REDIS"]
    if known:
        password = read_secret(Layout(tmp_path).store_secret)
        address = parse_address(given)
        assert parse_address(redis) == Address(
            address.host,
            address.port,
            {**address.options, "username": "default", "password": password},
            address.nodes,
        )
    else:
        assert redis == given
    get_settings.cache_clear()


def test_problem_details():
    error = UnknownEntity("No flight 'x'.", hint="Look for it in the schedule.", entity=3)
    assert error.problem() == {
        "type": "urn:punctual:problem:unknown-entity",
        "title": "Unknown entity",
        "status": 404,
        "detail": "No flight 'x'. Look for it in the schedule.",
        "entity": 3,
    }


def test_the_tree_in_the_docstring_is_the_tree():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PunctualError)]
    assert all(c.__name__ in errors.__doc__ for c in classes)
