"""The audit log: there with what it tells of, without secrets, and never changed."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.clock import SystemClock
from core.errors import Conflict
from core.logs import correlation_id
from tests.core.auth.conftest import World


def test_it_keeps_who_what_when_and_gives_them_back(world: World):
    before = SystemClock().now()
    world.accounts.audit("ada", "POST /keys", "/keys", detail={"name": "x", "password": "hunter2"}, address="10.0.0.1")
    world.accounts.audit("bo", "DELETE /users/{name}", "/users/ada", "refused (403)")
    newest, oldest = world.accounts.audit_log()
    assert (newest["actor"], newest["outcome"]) == ("bo", "refused (403)")
    assert oldest["detail"] == {"name": "x", "password": "***"}
    assert before <= oldest["at"] <= SystemClock().now()
    assert [r["actor"] for r in world.accounts.audit_log(actor="ada")] == ["ada"]
    assert [r["actor"] for r in world.accounts.audit_log(action="POST")] == ["ada"]
    assert world.accounts.audit_log(action="%") == []
    assert world.accounts.audit_log(actor="' OR 1=1 --") == []
    assert world.accounts.audit_log(actor="a\x00\ud800") == []
    assert [r["actor"] for r in world.accounts.audit_log(before=newest["id"])] == ["ada"]
    assert world.accounts.audit_log(until=before) == []
    assert len(world.accounts.audit_log(since=before)) == 2
    assert len(world.accounts.audit_log(limit=1)) == len(world.accounts.audit_log(limit=-5)) == 1


def test_the_database_refuses_to_change_or_delete(world: World):
    world.accounts.audit("ada", "x", "y")
    statements = ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"]
    if world.url.startswith("postgresql"):
        statements.append("TRUNCATE audit")
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"), world.database.session() as session:
            session.execute(text(statement))
    assert [r["actor"] for r in world.accounts.audit_log()] == ["ada"]


def test_whatever_comes_in_a_request_can_be_kept(world: World):
    for odd in ("a\x00b", "line\nbreak", "\x1b[31mred", "\ud800", "x" * 10_000, "пётр 🙂"):
        world.accounts.audit(odd, odd, odd, odd, detail={"odd": odd.replace("\ud800", "")}, address=odd)
    kept = [record["actor"] for record in world.accounts.audit_log()]
    assert kept == ["пётр 🙂", "x" * 80, "?", "?[31mred", "line?break", "a?b"]


def test_secrets_are_masked_wherever_they_are(world: World):
    key, _ = world.key()
    token = world.token()
    world.accounts.audit("ada", "x", f"/keys/{key}", detail={"note": f"Bearer {token}", "url": "redis://me:pw@host"})
    newest = world.accounts.audit_log(limit=1)[0]
    for secret in (key[16:], token, "pw@"):
        assert secret not in repr(newest)


def test_a_record_names_its_request(world: World):
    mark = correlation_id.set("request-1234")
    try:
        world.key()
    finally:
        correlation_id.reset(mark)
    (record,) = world.accounts.audit_log()
    assert (record["actor"], record["action"], record["correlation_id"]) == ("tests", "key made", "request-1234")
    assert record["detail"] == {"name": "client", "scopes": ["read"], "expires": None}


def test_what_did_not_happen_leaves_no_record_that_it_did(world: World):
    world.user("ada", "admin")
    with pytest.raises(Conflict):
        world.accounts.users.remove("ada", by="ada")
    assert world.accounts.audit_log(action="user removed") == []


def test_every_change_leaves_a_record(world: World):
    users, keys = world.accounts.users, world.accounts.keys
    world.user("ada", "admin")
    world.user("bo")
    _, key_id = world.key(owner="ada")
    keys.rotate(key_id, by="ada")
    keys.revoke(key_id, by="ada")
    users.set_role("bo", "admin", by="ada")
    users.reset("bo", by="ada")
    users.remove("bo", by="ada")
    token = world.token("ada")
    assert token
    done = [(r["actor"], r["action"]) for r in reversed(world.accounts.audit_log())]
    assert done == [
        ("tests", "user added"),
        ("tests", "user added"),
        ("ada", "key made"),
        ("ada", "key rotated"),
        ("ada", "key revoked"),
        ("ada", "role changed"),
        ("ada", "password reset"),
        ("ada", "user removed"),
        ("ada", "log in"),
    ]


def test_records_go_to_the_log_as_well(world: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "punctual.audit"):
        world.accounts.audit("ada", "x", "y")
    assert [record.actor for record in caplog.records if record.name == "punctual.audit"] == ["ada"]  # type: ignore[attr-defined]
