"""The graph of what is made of what, no more than a text."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts import lineage


def made(table: str, view: str) -> dict[str, Any]:
    one = {"name": view, "tables": [table], "views": [], "inputs": ["asked"], "features": 3, "used": 1}
    return {
        "tables": [table],
        "views": [one],
        "feature_service": "s",
        "spine": {"tables": [table]},
        "data_version": "0123456789",
    }


def registered(version: str, data: str, *roles: str) -> dict[str, Any]:
    return {"version": version, "roles": list(roles), "tags": {"data_version": data} if data else {}}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), st.text(max_size=10))
def test_names_stay_names_in_a_graph(table: str, view: str):
    drawn = lineage.dot(made(table, view), [registered("1", view, "champion")], "1")
    quoted = False
    outside = ""
    escaped = False
    for sign in drawn:
        if quoted and escaped:
            escaped = False
        elif quoted and sign == "\\":
            escaped = True
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            outside += sign
    assert not quoted
    assert outside.count("{") == outside.count("}") == 1


def test_a_version_that_serves_and_is_not_registered_is_drawn_all_the_same():
    drawn = lineage.dot(made("t", "v"), [], "7")
    assert '"version 7" -> "served served"' in drawn
    older = [registered(str(version), "aaaa") for version in range(9, 1, -1)]
    drawn = lineage.dot(made("t", "v"), [*older, registered("1", "bbbb")], "1")
    assert '"version 1" -> "served served"' in drawn
    assert '"data bbbb" -> "version 1"' in drawn, "it is registered, and comes from its own data"
    empty = {**made("t", "v"), "views": [], "feature_service": None}
    assert "training rows" not in lineage.dot(empty, [], None)


def test_each_version_comes_from_its_own_data():
    models = [
        registered("4", "0123456789", "challenger"),
        registered("3", "aaaaaaaaaa"),
        registered("2", "aaaaaaaaaa", "champion"),
        registered("1", ""),
    ]
    drawn = lineage.dot(made("t", "v"), models, "2")
    for version, data in (("4", "0123456789"), ("3", "aaaaaaaaaa"), ("2", "aaaaaaaaaa")):
        edges = [line for line in drawn.splitlines() if f'-> "version {version}"' in line]
        assert [line.partition(" -> ")[0] for line in edges] == [f'"data {data}"']
        assert "invis" not in edges[0]
    assert drawn.count("shape=folder") == 2, "one a data version, however many come from it"
    assert "data version 01234567, now" in drawn
    assert "data version aaaaaaaa" in drawn
    for data in ("0123456789", "aaaaaaaaaa"):
        assert f'"service s" -> "data {data}"' in drawn
        assert f'"labels labels" -> "data {data}" [color="#8a97a5", style=dotted' in drawn
    assert '"table t" -> "labels labels" [color="#8a97a5", style=dotted' in drawn
    unknown = [line for line in drawn.splitlines() if '-> "version 1"' in line]
    assert len(unknown) == 1
    assert "style=invis" in unknown[0], "where a version comes from is not made up"
    assert [row["trained from data version"] for row in lineage.trained(models, "2")] == [
        "01234567",
        "aaaaaaaa",
        "aaaaaaaa",
        "not known",
    ]


def test_the_present_data_is_drawn_before_anything_was_trained_from_it():
    drawn = lineage.dot(made("t", "v"), [registered("1", "aaaa", "champion")], "1")
    assert "data version 01234567, now" in drawn
    assert '"data 0123456789" ->' not in drawn
