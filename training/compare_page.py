"""A comparison as one page of HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from matplotlib.figure import Figure

from core.metric_names import METRIC_NAMES
from core.pages import COLOURS, document, image, table

_Side = dict[str, Any]


def page(found: dict[str, Any]) -> str:
    """Return the page of what :func:`training.compare.compare` has found."""
    a, b = found["versions"]
    title = f"{found['problem']}: version {a['version']} and version {b['version']}"
    rows = found["rows"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Judged on the same {rows['count']:,} rows, of {escape(rows['from'])} to {escape(rows['until'])}.</p>",
        *(f'<p class="warning">{escape(warning)}</p>' for warning in found["warnings"]),
        "<h2>Metrics</h2>",
        _metrics(a, b, found["gains"]),
        f'<p class="muted">Gain: how much better {escape(a["version"])} is than {escape(b["version"])}, with the 95 % '
        "interval of a paired bootstrap over rows.</p>",
        "<h2>Curves</h2>",
        image(lambda: _curves(a, b), "ROC curves, and precision by recall"),
        "<h2>Calibration</h2>",
        image(lambda: _calibration(a, b), "predicted and observed shares"),
        "<h2>What the models look at</h2>",
        image(lambda: _importance(a, b), "fall of AUC when an input is shuffled"),
        "<h2>Slices</h2>",
        table(
            ["slice", "value", "rows", "AUC a", "AUC b", "Brier a", "Brier b"],
            ([s["slice"], s["value"], int(s["rows"]), *s["auc"], *s["brier"]] for s in found["slices"]),
        ),
        "<h2>Where they come from</h2>",
        table(["", "a", "b"], [[key, a["lineage"][key], b["lineage"][key]] for key in a["lineage"]]),
        "<h2>What differs</h2>",
        table(["", "a", "b"], [[d["what"], d["a"], d["b"]] for d in found["differences"]]),
    ]
    return document(title, parts)


def _metrics(a: _Side, b: _Side, gains: dict[str, Any]) -> str:
    rows = []
    for name, said in METRIC_NAMES.items():
        gain = gains.get(name)
        shown = "" if gain is None else f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
        kind = "muted" if gain is None or not gain["beyond_noise"] else "better" if gain["gain"] > 0 else "worse"
        cells = "".join(f'<td class="n">{side["metrics"][name]:.4f}</td>' for side in (a, b))
        rows.append(f'<tr><td>{escape(said)}</td>{cells}<td class="n {kind}">{escape(shown)}</td></tr>')
    names = "".join(
        f'<th class="n">{escape(side["version"])} ({escape(str(side["candidate"]))}'
        f"{escape(', '.join(['', *side['roles']]))})</th>"
        for side in (a, b)
    )
    return f'<table><tr><th></th>{names}<th class="n">gain</th></tr>{"".join(rows)}</table>'


def _curves(a: _Side, b: _Side) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    roc, precision_recall = figure.subplots(1, 2)
    share = a["metrics"]["positive_share"]
    # What chance alone would give.
    roc.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    precision_recall.plot([0, 1], [share, share], color="grey", linewidth=0.8, linestyle="--")
    for side, colour in zip((a, b), COLOURS, strict=True):
        for axes, curve in ((roc, "roc"), (precision_recall, "precision_recall")):
            axes.plot(*side["curves"][curve].values(), color=colour, label=f"version {side['version']}")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision_recall.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    for axes in (roc, precision_recall):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend()
    return figure


def _calibration(a: _Side, b: _Side) -> Figure:
    figure = Figure(figsize=(5.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for side, colour in zip((a, b), COLOURS, strict=True):
        points = side["calibration"]
        x, y = ([p[key] for p in points] for key in ("predicted", "observed"))
        axes.plot(x, y, marker="o", color=colour, label=f"version {side['version']}")
    axes.set(xlabel="predicted", ylabel="observed", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    return figure


def _importance(a: _Side, b: _Side) -> Figure:
    most: dict[str, list[float]] = {}
    for place, side in enumerate((a, b)):
        for item in side["importance"]:
            most.setdefault(item["feature"], [0.0, 0.0])[place] = item["importance"]
    ranked = sorted(most.items(), key=lambda item: -max(item[1]))[:25][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.3 * max(1, len(ranked))), layout="constrained")
    axes = figure.subplots()
    for place, (side, colour) in enumerate(zip((a, b), COLOURS, strict=True)):
        heights = [i + 0.2 - 0.4 * place for i in range(len(ranked))]
        values = [pair[place] for _, pair in ranked]
        axes.barh(heights, values, height=0.4, color=colour, label=f"version {side['version']}")
    axes.set_yticks(range(len(ranked)), [name for name, _ in ranked])
    axes.set(xlabel="fall of AUC")
    axes.legend()
    return figure
