"""Promotion, rollback and approval: what the ledger says, what serves, and that the two agree after a kill."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.database import Database
from core.errors import Conflict, DatabaseUnavailable, Forbidden, NotFound
from core.registry import roles_lock
from tests.training.loans import QUICK, Loans, promotions
from training.ledger import as_dict
from training.promotion import Promotions
from training.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.train import train


def told(loans: Loans) -> list[tuple[object, ...]]:
    """Return the ledger, oldest first: action, version, previous, status."""
    rows = [as_dict(row) for row in reversed(promotions(loans).ledger.history())]
    return [(r["action"], r["version"], r["previous_version"], r["status"]) for r in rows]


def test_the_gates_own_promotion_is_in_the_ledger_with_its_reasons(rivals):
    (row,) = map(as_dict, promotions(rivals).ledger.history())
    assert (row["requested_by"], row["approved_by"], row["status"]) == ("gate", None, "active")
    assert any("no champion" in reason for reason in row["reasons"])
    assert row["ended_at"] is None
    assert rivals.challenger() == "3"


def test_promotion_by_hand_and_back(rivals):
    with pytest.raises(Conflict) as caught:
        promotions(rivals).rollback(["worse"], actor="ann")
    assert caught.value.hint
    promotions(rivals).promote("3", ["looks good"], actor="ann")
    registry = Registry(rivals.repo)
    assert registry.aliases() == {CHAMPION: "3", PREVIOUS: "1"}
    assert rivals.served().version == "3"
    assert rivals.challenger() is None
    assert registry.client.get_model_version("loans", "3").tags["promotion"] == "looks good"
    promotions(rivals).rollback(["worse"], actor="bob")
    assert registry.aliases() == {CHAMPION: "1", PREVIOUS: "3"}
    assert rivals.served().version == "1"
    assert told(rivals) == [
        ("promote", "1", None, "ended"),
        ("promote", "3", "1", "ended"),
        ("rollback", "1", "3", "active"),
    ]
    rows = [as_dict(row) for row in reversed(promotions(rivals).ledger.history())]
    assert [row["requested_by"] for row in rows] == ["gate", "ann", "bob"]
    assert all(str(row["ended_at"]) >= str(row["created_at"]) for row in rows[:2])


def test_promoting_the_champion_again_changes_nothing(rivals):
    promotions(rivals).promote("3", ["looks good"], actor="ann")
    again = promotions(rivals).promote("3", ["looks good"], actor="ann")
    assert (again.version, again.status) == ("3", "active")
    assert len(told(rivals)) == 2


def test_another_challenger_stays_when_one_is_promoted(rivals):
    promotions(rivals).promote("2", ["by hand"], actor="ann")
    assert (rivals.served().version, rivals.challenger()) == ("2", "3")


def test_what_was_compared_with_another_champion_is_not_promoted(rivals):
    promotions(rivals).promote("2", ["by hand"], actor="ann")
    with pytest.raises(Conflict, match="version 2 by now, not 1"):
        promotions(rivals).promote("3", ["better"], actor="gate", expected="1")
    assert rivals.served().version == "2"


@pytest.mark.parametrize("patience", [0.1, 30])
def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(rivals, patience):
    begun, answers = threading.Barrier(3), {}
    mine = {version: promotions(rivals) for version in ("2", "3")}

    def ask(version: str) -> None:
        seen, asking = mine[version].registry.version_of, threading.local()

        def look(role: str) -> str | None:
            found = seen(role)
            if not hasattr(asking, "once"):
                asking.once = True
                begun.wait(30)  # both have seen version 1 before either moves
            return found

        mine[version].registry.version_of = look
        mine[version].patience = patience
        try:
            mine[version].promote(version, ["race"], actor=version)
            answers[version] = "active"
        except Conflict as error:
            answers[version] = str(error)

    threads = [threading.Thread(target=ask, args=(version,)) for version in mine]
    # Whoever wins waits in the middle of its promotion, until this lock is given back.
    with roles_lock(rivals.repo.layout):
        for thread in threads:
            thread.start()
        begun.wait(30)
        if patience < 1:
            while not answers:
                threads[0].join(0.05)
    for thread in threads:
        thread.join(60)
    (winner,) = [version for version, answer in answers.items() if answer == "active"]
    (told_so,) = [answer for answer in answers.values() if answer != "active"]
    assert ("under way" if patience < 1 else f"version {winner} by now, not 1") in told_so
    assert rivals.served().version == winner
    assert told(rivals) == [("promote", "1", None, "ended"), ("promote", winner, "1", "active")]


def test_a_second_person_must_agree_where_two_are_asked_for(rivals):
    asked = promotions(rivals, 2).propose("3", ["looks good"], actor="ann")
    assert (asked.action, asked.status) == ("request", "pending")
    assert rivals.served().version == "1"
    assert promotions(rivals, 2).propose("3", ["again"], actor="ann").id == asked.id
    with pytest.raises(Conflict, match="Approve it instead"):
        promotions(rivals, 2).propose("3", ["me too"], actor="bob")
    with pytest.raises(Forbidden):
        promotions(rivals, 2).approve("3", actor="ann")
    with pytest.raises(NotFound):
        promotions(rivals, 2).approve("2", actor="bob")
    assert rivals.served().version == "1"
    done = promotions(rivals, 2).approve("3", actor="bob")
    assert (done.requested_by, done.approved_by, done.reasons) == ("ann", "bob", ["looks good"])
    assert rivals.served().version == "3"
    assert told(rivals)[1:] == [("request", "3", "1", "ended"), ("promote", "3", "1", "active")]
    with pytest.raises(NotFound):
        promotions(rivals, 2).approve("3", actor="bob")


def test_a_request_ends_when_another_version_is_promoted(rivals):
    promotions(rivals, 2).propose("3", ["looks good"], actor="ann")
    promotions(rivals).promote("2", ["urgent"], actor="cli:root")
    assert told(rivals)[1:] == [("request", "3", "1", "refused"), ("promote", "2", "1", "active")]
    with pytest.raises(NotFound):
        promotions(rivals, 2).approve("3", actor="bob")


def test_the_gate_needs_a_person_too_where_two_are_asked_for(trainable, monkeypatch):
    from core.settings import Settings

    settings = Settings(promotion_approvals=2)
    outcome = train(trainable.repo, QUICK, settings=settings)
    assert (outcome.verdict.passed, outcome.promoted) == (True, False)
    assert trainable.pointer() is None
    promotions(trainable, 2).approve(outcome.version, actor="ann")
    assert trainable.served().version == outcome.version


def test_an_alias_that_was_moved_by_other_means_is_noted_and_followed(rivals):
    registry = Registry(rivals.repo)
    registry.client.set_registered_model_alias("loans", CHAMPION, "2")
    promotions(rivals).settle()
    assert told(rivals) == [("promote", "1", None, "ended"), ("promote", "2", "1", "active")]
    assert promotions(rivals).ledger.history(1)[0].requested_by == "mlflow"
    assert rivals.served().version == "2"


def _dies_at(folder: Path, die_at: int) -> None:
    """Promote version 3, killed before the ``die_at``-th change of alias, table or pointer."""
    import sqlalchemy

    loans = Loans(folder)
    mine = promotions(loans)
    mine.settle()
    moves, replace = 0, Path.replace

    def count(*_: object) -> None:
        nonlocal moves
        moves += 1
        if moves == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self: Path, target: Path) -> Path:
        count()
        return replace(self, target)

    Path.replace = counted  # type: ignore[method-assign]
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", count)
    mine.promote("3", ["looks good"], actor="ann")


@pytest.mark.slow
def test_killed_anywhere_ledger_aliases_and_pointer_agree_after_the_next_call(contested, tmp_path):
    # Children of a process that has imported everything, and nothing else: MLflow alone takes seconds.
    clean = multiprocessing.get_context("forkserver")
    clean.set_forkserver_preload(["tests.training.test_promotion"])
    kills, ends = 0, set()
    while True:
        folder = tmp_path / f"killed-{kills}"
        shutil.copytree(contested, folder)
        child = clean.Process(target=_dies_at, args=(folder, kills + 1))
        child.start()
        child.join()
        loans = Loans(folder)
        promotions(loans).settle()
        champion = Registry(loans.repo).version_of(CHAMPION)
        row = promotions(loans).ledger.active()
        assert row is not None
        assert champion == row.version == loans.served().version
        assert promotions(loans).ledger.intentions() == []
        assert Registry(loans.repo).version_of(PREVIOUS) == ("1" if champion == "3" else None)
        assert loans.challenger() == (None if champion == "3" else "3")
        ends.add(champion)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        promotions(loans).promote("3", ["looks good"], actor="ann")
        assert loans.served().version == "3"
        kills += 1
    assert kills >= 5
    assert ends == {"1", "3"}


def _on(loans: Loans, url: str, approvals: int = 1) -> Promotions:
    return Promotions(Registry(loans.repo), Database(url), approvals)


def test_on_either_database_a_ledger_that_knows_nothing_takes_over(rivals, database_url):
    mine = _on(rivals, database_url, approvals=2)
    mine.settle()
    assert [(r.version, r.requested_by, r.status) for r in mine.ledger.history()] == [("1", "mlflow", "active")]
    mine.propose("3", ["gut, schön <b>"], actor="ann")
    mine.approve("3", actor="bob")
    mine.rollback(["schlechter"], actor="ann")
    rows = mine.ledger.history()
    assert [(r.action, r.version, r.status) for r in rows] == [
        ("rollback", "1", "active"),
        ("promote", "3", "ended"),
        ("request", "3", "ended"),
        ("promote", "1", "ended"),
    ]
    assert rows[1].reasons == ["gut, schön <b>"]
    assert rows[0].created_at.tzinfo is not None
    assert [r.id for r in mine.ledger.history(2, before=rows[0].id)] == [rows[1].id, rows[2].id]


@pytest.mark.slow
def test_on_postgres_two_machines_do_not_move_roles_at_once(rivals, contested, tmp_path, postgres_url):
    shutil.copytree(contested, tmp_path / "elsewhere")
    here, there = _on(rivals, postgres_url), _on(Loans(tmp_path / "elsewhere"), postgres_url)
    here.settle()
    there.patience = 0.1
    with ExitStack() as held:
        assert here._locked(held)
        with pytest.raises(Conflict, match="under way"):
            there.promote("3", ["race"], actor="bob")
    there.settle()


def test_a_database_that_is_away_moves_nothing(rivals):
    away = _on(rivals, "postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailable):
        away.promote("3", ["good"], actor="ann")
    assert Registry(rivals.repo).version_of(CHAMPION) == rivals.served().version == "1"


def test_a_candidate_that_fails_the_gate_challenges(rivals):
    assert Registry(rivals.repo).aliases() == {CHAMPION: "1", CHALLENGER: "3"}


def test_a_rollback_asked_for_twice_undoes_one_promotion_alone(rivals):
    promotions(rivals).promote("3", ["looks good"], actor="ann")
    promotions(rivals).rollback(["it was not"], actor="monitoring", expected="3")
    with pytest.raises(Conflict, match="version 1 by now, not 3"):
        promotions(rivals).rollback(["it was not"], actor="monitoring", expected="3")
    assert rivals.served().version == "1"
