"""Looking into tables: conditions and profiles are DuckDB's, over all rows, and agree with what Python counts."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.conditions import Condition
from core.errors import Conflict, InvalidRequest, NotFound, TooManyRequests
from core.repo import FeatureRepo
from core.settings import get_settings
from ingestion import relation
from ingestion.preview import preview
from ingestion.profile import profile
from tests.ingestion.loans import Loans, window

pytestmark = pytest.mark.slow

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "text": pa.string(),
        "flag": pa.bool_(),
        "at": pa.timestamp("us", tz="UTC"),
    }
)
HOSTILE = ["", "'", '"', "%", "_", "';--", '" OR "1"="1', "a\nb", "NULL", "nan", "$1", "?", "Ä", "1", "true", "x" * 900]
TEXTS = st.sampled_from(HOSTILE) | st.text("abAB'\"%_\\;-ä ", max_size=5)
MOMENTS = st.datetimes(datetime(1999, 1, 1), datetime(2101, 1, 1), timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
    "number": st.sampled_from([0.0, -0.0, 0.1, 1.0, math.inf, -math.inf]) | st.floats(allow_nan=False),
    "text": TEXTS,
    "flag": st.booleans(),
    "at": MOMENTS,
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}).flatmap(
        lambda row: st.sampled_from([row, {**row, "number": math.nan}])
    ),
    min_size=1,
    max_size=12,
)
# (The statistics of such a file say that there is nothing but zeros.)
NOT_A_NUMBER = [{**dict.fromkeys(VALUES), "number": number} for number in (math.nan, 0.0, 0.0)]
COMPARE = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "contains": lambda a, b: b.lower() in a.lower(),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> FeatureRepo:
    get_settings()
    return Loans.copy_to(tmp_path_factory.mktemp("explore") / "loans").repo


def write(repo: FeatureRepo, *tables: pa.Table) -> None:
    """Let the raw rows of loans be these, a table a window, oldest first."""
    shutil.rmtree(repo.layout.raw, ignore_errors=True)
    for i, table in enumerate(tables):
        folder = repo.layout.raw / window(7 * i, 7 * i + 7).id
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "loans.parquet")


def written(repo: FeatureRepo, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write rows as two windows; return them numbered, as they were written."""
    numbered = [{"row": i, **row} for i, row in enumerate(rows)]
    half = (len(numbered) + 1) // 2
    parts = [part for part in (numbered[:half], numbered[half:]) if part]
    write(repo, *(pa.Table.from_pylist(part, schema=SCHEMA) for part in parts))
    return numbered


def there(value: Any) -> bool:
    return value is not None and value == value


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[tuple[str, str, Any]]]:
    """Draw rows, and conditions with values that they hold or might hold."""
    rows = draw(ROWS)
    conditions = []
    for name in draw(st.lists(st.sampled_from(list(VALUES)), max_size=3)):
        held = [row[name] for row in rows if there(row[name])]
        value = draw(st.sampled_from(held) | VALUES[name] if held else VALUES[name])
        operators = [
            "=",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "is missing",
            "is not missing",
            *(["contains"] * (name == "text")),
        ]
        conditions.append((name, draw(st.sampled_from(operators)), value))
    return rows, conditions


def fulfils(row: dict[str, Any], condition: tuple[str, str, Any]) -> bool:
    name, operator, value = condition
    if operator.startswith("is"):
        return there(row[name]) == (operator == "is not missing")
    return there(row[name]) and COMPARE[operator](row[name], value)


def where(conditions: Sequence[tuple[str, Any, Any]]) -> list[str]:
    return [str(Condition(name, operator, as_text(value))) for name, operator, value in conditions]


