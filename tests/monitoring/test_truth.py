"""Truth is what the oracle says, whatever arrives in which order, and nothing is counted twice."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, DataError
from core.settings import Settings
from monitoring import matching
from monitoring.performance import performance
from monitoring.tidy import tidy
from monitoring.truth import count_truth, read_truth, update_truth
from tests.monitoring import truth_oracle
from tests.monitoring.log_world import LogWorld, at

EVER = (at(-1000), at(10_000))
# Few loans, versions and moments: that rows share them is what makes it hard.
loans, moments = st.integers(1, 3), st.integers(0, 20).map(lambda n: at(6 * n))
prediction = st.fixed_dictionaries(
    {
        "loan_id": loans,
        "customer_id": st.sampled_from([1, 1, 1, 2]),
        "predicted_at": moments,
        "model_version": st.sampled_from(["1", "2"]),
    }
)
spine_row = st.fixed_dictionaries(
    {
        "loan_id": loans,
        "event_timestamp": moments,
        "missed": st.sampled_from([0, 1, 1, None]),
        "delay": st.sampled_from([0, 6, 30, None]),
    }
)
# One turn: predictions come in (parts of the log), the spine is what it is by then, the clock stands somewhere.
turn = st.fixed_dictionaries(
    {
        "parts": st.lists(st.lists(prediction, min_size=1, max_size=12), max_size=2),
        "spine": st.lists(spine_row, max_size=12),
        "now": st.integers(0, 30).map(lambda n: at(6 * n)),
    }
)


def as_spine(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the labels their moments."""
    out = []
    for row in rows:
        known = None if row["delay"] is None else row["event_timestamp"] + timedelta(hours=row["delay"])
        rest = {name: value for name, value in row.items() if name != "delay"}
        out.append({"customer_id": 1, **rest, "label_timestamp": known})
    return out


