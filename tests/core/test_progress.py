"""What runs inside of another's bar shows none of its own."""

from __future__ import annotations

import pytest

from core.progress import FORMAT, parse_progress, progress


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_outermost_speaks_alone_and_then_the_next(form, monkeypatch, capsys):
    monkeypatch.setenv(FORMAT, form)
    with progress("outer", total=2) as outer:
        with progress("inner", total=5) as inner:
            inner(note="unheard")
        outer(note="heard")
    with progress("after"):
        pass
    said = capsys.readouterr().err
    assert "inner" not in said
    assert "unheard" not in said
    assert said.index("outer") < said.index("after")
    if form == "json":
        assert [parse_progress(line) for line in said.splitlines()] == [
            ("outer", 0.0, ""),
            ("outer", 0.5, "heard"),
            ("after", None, ""),
        ]
