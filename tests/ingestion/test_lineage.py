"""What is made of what, read from the SQL and the definitions of a real repo."""

from __future__ import annotations

import pytest

from core.repo import Query
from ingestion.lineage import lineage, tables_of
from tests.asgi import problem
from tests.conftest import free_port
from tests.ingestion.flow_world import world
from tests.ingestion.loans import Loans, ingest, window
from tests.ingestion.services import Others

KNOWN = ["loans", "payments"]


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT * FROM loans", ["loans"]),
        ('SELECT * FROM "Loans" AS l JOIN payments AS p USING (loan_id)', ["loans", "payments"]),
        ("-- payments are not read\nSELECT 'FROM payments' AS x FROM loans", ["loans"]),
        ("WITH loans AS (SELECT * FROM payments), x AS (SELECT * FROM loans) SELECT * FROM x", ["loans", "payments"]),
        ("SELECT (SELECT count(*) FROM payments) FROM range(3)", ["payments"]),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM loans) UNION ALL SELECT 2", ["loans"]),
        ("SELECT 1", []),
        ("SELEC payments", ["payments"]),
    ],
)
def test_the_tables_that_a_query_reads(sql: str, reads: list[str]):
    assert tables_of(Query("x", sql, {}), KNOWN) == reads


def test_the_loans(loans: Loans):
    ingest(loans, window(0, 60))
    found = lineage(loans.repo)
    views = {view["name"]: view for view in found["views"]}
    assert views["loan_terms"] == {
        "name": "loan_terms",
        "tables": ["loans"],
        "views": [],
        "inputs": [],
        "features": 4,
        "used": 2,
    }
    assert views["customer_payments"]["tables"] == ["payments"]
    assert (views["amount_scaled"]["inputs"], views["amount_scaled"]["used"]) == (["amount"], 1)
    assert found["spine"]["tables"] == ["loans", "payments"]
    assert found["feature_service"] == "default_risk"
    assert set(found["tables"]) == {"loans", "payments"}


def test_the_route_is_for_those_who_may_read(loans: Loans):
    with world(loans, Others(port=free_port())) as data:
        before = data.api.get("/data/lineage").json()
        assert (before["views"], before["feature_service"]) == ([], None)
        assert before["tables"]
        ingest(loans, window(0, 60))
        for scope in ("read", "data", "admin"):
            answer = data.api.get("/data/lineage", headers={"authorization": f"Bearer {data.keys[scope]}"})
            assert answer.json()["feature_service"] == "default_risk"
        for scope in ("predict", "train"):
            problem(data.api.get("/data/lineage", headers={"authorization": f"Bearer {data.keys[scope]}"}), 403)
        problem(data.api.get("/data/lineage", headers={"authorization": "Bearer x"}), 401)