@settings(max_examples=80)
@given(asked())
@example((NOT_A_NUMBER, [("number", "is not missing", 0.0)]))
@example((NOT_A_NUMBER, [("number", ">=", 0.0)]))
@example(([{**dict.fromkeys(VALUES), "number": math.nan}], [("number", "is missing", 0.0)]))
@example(([{**dict.fromkeys(VALUES), "text": "a"}], [("text", "=", "a' OR '1'='1")]))
def test_conditions_find_the_rows_that_python_finds(repo: FeatureRepo, drawn: Any):
    rows, conditions = drawn
    expected = {row["row"] for row in written(repo, rows) if all(fulfils(row, one) for one in conditions)}
    found = preview(repo, "loans", limit=1000, where=where(conditions))
    assert {row["row"] for row in found["rows"]} == expected
    assert found["total"] == len(expected) == len(found["rows"])
    assert profile(repo, "loans", columns=["row"], where=where(conditions))["rows"] == len(expected)


@settings(max_examples=30)
@given(ROWS, st.sampled_from(list(VALUES)), st.booleans(), st.integers(1, 12))
def test_rows_are_sorted_over_all_windows_what_is_missing_last(
    repo: FeatureRepo, rows: list[dict[str, Any]], name: str, descending: bool, limit: int
):
    expected = sorted((row[name] for row in written(repo, rows) if there(row[name])), reverse=descending)
    found = preview(repo, "loans", limit=limit, columns=[name], sort=name, descending=descending)
    values = [row[name] for row in found["rows"]]
    assert len(values) == min(limit, len(rows))
    assert found["total"] == len(rows)
    assert [value for value in values if there(value)] == expected[:limit]
    assert not any(there(value) for value in values[len(expected) :])


@settings(max_examples=40)
@given(ROWS)
@example(NOT_A_NUMBER)
@example([{**dict.fromkeys(VALUES), "number": number} for number in (1.7e308, -1.7e308)])
@example([{**dict.fromkeys(VALUES), "number": number} for number in (5e-324, 0.0, math.inf)])
@example([{**dict.fromkeys(VALUES), "whole": whole} for whole in (-(2**63), 2**63 - 1)])
def test_a_profile_is_what_python_counts(repo: FeatureRepo, rows: list[dict[str, Any]]):
    written(repo, rows)
    found = profile(repo, "loans")
    assert found["rows"] == len(rows)
    told = {one["column"]: one for one in found["columns"]}
    assert list(told) == SCHEMA.names
    for name in VALUES:
        one, values = told[name], sorted(row[name] for row in rows if there(row[name]))
        assert one["count"] == len(values)
        assert one["missing"] == pytest.approx(1 - len(values) / len(rows))
        assert one["distinct"] == len(set(values))
        ends = (values[0], values[-1]) if values else (None, None)
        if name == "text":
            ends = tuple(end and end[:200] for end in ends)
        assert (one["least"], one["most"]) == ends
        counted = Counter(values)
        frequent = [pair["rows"] for pair in one["frequent"]]
        assert frequent == sorted(counted.values(), reverse=True)[:5]
        if name not in ("whole", "number"):
            assert (one["mean"], one["quantiles"], one["histogram"]) == (None, None, None)
            continue
        for share, quantile in one["quantiles"].items():
            wanted = values[max(math.ceil(float(share) * len(values) - 1e-9) - 1, 0)] if values else None
            assert quantile == wanted
        finite = [value for value in values if math.isfinite(value)]
        if len(finite) == len(values) > 0:
            assert one["mean"] == pytest.approx(math.fsum(value / len(values) for value in values), rel=1e-6, abs=1e-6)
        check_histogram(one["histogram"], finite, whole=name == "whole")


def check_histogram(parts: list[dict[str, Any]], values: list[float], *, whole: bool) -> None:
    assert len(parts) <= 20
    assert sum(part["rows"] for part in parts) == len(values)
    assert all(a["to"] == b["from"] for a, b in pairwise(parts))
    if values:
        assert parts[0]["from"] == min(values)
        assert parts[-1]["to"] >= max(values)
    if whole:  # exactly, however large they are
        for part in parts:
            assert part["rows"] == sum(part["from"] <= value < part["to"] for value in values)


