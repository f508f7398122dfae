"""The training set: every row once, what was known at its moment, and the same bytes each time."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from core.errors import ConfigError, DataError, NoData, PunctualError
from core.files import sha256
from tests.training.loans import Loans
from training.dataset import build_dataset, build_spine, read_dataset

SPINE = (
    "SELECT p.loan_id, l.customer_id, l.amount, p.due_at - INTERVAL 1 DAY AS event_timestamp, "
    "{label} AS missed, p.known_at AS label_timestamp FROM payments AS p JOIN loans AS l USING (loan_id)"
)


@pytest.mark.slow
def test_it_is_what_plain_python_works_out(loans):
    build_dataset(loans.repo)
    found = loans.dataset().sort_values(["loan_id", "event_timestamp"], ignore_index=True)
    expected = loans.by_hand()
    assert len(found) == len(expected) > 1000
    assert expected["payments_30d"].isna().sum() > 20  # some customers were new then
    for name in expected.columns:
        left, right = found[name], expected[name]
        if left.dtype.kind in "fiO" and name != "region":
            left, right = left.astype("float64"), right.astype("float64")
        pd.testing.assert_series_equal(left, right, check_dtype=False, obj=name)


def test_rows_are_numbered_in_the_order_of_the_spine(loans):
    manifest = build_dataset(loans.repo)
    spine, found = build_spine(loans.repo).to_pandas(), loans.dataset()
    assert found["row_id"].tolist() == list(range(len(spine)))
    assert manifest["rows"] == len(spine)
    for name in ("loan_id", "event_timestamp", "missed", "label_timestamp"):
        assert found[name].tolist() == spine[name].tolist()
    assert spine["event_timestamp"].is_monotonic_increasing


def test_rows_that_are_the_same_stay_two(loans):
    once = build_dataset(loans.repo)["rows"]
    text = loans.repo.spine.text
    loans.sql("spine", f"{text}\nUNION ALL\n{text}")
    assert build_dataset(loans.repo)["rows"] == 2 * once
    assert loans.dataset()["row_id"].is_unique


def test_it_rebuilds_to_the_same_bytes(loans):
    first = build_dataset(loans.repo)
    before = (loans.repo.layout.dataset / "train.parquet").read_bytes()
    again = build_dataset(loans.repo)
    assert (loans.repo.layout.dataset / "train.parquet").read_bytes() == before
    assert again == first


def test_a_new_window_adds_rows_and_leaves_the_old_ones_alone(loans):
    first = build_dataset(loans.repo)
    old = loans.dataset().drop(columns="row_id")
    loans.prepare(windows=1)
    second = build_dataset(loans.repo)
    new = loans.dataset().drop(columns="row_id")
    assert len(new) > len(old)
    key = ["loan_id", "event_timestamp"]
    kept = new.merge(old[key], on=key).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(kept, old.sort_values(key, ignore_index=True))
    assert second["data_version"] != first["data_version"]
    assert second["sha256"] != first["sha256"]
    assert second["registry_version"] == first["registry_version"]


def test_the_manifest_says_what_went_in(loans):
    manifest = build_dataset(loans.repo)
    path = loans.repo.layout.dataset
    assert json.loads((path / "manifest.json").read_text()) == manifest
    assert manifest["sha256"] == sha256(path / "train.parquet")
    assert manifest["feature_service"] == "default_risk"
    assert manifest["label"] == "missed"
    for name in ("data_version", "registry_version", "spine_version"):
        assert manifest[name]
    table, read = read_dataset(loans.repo)
    assert read == manifest
    assert table.num_rows == manifest["rows"]


def test_labels_that_are_not_known_yet_are_left_out(loans):
    spine = build_spine(loans.repo).to_pandas()
    assert (spine["label_timestamp"] <= pd.Timestamp(loans.repo.clock.now())).all()
    loans.sql("spine", SPINE.format(label="p.missed").replace("p.known_at", "p.known_at + INTERVAL 7 DAYS"))
    fewer = build_spine(loans.repo).to_pandas()
    assert 0 < len(fewer) < len(spine)
    assert (fewer["label_timestamp"] <= pd.Timestamp(loans.repo.clock.now())).all()


def test_rows_without_a_label_are_left_out(loans):
    whole = build_spine(loans.repo).num_rows
    loans.sql("spine", SPINE.format(label="CASE WHEN p.loan_id % 2 = 0 THEN p.missed END"))
    spine = build_spine(loans.repo).to_pandas()
    assert 0 < len(spine) < whole
    assert set(spine["missed"]) == {0, 1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SELECT loan_id, missed, known_at AS event_timestamp FROM payments", "label_timestamp"),
        ("SELECT loan_id, missed, known_at AS label_timestamp FROM payments", "event_timestamp"),
        ("SELECT loan_id, known_at AS event_timestamp, known_at AS label_timestamp FROM payments", "missed"),
        ("SELECT nothing_like_this FROM payments", "nothing_like_this"),
        ("SELECT FROM WHERE", "spine.sql"),
    ],
)
def test_a_wrong_spine_is_named(loans, text, word):
    loans.sql("spine", text)
    with pytest.raises(ConfigError, match=word) as caught:
        build_spine(loans.repo)
    assert "spine.sql" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("label", ["2", "-1", "0.5", "p.missed + 1"])
def test_a_label_other_than_0_or_1_is_refused(loans, label):
    loans.sql("spine", SPINE.format(label=label))
    with pytest.raises(DataError, match="missed"):
        build_spine(loans.repo)


@pytest.mark.parametrize("label", ["p.missed = 1", "CAST(p.missed AS DOUBLE)", "CAST(p.missed AS TINYINT)"])
def test_a_label_may_be_any_kind_of_0_and_1(loans, label):
    expected = build_spine(loans.repo).to_pandas()["missed"].sum()
    loans.sql("spine", SPINE.format(label=label))
    assert build_spine(loans.repo).to_pandas()["missed"].astype(int).sum() == expected


def test_a_join_key_that_the_spine_lacks_is_named(loans):
    loans.sql("spine", SPINE.format(label="p.missed").replace("l.customer_id, ", ""))
    with pytest.raises(PunctualError, match="customer_id"):
        build_dataset(loans.repo)


def test_without_rows_it_says_what_to_do(tmp_path, loans):
    with pytest.raises(NoData) as caught:
        build_dataset(Loans.copy_to(tmp_path / "empty").repo)
    assert caught.value.hint
    with pytest.raises(NoData):
        read_dataset(loans.repo)
    loans.sql("spine", SPINE.format(label="p.missed") + " WHERE false")
    with pytest.raises(NoData):
        build_dataset(loans.repo)


def test_a_failed_build_leaves_the_old_one_readable(loans):
    manifest = build_dataset(loans.repo)
    loans.sql("spine", "SELECT 1")
    with pytest.raises(ConfigError):
        build_dataset(loans.repo)
    assert read_dataset(loans.repo)[1] == manifest


def test_a_changed_snapshot_is_refused(loans):
    build_dataset(loans.repo)
    path = loans.repo.layout.dataset / "train.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="changed"):
        read_dataset(loans.repo)
