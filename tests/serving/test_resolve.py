"""What a prediction needs beyond the id, and where it is read from: worked out from the registry alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from feast.value_type import ValueType

from core.errors import ConfigError
from core.repo import FeatureRepo
from serving.resolve import Needs, needs
from stores.registry import open_store
from tests.serving.world import World


def work_out(repo: FeatureRepo) -> Needs:
    return needs(repo, open_store(repo))


def test_an_integer_key_a_second_key_and_an_input(world: World) -> None:
    found = work_out(world.repo)
    assert found.entity_keys == ("loan_id",)
    assert found.types == {
        "loan_id": ValueType.INT64,
        "customer_id": ValueType.INT64,
        "amount": ValueType.DOUBLE,
    }
    assert found.lookups == {"customer_id": "loan_terms:customer_id", "amount": "loan_terms:amount"}
    assert [view.name for view in found.on_demand] == ["amount_scaled"]


def test_every_key_and_input_of_many_views(orders_repo: FeatureRepo) -> None:
    found = work_out(orders_repo)
    assert found.entity_keys == ("order_id",)
    assert found.types == {
        "order_id": ValueType.STRING,
        "shop_id": ValueType.INT64,
        "product_code": ValueType.STRING,
        "items": ValueType.INT64,
        "ordered_at": ValueType.UNIX_TIMESTAMP,
        "express": ValueType.BOOL,
        "discount": ValueType.DOUBLE,
        "channel": ValueType.STRING,
    }
    assert found.lookups == {name: f"baskets:{name}" for name in ("shop_id", "product_code", "items", "ordered_at")}
    assert {view.name for view in found.on_demand} == {"calendar", "shelf", "price"}


def test_the_id_itself_is_never_looked_up(orders_repo: FeatureRepo) -> None:
    assert "order_id" not in work_out(orders_repo).lookups


def test_a_view_under_other_keys_gives_no_key(world: World, tmp_path: Path) -> None:
    """A feature named like an input, in a view keyed by something else, is another thing."""
    spoilt = world.copy_to(
        tmp_path / "loans",
        change=lambda text: text.replace(
            'Field(name="last_missed", dtype=Int64),',
            'Field(name="last_missed", dtype=Int64), Field(name="amount", dtype=Float64),',
        ).replace(
            '        Field(name="amount", dtype=Float64),\n        Field(name="region"', '        Field(name="region"'
        ),
    )
    assert work_out(spoilt.repo).lookups == {"customer_id": "loan_terms:customer_id"}


def test_an_offline_view_gives_no_key(world: World, tmp_path: Path) -> None:
    spoilt = world.copy_to(
        tmp_path / "loans",
        change=lambda text: text.replace('source=source("loan_terms"),', 'source=source("loan_terms"), online=False,'),
    )
    assert work_out(spoilt.repo).lookups == {}


@pytest.mark.parametrize(("field", "value"), [("entity", "customers"), ("feature_service", "nothing")])
def test_names_that_are_not_registered(world: World, tmp_path: Path, field: str, value: str) -> None:
    spoilt = world.copy_to(tmp_path / "loans")
    problem = spoilt.folder / "problem.yaml"
    lines = [f"{field}: {value}" if line.startswith(f"{field}:") else line for line in problem.read_text().splitlines()]
    problem.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=value):
        work_out(spoilt.repo)
