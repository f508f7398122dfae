"""A turn of the monitoring service on a machine where all services run, by the command as a user gives it."""

from __future__ import annotations

import json

import pytest

from tests.services.conftest import Machine

pytestmark = pytest.mark.slow


def test_a_turn_sees_what_was_predicted_and_says_what_it_decided(machine: Machine):
    loans = [{"loan_id": 3000 + n} for n in range(20)]
    predicted = machine.call("prediction", "POST", "/predict", "predict", json={"entities": loans})
    assert predicted.status_code == 200, predicted.text
    # What is predicted "now" on the replay clock lies at the end of the last window: take in the next hour too.
    done = machine.shell.run("monitor", "run", "--since", "2024-02-29", "--until", "2024-03-08T01:00:00", "--no-act")
    assert done.returncode == 0, done.stdout + done.stderr
    status = machine.shell.run("monitor", "status", "--json")
    turn = json.loads(status.stdout)["turn"]
    for name in ("truth", "performance", "drift", "freshness", "skew"):
        assert "error" not in turn[name], turn[name]
    assert turn["truth"]["predictions"] >= len(loans)
    assert turn["skew"]["rows"] >= len(loans)
    assert turn["skew"]["unexplained"] == {}
    assert turn["drift"]["verdict"] == "too few rows"
    assert {view["view"] for view in turn["freshness"]["views"]} == {"customer_payments", "loan_terms"}
    assert turn["decision"]["outcome"] == "nothing"
    listed = machine.shell.run("monitor", "decisions", "--json")
    assert json.loads(listed.stdout)[0]["reasons"] == turn["decision"]["reasons"]
    for words in (("alarms",), ("reports",), ("decisions",), ("status",)):
        shown = machine.shell.run("monitor", *words)
        assert shown.returncode == 0, shown.stderr
    assert "2 views, as fresh as promised" in done.stderr
    assert f"{turn['skew']['rows']:,} logged vectors rebuilt, all the same" in done.stderr
    doctor = machine.shell.run("doctor")
    assert "monitoring service" in doctor.stdout + doctor.stderr
