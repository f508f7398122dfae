"""What is made of what, as a graph: raw tables, views, the feature service, data, model versions, what is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from core.client import Name
from core.errors import PunctualError
from dashboard.parts.current import Current
from dashboard.services import services

_MOST_VERSIONS = 4
_WIDEST = 28
# Light boxes with dark words on them: read on a light page and on a dark one.
_KINDS = {
    "table": ("cylinder", "#dfe7ef"),
    "input": ("note", "#f3e6c8"),
    "view": ("box", "#cfe3f6"),
    "service": ("component", "#b7d5f1"),
    "data": ("folder", "#d5ecdd"),
    "version": ("box", "#f5dcc6"),
    "served": ("doubleoctagon", "#f0b98a"),
}
_LEGEND = "raw tables → feature views → feature service → data version → model versions → what is served"
_LINE = "#8a97a5"


def show(who: Current) -> None:
    """Draw the graph; what a service that is away would tell is left out."""
    with st.spinner("Reading what is made of what ..."):
        made = who.call.get("data", "/data/lineage")
        models = _or_nothing(who, "training", "/training/models").get("versions", [])
        serving = _or_nothing(who, "prediction", "/models/available").get("serving")
    st.caption(_LEGEND)
    st.graphviz_chart(dot(made, models, serving), width="stretch", alt="What is made of what")
    st.dataframe(listed(made), hide_index=True)
    unused = [view["name"] for view in made["views"] if not view["used"]]
    if unused:
        st.caption(f"Dashed: the feature service takes nothing of {', '.join(unused)}.")
    away = [name for name in ("training", "prediction") if services().board[name].state == "down"]
    if away:
        st.caption(f"Not shown, for it does not answer: what the {' and the '.join(away)} service knows.")


def listed(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a view: the same as the graph, for small screens and for those who cannot see it."""
    return [
        {
            "view": view["name"],
            "made of": ", ".join((*view["tables"], *view["views"], *view["inputs"])) or "what others write",
            "features": view["features"],
            "used": view["used"],
        }
        for view in made["views"]
    ]


def dot(made: Mapping[str, Any], models: Sequence[Mapping[str, Any]], serving: str | None) -> str:
    """Return the graph in the language of Graphviz.

    Parameters
    ----------
    made : mapping
        As ``GET /data/lineage`` tells it.
    models : sequence of mapping
        Registered versions as ``GET /training/models`` lists them, newest first.
    serving : str or None
        The version that answers.
    """
    return "\n".join(
        (
            "digraph {",
            'rankdir=LR; bgcolor=transparent; nodesep=0.18; ranksep=0.7; fontname="sans-serif";',
            'node [fontname="sans-serif", fontsize=12, style=filled, color="#5b6774", fontcolor="#1c2430"];',
            f'edge [color="{_LINE}", arrowsize=0.7];',
            *_features(made),
            *_models(made, models, serving),
            "}",
        )
    )


def _features(made: Mapping[str, Any]) -> Iterator[str]:
    service = made["feature_service"]
    for name in made["tables"]:
        yield _node("table", name)
    if service:
        yield _node("service", service)
    for view in made["views"]:
        yield _node("view", view["name"], f"{view['used']} of {view['features']} features", faint=not view["used"])
        for table in view["tables"]:
            yield _edge("table", table, "view", view["name"])
        for other in view["views"]:
            yield _edge("view", other, "view", view["name"])
        for name in view["inputs"]:
            yield _node("input", name, "asked with")
            yield _edge("input", name, "view", view["name"])
        if service and view["used"]:
            yield _edge("view", view["name"], "service", service)


def _models(made: Mapping[str, Any], models: Sequence[Mapping[str, Any]], serving: str | None) -> Iterator[str]:
    service = made["feature_service"]
    if not service:
        return
    yield _node("data", "training rows", f"data version {made['data_version'][:8]}")
    yield _edge("service", service, "data", "training rows")
    for table in made["spine"]["tables"]:  # labels: a line that draws nothing to its side
        yield _edge("table", table, "data", "training rows", more=', style=dotted, constraint=false, tooltip="labels"')
    shown = [one for i, one in enumerate(models) if i < _MOST_VERSIONS or one["roles"]]
    for one in shown:
        yield _node(
            "version", one["version"], ", ".join(one["roles"]) or "candidate", label=f"version {one['version']}"
        )
        yield _edge("data", "training rows", "version", one["version"])
    if serving:
        yield _node("served", "served", label="predictions")
        if any(one["version"] == serving for one in shown):
            yield _edge("version", serving, "served", "served")
        else:
            # What it was trained from is not known here; it stands in line all the same.
            yield _node("version", serving, label=f"version {serving}")
            yield _edge("data", "training rows", "version", serving, more=", style=invis")
            yield _edge("version", serving, "served", "served")


def _node(kind: str, name: str, note: str = "", *, label: str = "", faint: bool = False) -> str:
    shape, colour = _KINDS[kind]
    text = _quoted(label or name, note)
    dashed = ', style="filled,dashed"' if faint else ""
    return f'{_id(kind, name)} [label={text}, shape={shape}, fillcolor="{colour}"{dashed}];'


def _edge(kind: str, name: str, to_kind: str, to_name: str, more: str = "") -> str:
    return f'{_id(kind, name)} -> {_id(to_kind, to_name)} [color="{_LINE}"{more}];'


def _id(kind: str, name: str) -> str:
    return _quoted(f"{kind} {name}", cut=False)


def _quoted(*lines: str, cut: bool = True) -> str:
    """Return lines as a text of Graphviz: whatever they hold, they end where they end, and are no escapes."""
    kept = [line if not cut or len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…" for line in lines if line]
    plain = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in kept)
    return '"' + "\\n".join(plain) + '"'


def _or_nothing(who: Current, name: Name, path: str) -> dict[str, Any]:
    try:
        return dict(who.call.get(name, path))
    except PunctualError:
        return {}
