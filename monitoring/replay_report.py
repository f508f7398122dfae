"""The report of a replay: one page with plots, and the same as data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.files import atomic_path, write_json
from core.pages import COLOURS, document, image, table
from monitoring.replay_figures import METRICS, figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from core.repo import FeatureRepo
    from core.settings import Settings
    from monitoring.replay import Plan

_NAMES = {"auc": "AUC", "brier": "Brier score"}
_SAME = 1e-9  # probabilities that are no further apart are the same
_Found = dict[str, Any]


def write_report(repo: FeatureRepo, settings: Settings, plan: Plan) -> tuple[Path, _Found]:
    """Write ``report.json`` and ``report.html`` into the replay's folder; return the page and what is in it.

    It may be written at any time: it tells of what was predicted so far.
    """
    found = figures(repo, settings, plan)
    found["words"] = list(words(found))
    folder = repo.layout.replay / plan.id
    write_json(folder / "report.json", found)
    path = folder / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    return path, found


def words(found: _Found) -> Iterator[str]:
    """Say what came of it, a sentence each."""
    counts, whole = found["counts"], found["spans"][0]
    yield (
        f"{counts['predicted']:,} predictions were made, each at its moment or up to "
        f"{found['hours_ahead']['most'] or 0:.1f} hours before; {counts['labelled']:,} have a label, "
        f"{counts['waiting']:,} wait for one, and {counts['refused']:,} were refused by the service."
    )
    moves = found["moves"]
    if not moves:
        yield "No other model took over, so there is nothing that retraining could have changed."
    elif whole["gains"]["auc"]:
        yield from (_bought(metric, whole) for metric in METRICS)
    drift = [a for a in found["alarms"] if a["kind"] == "drift"]
    dropped = [a for a in found["alarms"] if a["kind"] == "performance"]
    yield _noticed("Drift", drift)
    yield _noticed("A drop in performance", dropped)
    if (found["rescored"] or 0) > _SAME:
        yield (
            f"Where version {found['plan']['champion']} served, its probabilities offline differ from the logged ones "
            f"by up to {found['rescored']:.2g}: the comparison is off by as much."
        )


def _bought(metric: str, span: _Found) -> str:
    gain = span["gains"][metric]
    beyond = gain["low"] > 0 or gain["high"] < 0
    said = "no difference beyond noise" if not beyond else "better" if gain["gain"] > 0 else "worse"
    return (
        f"{_NAMES[metric]} with retraining {span['with'][metric]:.4f}, without {span['without'][metric]:.4f}: {said} "
        f"({gain['gain']:+.4f}, 95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}; more is better)."
    )


def _noticed(what: str, alarms: list[_Found]) -> str:
    if not alarms:
        return f"{what} raised no alarm."
    days = ", ".join(_day(a["opened_at"]) for a in alarms)
    return f"{what} raised {len(alarms)} alarm{'s' if len(alarms) > 1 else ''}: {days}."


def page(found: _Found) -> str:
    """Return the report as a page."""
    plan = found["plan"]
    title = f"{found['title']} Replay of {_day(plan['since'])} to {_day(plan['until'])}"
    told = [d for d in found["decisions"] if d["outcome"] not in ("nothing", "kept") or d["triggers"]]
    quiet = len(found["decisions"]) - len(told)
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(sentence)}</p>" for sentence in found["words"]),
        "<h2>Week by week</h2>",
        image(lambda: _weeks(found), "AUC, Brier score and share of positive labels by week"),
        table(
            ["week from", "rows", "positive", "AUC with", "without", "Brier with", "without", "versions"],
            [
                [_day(w["since"]), w["rows"], w["positive_share"], *_pairs(w), ", ".join(w["versions"])]
                for w in found["weeks"]
            ],
        ),
        "<h2>What retraining bought</h2>",
        table(
            ["from", "to", "rows", "AUC with", "without", "gain, 95 %", "Brier with", "without", "gain, 95 %"],
            [_span(span) for span in found["spans"]],
        ),
        '<p class="muted">With retraining: what was served. Without: version '
        f"{escape(plan['champion'])}, which served at the start, scored offline on the same logged vectors. Gains are "
        "positive where retraining is better; intervals are of a paired bootstrap over days.</p>",
        "<h2>Who served</h2>",
        table(["version", "from", "to", "predictions"], [[*_served(v)] for v in found["versions"]]),
        "<h2>Promotions and rollbacks</h2>",
        table(
            ["at", "", "version", "before", "why"],
            [[_day(m["at"]), m["what"], m["version"], m["before"], " ".join(m["reasons"])] for m in found["moves"]],
        ),
        "<h2>Alarms</h2>",
        table(
            ["opened", "cleared", "kind", "about", ""],
            [
                [_day(a["opened_at"]), _day(a["cleared_at"]), a["kind"], a["subject"], a["words"]]
                for a in found["alarms"]
            ],
        ),
        "<h2>Decisions</h2>",
        table(
            ["at", "", "triggers", "outcome", "why"],
            [
                [_day(d["at"]), d["action"], ", ".join(d["triggers"]), d["outcome"], " ".join(d["reasons"])]
                for d in told
            ],
        ),
        f'<p class="muted">{quiet:,} more decisions were to leave everything as it is; report.json has them all.</p>',
    ]
    return document(title, parts)


def _weeks(found: _Found) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(3, sharex=True)
    weeks = found["weeks"]
    starts = [datetime.fromisoformat(w["since"]) for w in weeks]
    for axes, metric in zip(panels, METRICS, strict=False):
        for side, colour in zip(("with", "without"), COLOURS, strict=True):
            values = [_or_nan(w[side][metric]) for w in weeks]
            axes.plot(starts, values, marker="o", color=colour, label=f"{side} retraining")
        axes.set(ylabel=_NAMES[metric])
        axes.legend()
    panels[2].plot(starts, [_or_nan(w["positive_share"]) for w in weeks], marker="o", color="grey")
    panels[2].set(ylabel="share of positive labels", xlabel="week that begins")
    for axes in panels:
        _mark(axes, found)
    figure.autofmt_xdate()
    return figure


def _mark(axes: Axes, found: _Found) -> None:
    """Draw promotions and rollbacks as lines, and the time in which a drift or performance alarm was open as a band."""
    for move in found["moves"]:
        style = "--" if move["what"] == "promotion" else ":"
        axes.axvline(_x(move["at"]), color="black", linewidth=0.8, linestyle=style)
    for alarm in found["alarms"]:
        if alarm["kind"] in ("drift", "performance"):
            end = alarm["cleared_at"] or found["plan"]["until"]
            axes.axvspan(_x(alarm["opened_at"]), _x(end), color="#a3262a", alpha=0.08, linewidth=0)


def _x(moment: str) -> float:
    from matplotlib.dates import date2num

    return float(date2num(datetime.fromisoformat(moment)))


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _pairs(found: _Found) -> list[float | None]:
    return [found[side][metric] for metric in METRICS for side in ("with", "without")]


def _span(span: _Found) -> list[Any]:
    cells: list[Any] = [_day(span["since"]), _day(span["until"]), span["rows"]]
    for metric in METRICS:
        gain = span["gains"][metric]
        shown = f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})" if gain else None
        cells += [span["with"][metric], span["without"][metric], shown]
    return cells


def _served(version: _Found) -> list[Any]:
    return [version["version"], _day(version["first"]), _day(version["last"]), version["rows"]]


def _day(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d}" if moment else ""
