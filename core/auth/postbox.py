"""Mails links for new passwords, beside the requests that ask for them.

Who asks is answered before anything is looked up: neither words nor time tell whether there is such an account.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from core.errors import PunctualError
from core.notify import Notifier

if TYPE_CHECKING:
    from core.auth.accounts import Accounts
    from core.settings import Settings

log = logging.getLogger("punctual.postbox")

_MOST = 100  # that wait; a flood of them is no reason to grow


class Postbox:
    """Takes in who asks for a link, and sees to it in a thread of its own.

    Parameters
    ----------
    settings : Settings
        The mail server and the sender.

    Raises
    ------
    ConfigError
        When the mail server is no address.
    """

    def __init__(self, settings: Settings) -> None:
        self._notifier = Notifier(settings)
        self._waiting: queue.Queue[tuple[Accounts, str, str]] = queue.Queue(_MOST)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, accounts: Accounts, typed: str, address: str) -> None:
        """Take in who asks; with too many waiting, they have to ask again."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="postbox", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((accounts, typed, address))
        except queue.Full:
            log.warning("too many ask for links at once", extra={"address": address})

    def wait(self) -> None:
        """Return when everybody who asked was seen to."""
        self._waiting.join()

    def _serve(self) -> None:
        while True:
            accounts, typed, address = self._waiting.get()
            try:
                letter = accounts.resets.ask(typed, address, mailed=self._notifier.can_mail)
                if letter is not None:
                    self._notifier.mail_to(letter.to, letter.subject, letter.text)
            except (PunctualError, SQLAlchemyError):
                log.exception("a link could not be mailed")
            finally:
                self._waiting.task_done()
