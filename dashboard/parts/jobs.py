"""A durable job while it goes on: its steps, its progress, its lines, and the way to stop it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from core.clock import SystemClock
from core.places import Name
from dashboard.parts import words
from dashboard.parts.contract import as_moment
from dashboard.parts.current import Current
from dashboard.parts.status import busy, told

_EVERY = "1s"
_LINES = 400
_LISTED = 20
_PASSAGES = 6
_ROUNDS = ": round "
_ROUND = re.compile(r"round (\d+), validation log loss ([\d.]+)")
_STEP = {
    "waiting": ":material/radio_button_unchecked:",
    "running": ":material/pending:",
    "done": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/block:",
}
_STATUS = {"queued": "gray", "running": "blue", "done": "green", "failed": "red", "cancelled": "orange"}


def prefix(name: Name) -> str:
    """Return what stands before ``/jobs`` in a service's paths."""
    return "/training" if name == "training" else ""


def over(job: dict[str, Any]) -> bool:
    """Say whether nothing more happens to a job by itself."""
    return job["status"] in ("done", "failed", "cancelled")


def section(who: Current, name: Name) -> None:
    """Show the job that was started last, or is at work, and the ones before it to choose from."""
    with busy("Reading the jobs ..."):
        jobs = who.call.get(name, f"{prefix(name)}/jobs", limit=_LISTED)["jobs"]
    if not jobs:
        st.caption("No job has run yet.")
        return
    labels = {job["id"]: f"{job['kind']}, {words.moment(job['created_at'])}: {job['status']}" for job in jobs}
    at_work = [job["id"] for job in reversed(jobs) if job["status"] == "running"]
    chosen = st.session_state.get(_chosen(name))
    first = chosen if chosen in labels else next(iter(at_work), jobs[0]["id"])
    ids = list(labels)
    picked = st.selectbox("Job", ids, ids.index(first), format_func=labels.__getitem__, width=480)
    watch(who, name, picked)


def start(who: Current, name: Name, path: str, body: dict[str, Any] | None = None) -> None:
    """Start a job and show it."""
    with told():
        with busy("Starting ..."):
            job = who.call.send(name, "POST", path, body or {})
        st.session_state[_chosen(name)] = job["id"]
        st.rerun()


def watch(who: Current, name: Name, job_id: str) -> None:
    """Show a job, again and again until it is over; then the page is drawn anew.

    Parameters
    ----------
    who : Current
        Who looks.
    name : str
        The service whose job it is.
    job_id : str
        The job.
    """
    with told():
        with busy("Reading the job ..."):
            job = who.call.get(name, f"{prefix(name)}/jobs/{job_id}")
        if over(job):
            _draw(who, name, job)
        else:
            _live(who, name, job_id)


@st.fragment(run_every=_EVERY)
def _live(who: Current, name: Name, job_id: str) -> None:
    with told():
        job = who.call.get(name, f"{prefix(name)}/jobs/{job_id}")
        if over(job):
            st.rerun()
        _draw(who, name, job)


def _draw(who: Current, name: Name, job: dict[str, Any]) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{job['kind']}**", width="content")
            st.badge(job["status"], color=_colour(job["status"]))
            st.caption(f"by {job['actor'] or 'nobody'}, {words.moment(job['created_at'])} UTC", width="content")
        st.progress(min(max(float(job["progress"]), 0.0), 1.0), job["note"] or job["step"] or job["status"])
        now, kept = SystemClock().now(), _kept(job["id"])
        if steps := "  ".join(_step(step, now) for step in job["steps"]):
            st.markdown(steps)
        if job["note"] and not over(job):
            kept["notes"] = [*kept["notes"], (now, str(job["note"]))][-_LINES:]
            if gone := passages(kept["notes"])[-_PASSAGES:]:
                st.caption("As watched here: " + " · ".join(f"{words.literal(note)} {lasted(s)}" for note, s in gone))
        if job["error"]:
            st.error(job["error"])
        with st.expander("Log", expanded=not over(job), icon=":material/article:"):
            _log(who, name, job["id"], kept)
        _buttons(who, name, job)


def _kept(job_id: str) -> dict[str, Any]:
    """Return what this tab has read of a job: its lines, and what it was at, with the moment of each look."""
    kept: dict[str, Any] = st.session_state.setdefault(f"log-{job_id}", {"lines": [], "next": 0, "notes": []})
    return kept


def _step(step: Mapping[str, Any], now: datetime) -> str:
    start, end = as_moment(step["started_at"]), as_moment(step["ended_at"])
    took = f" {lasted(((end or now) - start).total_seconds())}" if start else ""
    return f"{_STEP.get(step['status'], '')} {step['name']}{took}"


def _log(who: Current, name: Name, job_id: str, kept: dict[str, Any]) -> None:
    """Show a job's newest lines; those that were read are kept, so that only new ones are asked for."""
    found = who.call.get(name, f"{prefix(name)}/jobs/{job_id}/log", since=kept["next"])
    kept["next"] = found["next"]
    kept["lines"] = [*kept["lines"], *found["lines"]][-_LINES:]
    # (A stage tells of its rounds as it goes on, in what it is at, and not in its lines.)
    if told_rounds := rounds(kept["lines"]) or rounds([note for _, note in kept["notes"]]):
        st.caption("Log loss on the validation rows, by round")
        st.line_chart(told_rounds, height=160)
    if kept["lines"]:
        st.code("\n".join(kept["lines"]), language=None, height=240, wrap_lines=True)
    else:
        st.caption("It has said nothing yet.")


def _buttons(who: Current, name: Name, job: dict[str, Any]) -> None:
    path = f"{prefix(name)}/jobs/{job['id']}"
    if not over(job) and st.button("Cancel", icon=":material/cancel:", key=f"cancel-{job['id']}"):
        _do(who, name, f"{path}/cancel")
    if job["status"] in ("failed", "cancelled") and st.button(
        "Try again", icon=":material/replay:", key=f"retry-{job['id']}"
    ):
        _do(who, name, f"{path}/retry")


def _do(who: Current, name: Name, path: str) -> None:
    with told():
        with busy("Passing it on ..."):
            who.call.send(name, "POST", path)
        st.rerun()


def passages(notes: Sequence[tuple[datetime, str]]) -> list[tuple[str, float]]:
    """Return what a job was at, one after another, and for how many seconds: as far as it was looked at.

    Rounds of a training are part of what they belong to.
    """
    found: list[tuple[str, datetime, datetime]] = []
    for moment, note in notes:
        what = note.partition(_ROUNDS)[0]
        if found and found[-1][0] == what:
            found[-1] = (what, found[-1][1], moment)
        else:
            if found:
                found[-1] = (*found[-1][:2], moment)
            found.append((what, moment, moment))
    return [(what, (end - start).total_seconds()) for what, start, end in found]


def lasted(seconds: float) -> str:
    """Return how long something took: ``12 s``, ``2 min 5 s``."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rounds(lines: Sequence[str]) -> dict[int, float]:
    """Return what a training has told of its rounds: round to validation log loss, of the newest candidate."""
    found: dict[int, float] = {}
    for line in lines:
        if match := _ROUND.search(line):
            number = int(match[1])
            if found and number < max(found):
                found = {}
            found[number] = float(match[2])
    return found


def _chosen(name: Name) -> str:
    return f"job-{name}"


def _colour(status: str) -> Any:
    return _STATUS.get(status, "gray")
