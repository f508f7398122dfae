"""`punctual check skew` says how much was compared and what was left out, on a real store and a real log."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.checks import skew
from core.errors import CheckFailed
from core.settings import get_settings
from tests.serving import world as worlds
from tests.serving.world import World, service


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    get_settings()
    made = worlds.build(tmp_path_factory.mktemp("checks") / "loans")
    with service(made.repo) as api:
        assert api.predict(*({"loan_id": loan} for loan in (100, 101, 400, 401))).status_code == 200
    yield made
    made.server.stop()


@pytest.fixture
def check(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[pytest.CaptureFixture[str]]:
    """Let the command be about that world, and give what it says."""
    monkeypatch.setenv("PUNCTUAL_FEATURE_REPO", str(world.folder))
    get_settings.cache_clear()
    yield capsys
    get_settings.cache_clear()


def lines(said: pytest.CaptureFixture[str]) -> list[str]:
    return said.readouterr().err.splitlines()


def rewrite(world: World, column: str, values: list[str]) -> None:
    """Put other values into a column of the log."""
    (part,) = world.repo.layout.predictions.glob("*/*.parquet")
    table = pq.read_table(part)
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), part)


def test_it_says_how_much_of_the_log_and_of_what_is_online_was_compared(world, check):
    skew(sample=5, logged=3)
    said = lines(check)
    assert "of every view the entities that changed last, 5 at most (sampled)." in said[-3]
    assert said[-2] == "Compared 3 of 4 logged predictions, the newest (sampled)."
    assert said[-1].startswith("No skew: ")
    skew(sample=5, logged=4)
    assert lines(check)[-2] == "Compared 4 of 4 logged predictions."


def test_what_it_cannot_compare_it_names_with_how_often(world, check):
    (part,) = world.repo.layout.predictions.glob("*/*.parquet")
    before = part.read_bytes()
    vectors = [json.loads(text) | {"gone": 1.5} for text in pq.read_table(part).column("features").to_pylist()]
    try:
        rewrite(world, "features", [json.dumps(vector) for vector in vectors])
        rewrite(world, "feature_service", ["older", "default_risk", "default_risk", "default_risk"])
        skew(sample=5, logged=200)
        said = lines(check)
        assert said[-3:-1] == [
            "Compared 3 of 4 logged predictions.",
            "Left out: gone: history does not have it (3), all of the feature service older (1).",
        ]
        rewrite(world, "features", [json.dumps(vector | {"hour": 99}) for vector in vectors])
        with pytest.raises(CheckFailed, match="3 values differ"):
            skew(sample=5, logged=200)
        said = lines(check)
        assert any(line.startswith("Left out: gone") for line in said), "said where there is skew too"
    finally:
        part.write_bytes(before)
