"""Charts and sentences that are no more than functions."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.parts import decided, drift_charts, measured, overview, paper, predicted, quality, words
from dashboard.parts.charts import Chart, figure
from dashboard.parts.tables import as_csv
from dashboard.reports import HEADERS

DAYS = [datetime(2024, 3, day, tzinfo=UTC) for day in (1, 2, 3)]


def bucket(day: int, version: str, predictions: int, positives: int, mean: float) -> dict[str, Any]:
    return {
        "start": f"2024-03-0{day}T00:00:00+00:00",
        "model_version": version,
        "predictions": predictions,
        "positives": positives,
        "mean_probability": mean,
        "stale": 1,
        "missing": 0,
    }


def statistics(*buckets: dict[str, Any], actors: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "total": sum(one["predictions"] for one in buckets),
        "buckets": list(buckets),
        "probability": [{"low": i / 10, "high": (i + 1) / 10, "predictions": i} for i in range(10)],
        "actors": [{"actor": name, "predictions": 1} for name in actors],
    }


def test_a_period_is_summed_up_and_held_against_the_one_before():
    now = statistics(bucket(1, "1", 10, 5, 0.5), bucket(1, "2", 30, 3, 0.1), bucket(2, "2", 40, 0, 0.0))
    one = predicted.summary(now["buckets"])
    assert (one.predictions, one.positive, one.mean) == (80, 0.1, pytest.approx(0.1))
    before = statistics(bucket(1, "1", 40, 8, 0.2))
    found = {label: (value, change) for label, value, change in predicted.trends(now, before, "late")}
    assert found["Predictions"] == ("80", "+100%")
    assert found["Called late"] == ("10.0%", "-10.0 points")
    nothing = predicted.trends(statistics(), statistics(), "late")
    assert [value for _, value, _ in nothing] == ["0", "-", "-", "-", "-"]
    assert {change for _, _, change in nothing} == {None}


def test_what_is_drawn_of_a_period():
    now = statistics(bucket(1, "9", 10, 5, 0.5), bucket(1, "10", 30, 3, 0.1), bucket(3, "10", 1, 0, 0.0))
    found = {chart.name: chart for chart in predicted.charts(now, statistics(), "late")}
    assert found["predictions"].series == {"version 9": [10, 0], "version 10": [30, 1]}
    assert found["predictions"].x == [DAYS[0], DAYS[2]]
    assert list(found["probabilities"].series) == ["this period"], "there was none before"
    assert "actors" not in found
    asked = predicted.charts(statistics(bucket(1, "1", 2, 0, 0.1), actors=("user:a", "user:b")), now, "late")
    assert asked[-1].x == ["user:a", "user:b"]
    assert [row["version"] for row in predicted.by_version(now)] == ["9", "10"]


@given(st.text(max_size=60), st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_any_name_can_be_drawn_and_exported(name: str, values: list[float | None]):
    chart = Chart("t", "t", "lines", DAYS, {name: values})
    assert "<" not in str(figure(chart).data[0].name)
    rows = list(csv.reader(io.StringIO(as_csv(chart.rows, chart.columns).decode("utf-8", "surrogatepass"), newline="")))
    assert len(rows) == 4


@pytest.mark.parametrize("kind", ["stacked", "bars", "lines"])
def test_a_chart_on_paper_runs_nothing(kind: Any):
    values = {"<script>": [1, None, 3.5], "_$x$": [0, 1, 2]}
    drawn = paper.chart(Chart("<b>t</b>", "t", kind, DAYS, values))
    assert drawn.startswith("<h3>&lt;b&gt;t&lt;/b&gt;</h3>")
    assert 'src="data:image/svg+xml;base64,' in drawn
    assert "nothing to draw" in paper.chart(Chart("t", "t", kind, DAYS, {"x": [None] * 3}))


def report(window: str, rows: int, reasons: dict[str, int]) -> dict[str, Any]:
    bad = sum(reasons.values())
    return {"window": window, "tables": {"loans": {"rows": rows, "quarantined": bad, "reasons": reasons}}}


def test_windows_of_any_length_can_be_compared():
    found = [
        report("20240101T000000Z_20240111T000000Z", 1000, {"amount fails gt(0): -1": 3, "amount fails gt(0): -2": 2}),
        report("20240111T000000Z_20240111T120000Z", 50, {f"x{i} fails y: {i}": 1 for i in range(9)}),
    ]
    rows, share, reasons = quality.charts(found)
    assert rows.series == {"loans": [100.0, 100.0]}
    assert share.series == {"share": [0.005, 0.18]}
    assert reasons.series["loans: amount fails gt(0)"] == [5, 0]
    assert reasons.series["other reasons"] == [0, 3]
    assert len(quality.listed(found)) == 11


def drifted(until: str, **effects: float | None) -> dict[str, Any]:
    columns = [
        {"name": name, "effect": effect, "threshold": 0.2, "words": "<i>moved</i>", "drifted": False}
        for name, effect in effects.items()
    ]
    about = {"model_version": "1", "verdict": "drift", "share": 0.5, "rows": 10}
    return {"since": until, "until": until, **about, "features": columns, "prediction": columns[0]}


def test_features_are_ordered_by_how_far_they_moved():
    reports = [drifted("2024-03-01T00:00:00Z", a=0.1, b=0.4, c=None), drifted("2024-03-02T00:00:00Z", a=0.2, d=0.3)]
    drawn, rows = drift_charts.by_feature(reports, 3)
    assert [row["feature"] for row in rows] == ["b", "d", "a"]
    assert list(drawn.data[0].z[0]) == [2.0, None]
    assert "<i>" not in str(drawn.data[0].text)
    assert list(drawn.layout.xaxis.ticktext) == ["01 Mar<br>2024", "02 Mar<br>2024"]
    assert list(drawn.layout.xaxis.tickvals) == list(drawn.data[0].x)


def test_drift_over_time_has_its_limit_in_sight():
    drawn, rows = drift_charts.over_time(
        [drifted("2024-03-01T00:00:00Z", a=0.1), drifted("2024-03-02T00:00:00Z", a=0.2)]
    )
    assert [row["prediction score"] for row in rows] == [0.5, 1.0]
    assert [(line.y0, line.y1) for line in drawn.layout.shapes] == [(1, 1)]
    for farthest in (0.02, 1.0):
        drawn, _ = drift_charts.over_time([drifted("2024-03-01T00:00:00Z", a=farthest)])
        low, high = drawn.layout.yaxis.range
        assert low < 0
        assert high > max(1, farthest / 0.2)


def test_dates_stay_few_however_many_windows_there_are():
    reports = [drifted(f"2024-03-{day:02}T00:00:00Z", a=0.1) for day in range(1, 31)]
    drawn, _ = drift_charts.by_feature(reports, 1)
    assert len(drawn.layout.xaxis.tickvals) == 5
    assert drawn.layout.xaxis.ticktext[0] == "01 Mar<br>2024"
    assert drawn.layout.xaxis.ticktext[-1] == "30 Mar<br>2024"


def test_the_same_decision_again_and_again_is_said_once():
    same = {"action": "retrain", "outcome": "nothing", "champion": "1", "version": None, "reasons": ["all is well"]}
    other = {**same, "outcome": "kept", "version": "2", "reasons": []}
    found = [{**same, "at": "3"}, {**same, "at": "2"}, {**other, "at": "1"}]
    assert [(first["at"], last["at"], count) for first, last, count in decided.runs(found)] == [
        ("2", "3", 2),
        ("1", "1", 1),
    ]
    assert decided.sentence(same) == "It did not train again: all is well."
    assert decided.sentence(other) == "It trained version 2, and version 1 stays."


def test_a_turn_that_could_not_look_says_so():
    turn = {
        "since": "2024-03-01T00:00:00Z",
        "until": "2024-03-08T00:00:00Z",
        "model_version": None,
        "truth": {"new": 5},
        "performance": {"windows": []},
        "drift": {"error": "no reference"},
        "freshness": {"views": []},
        "skew": {"rows": 0, "values": 0, "unexplained": {}},
        "rollback": None,
        "decision": None,
    }
    assert overview.sentences(turn) == [
        "It looked at 2024-03-01 00:00 to 2024-03-08 00:00 UTC, and there was no model to judge.",
        "It could not look at drift: no reference",
        "5 predictions have labels that no training has seen.",
    ]


def test_a_turn_says_nothing_twice():
    decision = {"action": "retrain", "outcome": "nothing", "reasons": ["nothing to do: no drift, no drop"]}
    turn = {
        "since": "2024-03-01T00:00:00Z",
        "until": "2024-03-08T00:00:00Z",
        "model_version": "1",
        **{name: {} for name in ("truth", "performance", "drift", "freshness", "skew")},
        "rollback": None,
        "decision": decision,
    }
    assert overview.sentences(turn)[-1] == "It did not train again: no drift, no drop."


def test_performance_by_window_and_version():
    def window(day: int, version: str, auc: float | None) -> dict[str, Any]:
        moments = {"since": f"2024-03-0{day}T00:00:00Z", "until": f"2024-03-0{day + 1}T00:00:00Z"}
        return {**moments, "model_version": version, "slice": None, "auc": auc, "brier": 0.1, "rows": 5, "waiting": 1}

    found = [window(1, "1", 0.7), window(2, "1", None), window(2, "2", 0.8)]
    auc, _, labels = measured.charts(found)
    assert auc.series == {"version 1": [0.7, None], "version 2": [None, 0.8]}
    assert labels.series == {"with a label": [5, 10], "still to come": [1, 2]}


@given(st.text(max_size=60))
def test_what_services_tell_is_no_markup(said: str):
    plain = words.literal(said)
    for sign in "*_`[<$:":
        assert plain.count(f"\\{sign}") >= said.count(sign)


def test_a_framed_page_has_no_origin_and_reaches_nobody():
    policy = HEADERS["content-security-policy"].split("; ")
    assert "sandbox allow-scripts" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert not any("allow-same-origin" in one or "connect-src" in one for one in policy)