def test_a_histogram_counts_what_lies_between_its_edges(repo: FeatureRepo):
    numbers = np.random.default_rng(3).normal(size=5000)
    write(repo, pa.table({"number": numbers}))
    [one] = profile(repo, "loans")["columns"]
    edges = [part["from"] for part in one["histogram"]] + [one["histogram"][-1]["to"]]
    assert [part["rows"] for part in one["histogram"]] == np.histogram(numbers, edges)[0].tolist()
    assert len(one["histogram"]) == 20
    assert one["quantiles"]["0.5"] == np.sort(numbers)[2499]


def test_columns_of_any_name_are_no_more_than_names(repo: FeatureRepo):
    names = [
        "value",
        "rows",
        "filename",
        "file_row_number",
        "counted",
        'a"; DROP TABLE counted; --',
        "a:b",
        "a b",
        "'",
        "%",
    ]
    write(repo, pa.table({name: [i, i, i + 1, None] for i, name in enumerate(names)}))
    told = {one["column"]: one for one in profile(repo, "loans")["columns"]}
    for i, name in enumerate(names):
        found = preview(repo, "loans", where=[f"{name}:>:{i}"], sort=name, columns=[name])
        assert found["rows"] == [{name: i + 1}]
        assert (told[name]["distinct"], told[name]["frequent"][0]) == (2, {"value": i, "rows": 2})


def test_values_of_any_type_are_shown_and_only_plain_ones_compared(repo: FeatureRepo):
    write(
        repo,
        pa.table(
            {
                "list": [[1, 2], [3]],
                "struct": [{"a": 1}, None],
                "bytes": [b"a", b"\xff"],
                "cents": pa.array(["1.25", "2.50"]).cast(pa.decimal128(10, 2)),
                "day": pa.array([19_000, None], pa.date32()),
                "naive": pa.array([datetime(2024, 3, 1), None], pa.timestamp("us")),
                "small": pa.array([0.1, 0.2], pa.float32()),
                "big": pa.array([2**64 - 1, 0], pa.uint64()),
            }
        ),
    )
    told = {one["column"]: one for one in profile(repo, "loans")["columns"]}
    assert told["cents"]["least"] == 1.25
    assert told["list"]["frequent"] == [{"value": "[1, 2]", "rows": 1}, {"value": "[3]", "rows": 1}]
    assert told["big"]["most"] == 2**64 - 1

    def total(condition: str) -> int:
        return int(preview(repo, "loans", where=[condition])["total"])

    assert total("list:contains:3") == total("struct:is missing") == total("cents:=:1.25") == total("small:=:0.1") == 1
    assert total("day:=:2022-01-08") == total("big:>:9223372036854775807") == 1
    assert total("naive:=:2024-03-01T02:00:00+02:00") == total("naive:=:2024-03-01") == 1
    with pytest.raises(InvalidRequest, match=r"list is BIGINT\[\], which is not compared"):
        total("list:=:[3]")
    for wrong in ("cents:=:1.255", "day:>:2022-01-08 12:00", "big:=:-1", "small:=:nan"):
        with pytest.raises(InvalidRequest, match="is none"):
            total(wrong)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("whole:=:1.5", "whole is BIGINT, and '1.5' is none"),
        ("whole:=:", "whole is BIGINT, and '' is none"),
        ("whole:=:1 OR 1=1", "and '1 OR 1=1' is none"),
        ("whole:>:99999999999999999999", "is none"),
        ("number:<:nan", "number is DOUBLE, and 'nan' is none. Ask for what has no value with 'is missing'"),
        ("flag:=:perhaps", "flag is BOOLEAN, and 'perhaps' is none"),
        ("at:>:yesterday", "at is TIMESTAMP WITH TIME ZONE, and 'yesterday' is none"),
        ("at:>:a\0b", "is none"),
        ("price:=:1", "loans has no column 'price'. It has: row, whole, number, text, flag, at."),
        ("text:like:a", "'text:like:a' is no condition"),
        ("text) OR (1:=:1", "loans has no column 'text) OR (1'"),
    ],
)
def test_what_does_not_fit_is_told_in_words(repo: FeatureRepo, condition: str, says: str):
    written(repo, [{**dict.fromkeys(VALUES), "whole": 1}])
    with pytest.raises(InvalidRequest) as error:
        preview(repo, "loans", where=[condition])
    assert says in str(error.value)