def log(world: LogWorld, part: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Write a part and return its predictions with their ids."""
    named = [{"prediction_id": f"{first + n:08d}", **row} for n, row in enumerate(part)]
    columns = ("prediction_id", "predicted_at", "model_version")
    world.log(
        *(
            {name: row[name] for name in columns}
            | {"entity": {"loan_id": row["loan_id"], "customer_id": row["customer_id"]}}
            for row in named
        )
    )
    return named


def known(world: LogWorld, **options: Any) -> dict[str, tuple[int, bool]]:
    """Read everything that is known: id -> (label, whether it counts)."""
    since, until = options.pop("window", EVER)
    rows = read_truth(world.repo, since, until, **options).to_pylist()
    assert len({row["prediction_id"] for row in rows}) == len(rows)
    return {row["prediction_id"]: (row["label"], row["first"]) for row in rows}


def files(world: LogWorld) -> dict[str, bytes]:
    """Return the stored truth."""
    return {path.name: path.read_bytes() for path in (world.repo.layout.monitoring / "truth").glob("*.parquet")}


def check(log_world: LogWorld, turns: list[dict[str, Any]]) -> None:
    """Let turns go by, and compare with the oracle after each."""
    log_world.clear()
    predictions: list[dict[str, Any]] = []
    for one in turns:
        for part in one["parts"]:
            predictions += log(log_world, part, len(predictions))
        spine = as_spine(one["spine"])
        log_world.spine(spine)
        log_world.now(one["now"])
        summary = update_truth(log_world.repo)
        expected = truth_oracle.truth(predictions, spine, one["now"])
        assert known(log_world) == expected
        assert summary.predictions == len(predictions) == summary.labelled + summary.waiting + summary.after
        assert summary.labelled == len(expected)
    of_window = [p for p in predictions if at(30) <= p["predicted_at"] < at(57) and p["model_version"] == "2"]
    assert known(log_world, window=(at(30), at(57)), version="2") == {
        p["prediction_id"]: expected[p["prediction_id"]] for p in of_window if p["prediction_id"] in expected
    }


EXAMPLES = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=6, **EXAMPLES)
@given(turns=st.lists(turn, min_size=1, max_size=2))
def test_it_is_what_plain_python_works_out(log_world: LogWorld, turns: list[dict[str, Any]]) -> None:
    check(log_world, turns)


@pytest.mark.slow
@settings(max_examples=60, **EXAMPLES)
@given(turns=st.lists(turn, min_size=1, max_size=4))
def test_it_is_what_plain_python_works_out_many_times(log_world: LogWorld, turns: list[dict[str, Any]]) -> None:
    check(log_world, turns)


@pytest.fixture
def two_days(log_world: LogWorld) -> LogWorld:
    """Give a world with a prediction on each of two days, one of which has its label."""
    entity = {"loan_id": 1, "customer_id": 1}
    log_world.log({"prediction_id": "a", "predicted_at": at(1), "entity": entity})
    log_world.log({"prediction_id": "b", "predicted_at": at(25), "entity": entity})
    log_world.spine(
        [
            {"loan_id": 1, "event_timestamp": at(2), "missed": 1, "label_timestamp": at(10)},
            {"loan_id": 1, "event_timestamp": at(26), "missed": 0, "label_timestamp": at(60)},
        ]
    )
    log_world.now(at(30))
    return log_world


def test_running_it_again_writes_nothing(two_days: LogWorld) -> None:
    first = update_truth(two_days.repo)
    assert (first.days, first.written) == (2, ["2024-03-01", "2024-03-02"])
    before = files(two_days)
    assert update_truth(two_days.repo).written == []
    assert files(two_days) == before


def test_a_late_label_changes_its_day_alone(two_days: LogWorld) -> None:
    update_truth(two_days.repo)
    assert known(two_days) == {"a": (1, True)}
    two_days.now(at(60))
    summary = update_truth(two_days.repo)
    assert summary.written == ["2024-03-02"]
    assert (summary.labelled, summary.waiting, summary.after) == (2, 0, 0)
    assert known(two_days) == {"a": (1, True), "b": (0, True)}


def test_a_corrected_label_takes_the_place_of_the_first(two_days: LogWorld) -> None:
    update_truth(two_days.repo)
    two_days.spine([{"loan_id": 1, "event_timestamp": at(2), "missed": 0, "label_timestamp": at(10)}])
    assert update_truth(two_days.repo).written == ["2024-03-01", "2024-03-02"]
    assert known(two_days)["a"] == (0, True)


def test_a_label_that_is_known_counts_before_one_that_is_not(two_days: LogWorld) -> None:
    same = {"loan_id": 1, "event_timestamp": at(2)}
    two_days.spine(
        [{**same, "missed": 1, "label_timestamp": at(10)}, {**same, "missed": None, "label_timestamp": at(20)}]
    )
    update_truth(two_days.repo)
    assert known(two_days)["a"] == (1, True)


def test_a_run_that_was_killed_between_two_files_is_made_whole(two_days: LogWorld) -> None:
    update_truth(two_days.repo)
    whole = files(two_days)
    folder = two_days.repo.layout.monitoring / "truth"
    (folder / "days.json").unlink()
    (folder / "2024-03-02.parquet").unlink()
    assert update_truth(two_days.repo).written == ["2024-03-02"]
    assert files(two_days) == whole


def test_days_outside_the_window_are_left_alone(two_days: LogWorld) -> None:
    summary = update_truth(two_days.repo, at(24), at(48))
    assert (summary.days, summary.written) == (1, ["2024-03-02"])
    assert update_truth(two_days.repo, until=at(24)).written == ["2024-03-01"]


def test_which_prediction_counts_is_settled_across_days(two_days: LogWorld) -> None:
    two_days.spine([{"loan_id": 1, "event_timestamp": at(26), "missed": 1, "label_timestamp": at(29)}])
    update_truth(two_days.repo)
    assert known(two_days) == {"a": (1, False), "b": (1, True)}
    assert known(two_days, window=(at(0), at(24))) == {"a": (1, False)}


def test_a_what_if_does_not_take_the_place_of_what_was_asked_for(two_days: LogWorld) -> None:
    entity = {"loan_id": 1, "customer_id": 9}
    two_days.log({"prediction_id": "c", "predicted_at": at(1.5), "entity": entity})
    update_truth(two_days.repo)
    assert known(two_days) == {"a": (1, True), "c": (1, False)}


def test_what_says_that_it_is_a_what_if_has_no_truth(two_days: LogWorld) -> None:
    entity = {"loan_id": 1, "customer_id": 1}
    tried = {"entity": entity, "what_if": True}
    two_days.log({"prediction_id": "c", "predicted_at": at(1.5), **tried})
    two_days.log(
        {"prediction_id": "d", "predicted_at": at(1.6), **tried},
        {"prediction_id": "e", "predicted_at": at(0.5), "entity": entity},
    )
    two_days.log({"prediction_id": "f", "predicted_at": at(50), **tried})  # a day of nothing else
    two_days.log({"prediction_id": "g", "predicted_at": at(0.2), "entity": entity}, old=True)
    summary = update_truth(two_days.repo)
    assert (summary.days, summary.predictions, summary.labelled) == (2, 4, 3)
    assert known(two_days) == {"a": (1, True), "e": (1, False), "g": (1, False)}
    (measured,) = performance(two_days.repo, at(0), at(24), step=timedelta(days=1))[:1]
    assert (measured.rows, measured.positives, measured.waiting) == (1, 1, 0)


def test_slices_come_from_the_spine_and_else_from_the_log(two_days: LogWorld, tmp_path: Path) -> None:
    world = two_days.copied_to(tmp_path / "loans")
    world.sql("spine", f"SELECT * EXCLUDE (region) FROM read_parquet('{two_days.folder}/spine.parquet')")
    world.problem(slices=["customer_id", "hour", "colour"])
    shutil.rmtree(world.repo.layout.predictions)
    entity = {"loan_id": 1, "customer_id": 7}
    world.log({"prediction_id": "a", "predicted_at": at(1), "entity": entity, "features": {"hour": 5}})
    assert update_truth(world.repo).missing_slices == ["colour"]
    (row,) = read_truth(world.repo, *EVER).to_pylist()
    assert (row["customer_id"], row["hour"]) == ("1", "5")
    assert "colour" not in row


def test_without_predictions_there_is_nothing_to_join(log_world: LogWorld) -> None:
    assert update_truth(log_world.repo).days == 0
    assert read_truth(log_world.repo, *EVER).num_rows == 0


@pytest.mark.parametrize(
    ("spine", "error", "words"),
    [
        ("SELECT nothing", ConfigError, "sql/spine.sql"),
        ("SELECT 1 AS loan_id, 0 AS missed", ConfigError, "event_timestamp"),
        ("SELECT 0 AS missed, now() AS event_timestamp, now() AS label_timestamp", ConfigError, "loan_id"),
        ("SELECT 1 AS loan_id, 2 AS missed, {t} AS event_timestamp, {t} AS label_timestamp", DataError, "holds 2"),
    ],
)
def test_a_spine_that_cannot_be_joined(
    two_days: LogWorld, tmp_path: Path, spine: str, error: type[Exception], words: str
) -> None:
    world = two_days.copied_to(tmp_path / "loans")
    world.sql("spine", spine.format(t="TIMESTAMPTZ '2024-03-01'"))
    with pytest.raises(error, match=words):
        update_truth(world.repo)


def test_stored_truth_is_plain_parquet_in_the_order_of_the_ids(two_days: LogWorld) -> None:
    update_truth(two_days.repo)
    path = two_days.repo.layout.monitoring / "truth" / "2024-03-02.parquet"
    (row,) = pq.read_table(path).to_pylist()
    assert (row["prediction_id"], row["label"], row["key"]) == ("b", None, '{"loan_id":1}')


def test_one_new_label_makes_one_day_anew(log_world: LogWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    spine = []
    for n in range(6):
        log_world.log({"prediction_id": f"{n}", "predicted_at": at(24 * n), "entity": {"loan_id": n, "customer_id": 1}})
        spine.append({"loan_id": n, "event_timestamp": at(24 * n + 1), "missed": n % 2, "label_timestamp": at(200)})
    log_world.spine(spine)
    log_world.now(at(150))
    update_truth(log_world.repo)
    joined = []
    monkeypatch.setattr("monitoring.truth.match", lambda *given: joined.append(given[2]) or matching.match(*given))
    spine[3]["label_timestamp"] = at(140)
    log_world.spine(spine)
    assert update_truth(log_world.repo).written == ["2024-03-04"]
    assert update_truth(log_world.repo).written == []
    spine.append({"loan_id": 99, "event_timestamp": at(49), "missed": 1, "label_timestamp": at(100)})
    log_world.spine(spine)  # of somebody whom nobody asked about
    assert update_truth(log_world.repo).written == []
    assert len(joined) == 1
    assert "3-1.parquet" in joined[0]
    assert "2-1.parquet" not in joined[0]


def test_labels_that_change_places_are_two_corrections(two_days: LogWorld) -> None:
    spine = [{"loan_id": n, "event_timestamp": at(2), "missed": n, "label_timestamp": at(10)} for n in (0, 1)]
    for n in (0, 1):
        two_days.log({"prediction_id": f"x{n}", "predicted_at": at(1), "entity": {"loan_id": n, "customer_id": 1}})
    two_days.spine(spine)
    update_truth(two_days.repo)
    assert known(two_days)["x1"] == (1, True)
    two_days.spine([{**row, "missed": 1 - row["missed"]} for row in spine])
    update_truth(two_days.repo)
    assert [known(two_days)[name][0] for name in ("x0", "x1")] == [1, 0]


def test_a_label_that_was_known_when_it_was_asked_for_and_is_corrected_later_counts_from_then_on(
    two_days: LogWorld,
) -> None:
    same = {"loan_id": 1, "event_timestamp": at(2), "missed": 1}
    two_days.spine([{**same, "label_timestamp": at(0.5)}])
    assert update_truth(two_days.repo).after == 2
    two_days.spine([{**same, "label_timestamp": at(20)}])
    assert update_truth(two_days.repo).after == 1
    assert known(two_days) == {"a": (1, True)}


def test_a_row_that_two_versions_predicted_is_one_row(log_world: LogWorld) -> None:
    asked = {"entity": {"loan_id": 1, "customer_id": 1}}
    log_world.log(
        {"prediction_id": "a", "predicted_at": at(1), "model_version": "1", **asked},
        {"prediction_id": "b", "predicted_at": at(3), "model_version": "2", **asked},
        {"prediction_id": "c", "predicted_at": at(30), "model_version": "2", **asked},
    )
    log_world.spine([{"loan_id": 1, "event_timestamp": at(4), "missed": 1, "label_timestamp": at(40)}])
    log_world.now(at(48))
    update_truth(log_world.repo)
    rows = {row["prediction_id"]: (row["first"], row["once"]) for row in read_truth(log_world.repo, *EVER).to_pylist()}
    assert rows == {"a": (True, False), "b": (True, True), "c": (False, False)}
    assert count_truth(log_world.repo, *EVER) == 1
    assert count_truth(log_world.repo, at(2), at(24)) == 1
    assert count_truth(log_world.repo, at(24), at(48)) == count_truth(log_world.repo, at(0), at(2)) == 0
    (own,) = read_truth(log_world.repo, *EVER, version="1").to_pylist()
    assert own["once"] is True


def test_what_the_log_no_longer_has_keeps_the_truth_that_was_known(log_world: LogWorld) -> None:
    asked = [{"entity": {"loan_id": n, "customer_id": 1}, "predicted_at": at(n)} for n in range(4)]
    for n, day in enumerate(["2030-01-01", "2030-01-01", "2030-01-02", "2030-01-02"]):
        log_world.log({"prediction_id": f"{n}", **asked[n]}, day=day)  # one day of predicted_at, two of the machine
    spine = [{"loan_id": n, "event_timestamp": at(n), "missed": 1, "label_timestamp": at(8 + n)} for n in range(4)]
    log_world.spine(spine)
    log_world.now(at(9))
    assert update_truth(log_world.repo).labelled == 2
    tidy(log_world.repo, Settings(keep_log_days=1), datetime(2030, 1, 3, 12, tzinfo=UTC))
    assert sorted(path.name for path in log_world.repo.layout.predictions.iterdir()) == ["2030-01-02"]
    log_world.now(at(48))
    summary = update_truth(log_world.repo)
    assert (summary.predictions, summary.labelled, summary.waiting) == (4, 4, 0)
    assert known(log_world) == {f"{n}": (1, True) for n in range(4)}
    assert update_truth(log_world.repo).written == []
