"""What is made of what, as a graph: raw tables, views, the feature service, data, model versions, what is served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from core.errors import PunctualError
from core.places import Name
from dashboard.parts.current import Current
from dashboard.parts.status import busy
from dashboard.services import services

_MOST_VERSIONS = 4
_WIDEST = 28
_DIGITS = 8  # of a data version: as many as people tell apart
_CANDIDATE = "candidate"  # a version without a role
# Light boxes with dark words on them: read on a light page and on a dark one.
_KINDS = {
    "table": ("cylinder", "#dfe7ef"),
    "input": ("note", "#f3e6c8"),
    "view": ("box", "#cfe3f6"),
    "service": ("component", "#b7d5f1"),
    "labels": ("ellipse", "#e4def2"),
    "data": ("folder", "#d5ecdd"),
    "version": ("box", "#f5dcc6"),
    "served": ("doubleoctagon", "#f0b98a"),
}
_LEGEND = (
    "raw tables → feature views → feature service → data version → model versions → what is served. "
    "Dotted lines: where the labels come from, which the rows of each data version carry. "
    "Dashed box: a view of which the feature service takes nothing."
)
_LINE = "#8a97a5"
_DOTTED = ', style=dotted, tooltip="labels"'
_UNSEEN = ", style=invis"  # where it comes from is not known; it stands in line all the same


def show(who: Current) -> None:
    """Draw the graph; what a service that is away would tell is left out."""
    with busy("Reading what is made of what ..."):
        made = who.call.get("data", "/data/lineage")
        models = _or_nothing(who, "training", "/training/models").get("versions", [])
        serving = _or_nothing(who, "prediction", "/models/available").get("serving")
    st.caption(_LEGEND)
    st.graphviz_chart(dot(made, models, serving), width="stretch", alt="What is made of what")
    st.dataframe(listed(made), hide_index=True)
    if models:
        st.dataframe(trained(models, serving), hide_index=True, placeholder="")
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


def trained(models: Sequence[Mapping[str, Any]], serving: str | None) -> list[dict[str, Any]]:
    """Return one row a version that the graph shows: what it was trained from, and what it is for."""
    return [
        {
            "version": one["version"],
            "role": ", ".join(one["roles"]) or _CANDIDATE,
            "trained from data version": (_data(one) or "")[:_DIGITS] or "not known",
            "serves": one["version"] == serving if serving else None,
        }
        for one in _drawn(models, serving)
    ]


def dot(made: Mapping[str, Any], models: Sequence[Mapping[str, Any]], serving: str | None) -> str:
    """Return the graph in the language of Graphviz.

    Parameters
    ----------
    made : mapping
        As ``GET /data/lineage`` tells it.
    models : sequence of mapping
        Registered versions as ``GET /training/models`` lists them, newest first. Each comes from the data version
        that its tags name; one whose tags name none stands in line, and comes from nothing.
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
    shown = _drawn(models, serving)
    now = made["data_version"]
    data = dict.fromkeys([now, *filter(None, map(_data, shown))])
    for version in data:
        note = f"data version {version[:_DIGITS]}{', now' if version == now else ''}"
        yield _node("data", version, note, label="training rows")
        yield _edge("service", service, "data", version)
    yield from _labels(made["spine"]["tables"], data)
    for one in shown:
        role = ", ".join(one["roles"]) or _CANDIDATE
        yield _node("version", one["version"], role, label=f"version {one['version']}")
        yield _edge("data", _data(one) or now, "version", one["version"], more="" if _data(one) else _UNSEEN)
    if serving:
        yield _node("served", "served", label="predictions")
        if all(one["version"] != serving for one in shown):
            yield _node("version", serving, label=f"version {serving}")
            yield _edge("data", now, "version", serving, more=_UNSEEN)
        yield _edge("version", serving, "served", "served")


def _labels(tables: Sequence[str], data: Iterable[str]) -> Iterator[str]:
    """Draw where labels come from, and that every data version carries them."""
    if not tables:
        return
    yield _node("labels", "labels")
    for table in tables:
        yield _edge("table", table, "labels", "labels", more=_DOTTED)
    for version in data:
        yield _edge("labels", "labels", "data", version, more=_DOTTED)


def _drawn(models: Sequence[Mapping[str, Any]], serving: str | None) -> list[Mapping[str, Any]]:
    """Return the newest versions, and the older ones that have a role or serve."""
    return [one for i, one in enumerate(models) if i < _MOST_VERSIONS or one["roles"] or one["version"] == serving]


def _data(version: Mapping[str, Any]) -> str | None:
    found: str | None = version["tags"].get("data_version")
    return found


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
