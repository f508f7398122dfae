"""What was asked before: by whoever is logged in, about an entity, and with a like answer; and what came of it.

The monitoring service has it from the prediction log, so it outlives a session. What was asked a moment ago may not be
in the log yet: the session's own list fills that in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard.parts import words
from dashboard.parts.contract import as_moment
from dashboard.parts.current import Current
from dashboard.parts.status import busy, there, told
from dashboard.parts.tables import table

_MOST = 500
_MOST_SIMILAR = 20
_LOOKED_THROUGH = 200
_NEAR = 0.05  # of probability
_COLUMNS = ("at", "entity", "asked", "class", "probability", "came out", "model_version", "with", "prediction_id")
_SAME = ("at", "actor", "asked", "class", "probability", "came out", "model_version", "with", "prediction_id")
_LIKE = ("at", "entity", *_SAME[1:])
_KINDS = {"as it is": False, "what if": True}
OPENED = "similar-opened"
_NEVER = datetime.min.replace(tzinfo=UTC)
Row = dict[str, Any]
Classes = tuple[str, str]


def asked(who: Current, key: str | None, classes: Classes) -> None:
    """Show what somebody asked, newest first, to filter and export.

    Parameters
    ----------
    who : Current
        Whose questions.
    key : str, optional
        The name of the entity's id; None while the prediction service cannot say.
    classes : (str, str)
        What the outcomes 0 and 1 are called.
    """
    st.subheader("What you asked")
    logged: Sequence[Mapping[str, Any]] = ()
    if there("monitoring"):
        with told():
            logged = _logged(who, actor=who.session.user, limit=_MOST)
    rows = merged(who.session.history, [told_row(one, key, classes) for one in logged])
    if not rows:
        st.caption("Nothing yet. What you ask is kept, and shown here.")
        return
    kinds = st.pills("Which", list(_KINDS), selection_mode="multi", label_visibility="collapsed", width=320)
    chosen = [row for row in rows if not kinds or row["what_if"] in {_KINDS[kind] for kind in kinds}]
    height = min(38 + 35 * max(len(chosen), 1), 320)
    table(chosen, _COLUMNS, name="predictions", key="history", height=height, column_config=_config())


def similar(who: Current, key: str, entity: str, classes: Classes, shown: Mapping[str, Any] | None) -> None:
    """Show earlier predictions, by whomever the service lets one see: of an entity, and of others with a like answer.

    The log is asked when somebody opens this.

    Parameters
    ----------
    who : Current
        Who looks.
    key, entity : str
        The name of the entity's id, and the id.
    classes : (str, str)
        What the outcomes 0 and 1 are called.
    shown : mapping, optional
        The prediction that is shown for it: what others are to be like.
    """
    title = f"Similar predictions: of {words.literal(entity)}, and of others"
    with st.expander(title, icon=":material/history:", key=OPENED, on_change="rerun") as box:
        if not box.open or not there("monitoring"):
            return
        with told():
            st.markdown(f"**Asked before about {words.literal(entity)}**")
            found = _logged(who, entity=entity, limit=_MOST_SIMILAR)
            _listed([told_row(one, key, classes) for one in found], _SAME, "same-entity")
            if shown is None:
                st.caption("Once it is predicted, others with a like answer are listed here.")
                return
            st.markdown(f"**Others that came out like this: {words.literal(shown['class'])}**")
            st.caption(
                f"Of the newest {_LOOKED_THROUGH} called so, those within {_NEAR * 100:.0f} points of the probability, "
                "the nearest first."
            )
            called = _logged(who, what_if=False, limit=_LOOKED_THROUGH, **{"class": shown["class"]})
            others = [told_row(one, key, classes) for one in called]
            _listed(near([row for row in others if row["entity"] != entity], shown["probability"]), _LIKE, "like-this")


def near(rows: Sequence[Row], probability: float, most: int = _MOST_SIMILAR) -> list[Row]:
    """Return the rows whose probability is within 0.05 of another, the nearest first, those as near as given."""
    away = [(abs(row["probability"] - probability), row) for row in rows]
    return [row for distance, row in sorted(away, key=lambda one: one[0]) if distance <= _NEAR][:most]


def told_row(logged: Mapping[str, Any], key: str | None, classes: Classes) -> Row:
    """Return a row of the table for a prediction as the monitoring service tells of it."""
    entity = dict(logged["entity"])
    name = key if key in entity else next(iter(entity), "")
    label = logged["outcome"]
    return {
        "at": _second(logged["served_at"]),
        "entity": str(entity.pop(name, "")),
        "asked": "what if" if logged["what_if"] else "as it is",
        "with": words.several(entity) if entity else "",
        "came out": words.NOTHING if label is None else classes[label],
        **{name: logged[name] for name in ("class", "probability", "model_version", "prediction_id", "actor")},
        "what_if": logged["what_if"],
    }


def merged(own: Sequence[Mapping[str, Any]], logged: Sequence[Row]) -> list[Row]:
    """Return rows of the session and of the log, each prediction once, newest first.

    The session knows in words what was changed, the log what came of it.
    """
    by_id = {row["prediction_id"]: row for row in logged}
    for row in own:
        before = by_id.get(row["prediction_id"], {"came out": words.NOTHING, "with": ""})
        by_id[row["prediction_id"]] = {**row, **before, "asked": row["asked"]}
    return sorted(by_id.values(), key=lambda row: (as_moment(row["at"]) or _NEVER, row["prediction_id"]), reverse=True)


def _logged(who: Current, **params: Any) -> list[dict[str, Any]]:
    with busy("Looking through the log ..."):
        return list(who.call.get("monitoring", "/monitoring/predictions", **params)["predictions"])


def _listed(rows: Sequence[Row], columns: Sequence[str], key: str) -> None:
    if not rows:
        st.caption("Nothing that you may see is in the log yet.")
        return
    columned = {column: [row[column] for row in rows] for column in columns}
    st.dataframe(columned, hide_index=True, column_config=_config(), key=key)


def _second(moment: Any) -> str:
    found = as_moment(moment)
    return found.isoformat(timespec="seconds") if found else ""


def _config() -> dict[str, Any]:
    return {
        "at": st.column_config.DatetimeColumn("at (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        "probability": st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent"),
    }
