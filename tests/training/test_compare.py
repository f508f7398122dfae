"""The comparison of two versions: the same rows, honest intervals, and a page on which nothing of the data can act."""

from __future__ import annotations

import html.parser
import json
import re

import numpy as np
import pytest

from core.errors import Conflict, NoData, NotFound
from core.registry import RegistryReader
from tests.training.loans import QUICK
from training.compare import compare, performance
from training.compare_page import page
from training.curves import POINTS
from training.evaluate import scores
from training.overrides import Overrides
from training.registry import Registry
from training.train import train

EVIL = "<script>alert(1)</script>\"'&$x$ $\\frac{$"


def test_both_are_judged_on_the_same_rows(rivals):
    found = compare(rivals.repo, Registry(rivals.repo), "1", "2")
    columns, y = rivals.test_rows()
    assert found["rows"]["count"] == len(y)
    for version, facts in zip(("1", "2"), found["versions"], strict=True):
        model = Registry(rivals.repo).load(version)
        assert facts["version"] == version
        assert facts["metrics"] == pytest.approx(scores(y, model.predict_proba(columns), model.threshold))
        assert facts["importance"]
        assert facts["lineage"]["data_version"]
        roc = facts["curves"]["roc"]
        area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
        assert area == pytest.approx(facts["metrics"]["auc"], abs=0.005)
        assert facts["curves"]["precision_recall"]["recall"][-1] == 1
        assert max(map(len, (*roc.values(), *facts["curves"]["precision_recall"].values()))) <= POINTS
    one, two = found["versions"]
    gain = found["gains"]["auc"]
    assert gain["gain"] == pytest.approx(one["metrics"]["auc"] - two["metrics"]["auc"])
    assert gain["low"] <= gain["gain"] <= gain["high"]
    assert found["gains"]["brier"]["gain"] == pytest.approx(two["metrics"]["brier"] - one["metrics"]["brier"])
    assert {"what", "a", "b"} == set(found["differences"][0])
    assert sum(s["rows"] for s in found["slices"]) <= len(y)
    json.dumps(found)


def test_a_version_beside_itself_is_no_better(rivals):
    found = compare(rivals.repo, Registry(rivals.repo), "1", "1")
    assert found["differences"] == []
    assert all(gain["gain"] == 0 and not gain["beyond_noise"] for gain in found["gains"].values())


def test_the_same_data_and_params_differ_in_nothing_that_counts(rivals):
    found = compare(rivals.repo, Registry(rivals.repo), "1", "3")
    assert found["gains"]["auc"]["gain"] == 0
    assert [d["what"] for d in found["differences"]] == []


def test_an_overridden_run_shows_what_it_did_differently(rivals):
    overrides = Overrides(candidates=["logistic"], params={"logistic": {"C": 7.5}})
    outcome = train(rivals.repo, QUICK, overrides=overrides, promote=False)
    found = compare(rivals.repo, Registry(rivals.repo), outcome.version, "1")
    different = {d["what"]: d["a"] for d in found["differences"]}
    assert different["override.logistic.C"] == different["logistic.C"] == "7.5"


class _Reader(html.parser.HTMLParser):
    """Collects the tags of a page, and fails where they do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _tags(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_nothing_of_the_data_acts_on_the_page(rivals):
    found = compare(rivals.repo, Registry(rivals.repo), "1", "2")
    honest = _tags(page(found))
    evil = json.loads(json.dumps(found))
    evil["problem"] = evil["rows"]["from"] = EVIL
    evil["warnings"] = [EVIL]
    for side in evil["versions"]:
        side["candidate"] = side["version"] = EVIL
        side["roles"] = [EVIL]
        side["lineage"] = {EVIL: EVIL}
        side["importance"] = [{"feature": f"{EVIL}{i}", "importance": 0.1} for i in range(3)]
    for one in (*evil["slices"], *evil["differences"]):
        one.update({key: EVIL for key in one if isinstance(one[key], str)})
    text = page(evil)
    assert "<script" not in text
    assert _tags(text).seen - honest.seen <= {"p"}
    assert _tags(text).attributes == honest.attributes
    assert "&lt;script&gt;" in text


def test_the_page_needs_nothing_from_elsewhere(rivals):
    text = page(compare(rivals.repo, Registry(rivals.repo), "1", "2"))
    assert re.findall(r'(?:src|href)="(?!data:image/svg\+xml;base64,)', text) == []
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert text.count("<img ") == 3
    for said in ("AUC", "Brier score", "log loss", "share called positive"):
        assert f"<td>{said}</td>" in text


@pytest.mark.parametrize("version", ["99", "../1", ""])
def test_a_version_that_is_not_there_is_named(rivals, version):
    with pytest.raises(NotFound):
        compare(rivals.repo, Registry(rivals.repo), "1", version)


def test_what_the_data_no_longer_has_is_named(rivals):
    header = rivals.repo.layout.models / "2" / "model.json"
    header.write_text(header.read_text().replace("amount_thousands", "gone"))
    with pytest.raises(Conflict, match="gone"):
        compare(rivals.repo, RegistryReader(rivals.repo), "1", "2")


def test_without_a_training_set_it_says_what_to_do(rivals):
    (rivals.repo.layout.dataset / "train.parquet").unlink()
    with pytest.raises(NoData, match="punctual dataset"):
        compare(rivals.repo, Registry(rivals.repo), "1", "2")


def test_week_by_week_the_rows_add_up(rivals):
    found = performance(rivals.repo, Registry(rivals.repo), "1")
    _, y = rivals.test_rows()
    assert len(found["weeks"]) >= 1
    assert sum(week["rows"] for week in found["weeks"]) <= len(y)
    assert [week["week"] for week in found["weeks"]] == sorted(week["week"] for week in found["weeks"])
    for week in found["weeks"]:
        assert np.datetime64(week["week"]).astype(object).weekday() == 0
        assert 0 <= week["auc"] <= 1


def test_a_model_that_has_seen_the_rows_is_not_believed_in_silence(rivals):
    header = rivals.repo.layout.models / "2" / "model.json"
    content = json.loads(header.read_text())
    content["metadata"]["test_from"] = "2030-01-01T00:00:00+00:00"
    header.write_text(json.dumps(content))
    assert "Version 2" in compare(rivals.repo, Registry(rivals.repo), "1", "2")["warnings"][0]
