"""Who may become champion: promotion, rollback and a second person's approval, each written down before it is done.

The ledger row comes first, the aliases in the registry next, the pointer that serving follows last. Killed in between,
:meth:`Promotions.settle`, which every call begins with, finishes what had taken effect and refuses what had not; and
an alias that was moved by other means (in MLflow's own pages, say) is noted as found.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import text

from core.errors import Conflict, Forbidden, NotFound
from core.files import locked
from training.ledger import Ledger
from training.registry import CHAMPION, PREVIOUS, Registry

if TYPE_CHECKING:
    from core.database import Database
    from core.tables import Promotion

GATE = "gate"
ANY = ""  # whatever version is champion when the call begins
_LOOK_SECONDS = 0.05


class Promotions:
    """Moves the champion's role, one move at a time.

    Parameters
    ----------
    registry : Registry
        Whose roles are moved.
    database : Database
        Holds the ledger.
    approvals : int
        People who must agree to what :meth:`propose` is asked; 1 or 2.
    tell : callable, optional
        Hears each new row of the ledger that took effect, or that waits for approval. It is called while the right to
        move is held, so it must neither wait nor fail.

    Attributes
    ----------
    patience : float
        Seconds to wait for another move, before a :class:`Conflict`: fewer than a client waits for the answer.
    """

    patience = 5.0

    def __init__(
        self,
        registry: Registry,
        database: Database,
        approvals: int = 1,
        tell: Callable[[Promotion], object] | None = None,
    ) -> None:
        self.registry = registry
        self.ledger = Ledger(database, registry.name)
        self._approvals = approvals
        self._tell = tell

    def quiet(self) -> Self:
        """Return the same that tells nobody, for whoever tells of its moves itself."""
        twin = copy(self)
        twin._tell = None
        return twin

    def propose(self, version: str, reasons: Sequence[str], *, actor: str, expected: str | None = ANY) -> Promotion:
        """Promote a version, or write a request for it where a second person has to agree.

        Parameters
        ----------
        version : str
            A registered version.
        reasons : sequence of str
            Why; kept.
        actor : str
            Who wants it.
        expected : str or None
            The champion that the version was compared with (None: there was none); by default any.

        Returns
        -------
        dict
            The ledger's row: ``active`` when it is the champion now, a pending ``request`` when it waits.

        Raises
        ------
        NotFound
            When there is no such version.
        Conflict
            When another move is under way, the champion is not the expected one, or somebody has asked already.
        """
        if self._approvals == 1:
            return self.promote(version, reasons, actor=actor, expected=expected)
        with self._one_at_a_time(expected) as champion:
            if version == champion:
                raise Conflict(f"Version {version} is the champion already.", hint="There is nothing to ask for.")
            self.registry.load(version)
            if found := self.ledger.request(version):
                if found.requested_by == actor:
                    return found
                raise Conflict(
                    f"{found.requested_by} has asked for version {version} already.", hint="Approve it instead."
                )
            return self._told(self.ledger.add("request", version, champion, requested_by=actor, reasons=reasons))

    def approve(self, version: str, *, actor: str) -> Promotion:
        """Agree to another person's request, which is carried out at once.

        Raises
        ------
        NotFound
            When nobody asked for this version, or another one was promoted since.
        Forbidden
            When the request is the actor's own.
        Conflict
            When another move is under way.
        """
        with self._one_at_a_time():
            request = self.ledger.request(version)
            if request is None:
                raise NotFound(
                    f"There is no open request for version {version[:20]!r}.",
                    hint="Ask for it first. A request ends when any version is promoted.",
                )
            if request.requested_by == actor:
                raise Forbidden("Your own request needs another person's approval.", hint="Ask somebody else.")
            return self._move("promote", version, request.reasons, actor=request.requested_by, approved_by=actor)

    def promote(self, version: str, reasons: Sequence[str], *, actor: str, expected: str | None = ANY) -> Promotion:
        """Make a version the champion; the champion before it becomes ``previous``. See :meth:`propose`."""
        with self._one_at_a_time(expected) as champion:
            if version == champion:
                self.registry.load(version)
                self.registry.follow()  # a repeated call, or a lost local copy
                return self._active()
            return self._move("promote", version, reasons, actor=actor)

    def rollback(self, reasons: Sequence[str], *, actor: str, expected: str | None = ANY) -> Promotion:
        """Make ``previous`` the champion again, at once: no second person is asked.

        Asked twice it would undo itself: who may ask twice names the champion that it is to undo as ``expected``.

        Raises
        ------
        Conflict
            When there is no previous champion, another move is under way, or the champion is not the expected one.
        """
        with self._one_at_a_time(expected):
            version = self.registry.version_of(PREVIOUS)
            if version is None:
                raise Conflict("There is no previous champion to go back to.", hint="Promote a version instead.")
            return self._move("rollback", version, reasons, actor=actor)

    def settle(self) -> None:
        """Bring ledger, aliases and this machine's pointers together, whatever was killed before.

        Where a move is under way just now, it has done so itself.
        """
        with ExitStack() as held:
            if self._locked(held):
                self._settle()

    def _settle(self) -> None:
        champion = self.registry.version_of(CHAMPION)
        for row in self.ledger.intentions():
            if row.version == champion:
                self.registry.crown(champion, row.previous_version, "; ".join(row.reasons))
                self._told(self.ledger.activate(row))
            else:
                self.ledger.close(row, "refused", "interrupted before it took effect")
        active = self.ledger.active()
        noted = active.version if active else None
        if champion is not None and champion != noted:
            why = ["found as champion: the alias was moved by other means"]
            found = self.ledger.add("promote", champion, noted, requested_by="mlflow", reasons=why)
            self._told(self.ledger.activate(found))
        elif champion is None and active is not None:
            self.ledger.close(active, "ended", "the registry has no champion any more")
        self.registry.follow()

    def _move(
        self, action: str, version: str, reasons: Sequence[str], *, actor: str, approved_by: str | None = None
    ) -> Promotion:
        self.registry.load(version)  # a local copy that opens, before anything points to it
        champion = self.registry.version_of(CHAMPION)
        row = self.ledger.add(action, version, champion, requested_by=actor, reasons=reasons, approved_by=approved_by)
        self.registry.crown(version, champion, "; ".join(reasons))
        return self._told(self.ledger.activate(row))

    def _told(self, row: Promotion) -> Promotion:
        if self._tell is not None:
            self._tell(row)
        return row

    def _active(self) -> Promotion:
        row = self.ledger.active()
        if row is None:  # settled a moment ago: the table was changed under our feet
            raise Conflict("The ledger has lost the champion's row.", hint="Ask again.")
        return row

    @contextmanager
    def _one_at_a_time(self, expected: str | None = ANY) -> Iterator[str | None]:
        """Hold the only right to move roles, and give the champion.

        Whoever had to wait has decided on what was there before: where that has changed, they are told instead.
        """
        if expected == ANY:
            expected = self.registry.version_of(CHAMPION)
        with ExitStack() as held:
            if not self._locked(held):
                raise Conflict("Another promotion or rollback is under way.", hint="See what it did, then ask again.")
            self._settle()
            champion = self.registry.version_of(CHAMPION)
            if champion != expected:
                raise Conflict(
                    f"The champion is version {champion or 'none'} by now, not {expected or 'none'}.",
                    hint="Compare with that one, then decide again.",
                )
            yield champion

    def _locked(self, held: ExitStack) -> bool:
        """Take the lock into ``held``, waiting no longer than ``patience``; say whether that went well.

        On this machine it is a file, on Postgres, across machines, a lock of the database: both let go when their
        holder dies.
        """
        deadline = time.monotonic() + self.patience
        file = self.registry.repo.layout.models / ".promotion.lock"
        while not self._try(held, file):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _try(self, held: ExitStack, file: Path) -> bool:
        store = self.ledger.database
        with ExitStack() as mine:
            try:
                mine.enter_context(locked(file, wait=False))
            except BlockingIOError:
                return False
            if store.url.get_backend_name() == "postgresql":
                session = mine.enter_context(store.session(reading=True))  # the lock goes with its transaction
                key = int.from_bytes(hashlib.sha256(self.registry.name.encode()).digest()[:8], signed=True)
                if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
                    return False
            held.push(mine.pop_all())
        return True