def test_rows_of_the_newest_window_come_first_in_their_order(repo: FeatureRepo):
    written(repo, [dict.fromkeys(VALUES)] * 7)
    assert [row["row"] for row in preview(repo, "loans")["rows"]] == [4, 5, 6, 0, 1, 2, 3]
    assert [row["row"] for row in preview(repo, "loans", where=["row:!=:5"], limit=3)["rows"]] == [4, 6, 0]
    assert [row["row"] for row in preview(repo, "loans", limit=2)["rows"]] == [4, 5]


def test_a_table_without_rows_or_files(repo: FeatureRepo):
    write(repo, pa.table({"a": pa.array([], pa.float64())}))
    [one] = profile(repo, "loans")["columns"]
    assert (one["count"], one["missing"], one["least"], one["mean"]) == (0, None, None, None)
    assert one["histogram"] == one["frequent"] == []
    write(repo)
    with pytest.raises(NotFound, match="There are no raw rows of loans yet"):
        profile(repo, "loans")


def test_a_damaged_file_is_told_in_words(repo: FeatureRepo):
    written(repo, [dict.fromkeys(VALUES)])
    next(repo.layout.raw.rglob("loans.parquet")).write_bytes(b"PAR1 this is none PAR1")
    with pytest.raises(Conflict, match="cannot be read"):
        preview(repo, "loans")


def test_a_look_ends_when_its_time_is_over(repo: FeatureRepo, monkeypatch: pytest.MonkeyPatch):
    numbers = np.random.default_rng(1).normal(size=1_000_000)
    write(repo, pa.table({f"c{i}": numbers for i in range(10)}))
    monkeypatch.setattr(relation, "_SECONDS", 0.1)
    with pytest.raises(InvalidRequest, match=r"was not over after 0.1 s. Ask for fewer columns"):
        profile(repo, "loans")
    monkeypatch.undo()
    assert preview(repo, "loans", limit=1)["total"] == 1_000_000, "the next one has its own time"


def test_a_look_has_so_much_memory_and_no_more(repo: FeatureRepo, monkeypatch: pytest.MonkeyPatch):
    write(repo, pa.table({"a": [[float(i)] * 50_000 for i in range(100)]}))
    monkeypatch.setattr(relation, "_MEMORY", "1MB")
    with pytest.raises(InvalidRequest, match="takes more than 1MB of memory"):
        profile(repo, "loans")


def test_two_look_at_once_and_others_wait_or_are_told(repo: FeatureRepo, monkeypatch: pytest.MonkeyPatch):
    written(repo, [dict.fromkeys(VALUES)])
    monkeypatch.setattr(relation, "_SECONDS", 0.5)
    with relation.opened(repo, "loans", "raw"), relation.opened(repo, "loans", "raw"):
        with pytest.raises(TooManyRequests, match="Too many look into tables at once"):
            preview(repo, "loans")
    assert preview(repo, "loans")["total"] == 1


def test_so_many_columns_are_profiled_and_no_more(repo: FeatureRepo):
    write(repo, pa.table({f"c{i}": [timedelta(i).days] for i in range(101)}))
    with pytest.raises(InvalidRequest, match=r"loans has 101 columns. Choose 100 at most"):
        profile(repo, "loans")
    assert [one["column"] for one in profile(repo, "loans", columns=["c1", "c100", "c1"])["columns"]] == ["c1", "c100"]
