"""People hear of what somebody promotes or rolls back, by service or command, once, and nothing waits for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from core.client import TrainingClient
from core.http import HttpClient
from core.settings import Settings
from core.tables import Promotion
from monitoring import retrain
from tests.asgi import Api
from tests.cli.conftest import assert_one_clear_line, shell_for
from tests.core.auth.conftest import PASSWORD, until
from tests.core.keys import Keyring, keyring
from tests.core.wire import Wire, says
from tests.dashboard.conftest import Served
from tests.training.loans import Loans, promotions
from tests.training.test_service import wait
from training.promotion_messages import message_of
from training.registry import CHAMPION, Registry
from training.service import build_app

NOBODY = "http://127.0.0.1:1/hook"
_PATIENCE = 30.0


@pytest.fixture
def keys(rivals: Loans) -> Keyring:
    return keyring(rivals.repo)


@contextmanager
def telling(loans: Loans, keys: Keyring, url: str, **settings: Any) -> Iterator[Api]:
    """Give the service, and be done when all that it tells is told."""
    with Api(build_app(loans.repo, Settings(notify_webhook=url, **settings))) as api:
        api.show(keys["train"])
        yield api
        settled()


def settled() -> None:
    until(lambda: not any(thread.name == "notify" for thread in threading.enumerate()), _PATIENCE)


def row(action: str, **changed: Any) -> Promotion:
    facts = {"version": "3", "previous_version": "1", "requested_by": "ann", "approved_by": None, "reasons": ["why"]}
    at = datetime(2024, 3, 1, tzinfo=UTC)
    return Promotion(id=7, model="loans", action=action, status="active", created_at=at, **{**facts, **changed})


@pytest.mark.parametrize(
    ("told", "event", "subject", "text"),
    [
        (
            row("promote"),
            "training.promotion",
            "punctual: loans: version 3 is the champion now, in place of version 1",
            "Promoted by ann.\nwhy",
        ),
        (
            row("promote", previous_version=None, approved_by="bob"),
            "training.promotion",
            "punctual: loans: version 3 is the champion now",
            "Promoted by ann, approved by bob.\nwhy",
        ),
        (
            row("request"),
            "training.promotion",
            "punctual: loans: version 3 waits for a second person's approval",
            "Asked for by ann.\nwhy",
        ),
        (
            row("rollback", version="1", previous_version="3", requested_by="cli:root"),
            "training.rollback",
            "punctual: loans: version 1 is the champion again, in place of version 3",
            "Rolled back by cli:root.\nwhy",
        ),
    ],
)
def test_a_message_says_who_put_what_in_the_place_of_what_and_why(told, event, subject, text):
    message = message_of(told)
    assert (message.event, message.subject, message.text) == (event, subject, text)
    assert message.facts["promotion"]["created_at"] == "2024-03-01T00:00:00+00:00"


def test_the_service_tells_of_a_promotion_and_of_a_rollback_once_each(rivals, keys, hook):
    heard, url = hook
    with telling(rivals, keys, url) as api:
        made = api.post("/training/models/3/promote", json={"reason": "better on Mondays"}).json()
        settled()
        assert api.post("/training/models/3/promote", json={"reason": "again"}).status_code == 200
        undone = api.post("/training/rollback", json={"reason": "it was not"}).json()
        assert api.post("/training/rollback", json={"reason": "x", "expected": "3"}).status_code == 409
    assert heard.events == ["training.promotion", "training.rollback"]
    promoted, rolled_back = heard.told
    assert promoted["subject"] == "punctual: loans: version 3 is the champion now, in place of version 1"
    assert promoted["text"] == "Promoted by tests.\nbetter on Mondays"
    assert promoted["facts"] == {"promotion": made}
    assert rolled_back["facts"] == {"promotion": undone}
    assert rolled_back["text"] == "Rolled back by tests.\nit was not"


def test_where_two_must_agree_people_hear_of_the_request_and_of_what_came_of_it(rivals, keys, hook):
    heard, url = hook
    bob = keys.accounts.keys.create("key of bob", ["train"], owner="bob")[0]
    with telling(rivals, keys, url, promotion_approvals=2) as api:
        for _ in range(2):  # whoever asks again has asked once
            assert api.post("/training/models/3/promote", json={"reason": "good"}).status_code == 202
            settled()
        assert api.post("/training/models/3/approve").status_code == 403
        answer = api.post("/training/models/3/approve", headers={"authorization": f"Bearer {bob}"})
        assert answer.status_code == 200
    assert [(one["event"], one["facts"]["promotion"]["action"]) for one in heard.told] == [
        ("training.promotion", "request"),
        ("training.promotion", "promote"),
    ]
    assert "waits for a second person's approval" in heard.told[0]["subject"]
    assert heard.told[1]["text"] == "Promoted by tests, approved by bob.\ngood"


def test_of_what_monitoring_does_it_tells_alone_and_a_person_cannot_pass_for_it(rivals, keys, hook):
    heard, url = hook
    keys.accounts.users.add("ada", "admin", PASSWORD, by="tests")
    session = keys.accounts.sessions.log_in("ada", PASSWORD, "127.0.0.1")["token"]
    with Served(build_app(rivals.repo, Settings(notify_webhook=url))) as served:
        client = TrainingClient(HttpClient(served.url, "training", key=keys["train"]))
        assert retrain.promote(client, "3", "1", ["better"]) == ("promoted", [])
        assert retrain.roll_back(client, "3", "1", ["worse"]) == ("rolled back", [])
        settled()
        assert heard.told == []
        by_hand = TrainingClient(HttpClient(served.url, "training", key=session))
        by_hand.promote("2", "so it seems", notify=False)
        settled()
        client.close()
        by_hand.close()
    assert heard.events == ["training.promotion"]
    assert heard.told[0]["text"] == "Promoted by ada.\nso it seems"


@pytest.mark.slow
def test_of_what_the_gate_does_with_a_trained_version_people_hear_unless_who_asked_for_it_tells(
    trainable, hook, monkeypatch
):
    heard, url = hook
    monkeypatch.setenv("PUNCTUAL_PROMOTION_APPROVALS", "2")  # each is asked for, and none is the champion of the next
    body = {"candidates": ["hist_gradient_boosting"], "overrides": {"hist_gradient_boosting": {"max_iter": 5}}}
    with telling(trainable, keyring(trainable.repo), url) as api:
        for asked in ({"notify": False}, {}, {"promote": False}):
            job = wait(api, api.post("/training/train", json=body | asked).json()["job_id"])
            assert job["status"] == "done", job
            body["overrides"]["hist_gradient_boosting"]["max_iter"] += 1
    assert heard.events == ["training.promotion"]
    assert heard.told[0]["subject"] == "punctual: loans: version 2 waits for a second person's approval"
    assert heard.told[0]["facts"]["promotion"]["requested_by"] == "gate"
    shell, words = shell_for(trainable.folder), ("train", "--candidate", "hist_gradient_boosting")
    wrong = shell.run(*words, PUNCTUAL_NOTIFY_WEBHOOK="ftp://x")
    assert_one_clear_line(wrong, 1, "PUNCTUAL_NOTIFY_WEBHOOK")
    by_hand = shell.run(*words, PUNCTUAL_NOTIFY_WEBHOOK=url, PUNCTUAL_PROMOTION_APPROVALS="2")
    assert by_hand.returncode == 0, by_hand.stderr
    assert [one["facts"]["promotion"]["version"] for one in heard.told] == [
        "2",
        "4",
    ]  # nothing was made of the wrong one


def test_what_was_killed_half_way_is_told_by_whoever_finishes_it(rivals, keys, hook):
    heard, url = hook
    promotions(rivals).ledger.add("promote", "3", "1", requested_by="ann", reasons=["looks good"])
    Registry(rivals.repo).crown("3", "1", "looks good")
    with telling(rivals, keys, url):
        until(lambda: heard.events == ["training.promotion"], _PATIENCE)
    assert heard.told[0]["text"] == "Promoted by ann.\nlooks good"


def test_a_receiver_that_takes_its_time_holds_nothing_up(rivals, keys):
    answers = threading.Event()

    def takes_its_time(peer: socket.socket, request: bytes) -> None:
        assert answers.wait(_PATIENCE)
        says({})(peer, request)

    with Wire(takes_its_time) as wire, telling(rivals, keys, wire.url) as api:
        for path in ("/training/models/3/promote", "/training/rollback"):
            assert api.post(path, json={"reason": "good"}).status_code == 200
        until(lambda: len(wire.requests) == 2, _PATIENCE)
        assert rivals.served().version == "1"
        answers.set()


def test_a_receiver_that_is_away_is_logged_and_fails_nothing(rivals, keys, caplog):
    with telling(rivals, keys, NOBODY) as api:
        assert api.post("/training/models/3/promote", json={"reason": "good"}).status_code == 200
        assert rivals.served().version == "3"
    (record,) = [one for one in caplog.records if one.name == "punctual.notify"]
    assert record.getMessage() == "a notification could not be sent"
    assert "refused" in record.detail


def test_the_command_tells_too_and_promotes_where_nobody_hears(rivals, hook):
    heard, url = hook
    shell = shell_for(rivals.folder)
    wrong = shell.run("promote", "3", PUNCTUAL_NOTIFY_WEBHOOK="ftp://x")
    assert_one_clear_line(wrong, 1, "PUNCTUAL_NOTIFY_WEBHOOK")
    assert Registry(rivals.repo).version_of(CHAMPION) == "1"
    done = shell.run("promote", "3", "--reason", "looks good", PUNCTUAL_NOTIFY_WEBHOOK=url)
    assert done.returncode == 0, done.stderr
    assert shell.run("promote", "3", PUNCTUAL_NOTIFY_WEBHOOK=url).returncode == 0
    assert shell.run("rollback", "--reason", "it was not", PUNCTUAL_NOTIFY_WEBHOOK=url).returncode == 0
    assert heard.events == ["training.promotion", "training.rollback"]
    who = heard.told[0]["facts"]["promotion"]["requested_by"]
    assert who.startswith("cli:")
    assert [one["text"] for one in heard.told] == [
        f"Promoted by {who}.\nlooks good",
        f"Rolled back by {who}.\nit was not",
    ]
    away = shell.run("promote", "2", PUNCTUAL_NOTIFY_WEBHOOK=NOBODY)
    assert away.returncode == 0, away.stderr
    assert "Version 2 is the champion." in away.stderr
    assert "a notification could not be sent" in away.stderr
    assert Registry(rivals.repo).version_of(CHAMPION) == "2"
