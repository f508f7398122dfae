"""Tells people what has happened: a signed webhook, a mail. What cannot be told is logged, and fails nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpx
import stamina

from core.errors import ConfigError
from core.masks import mask, mask_text

if TYPE_CHECKING:
    from core.settings import Settings

log = logging.getLogger("punctual.notify")

SIGNATURE = "x-punctual-signature"
_ATTEMPTS = 4
_PATIENCE = 60.0
_TIMEOUT = 10.0
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Message:
    """What to tell.

    Attributes
    ----------
    event : str
        What has happened, for programs: ``flow.done``, ``flow.failed``, ``flow.cancelled``,
        ``monitoring.drift``, ``monitoring.alarm``, ``monitoring.retraining``, ``monitoring.promotion``,
        ``monitoring.rollback``, ``training.promotion``, ``training.rollback``.
    subject, text : str
        For people.
    facts : dict
        Plain data.
    """

    event: str
    subject: str
    text: str
    facts: dict[str, Any]


class Notifier:
    """Sends messages as the settings say.

    Parameters
    ----------
    settings : Settings
        Webhook, secret, mail server, sender and recipients.
    pause : float
        Seconds before the second attempt; later ones wait longer, up to a minute in all.

    Raises
    ------
    ConfigError
        When the webhook or the mail server is no URL of the right kind, or nobody is to get the mails.
    """

    def __init__(self, settings: Settings, *, pause: float = 1.0) -> None:
        self._pause = pause
        self._from, self._to = settings.notify_from, settings.notify_to
        self._secret = settings.notify_secret.get_secret_value() if settings.notify_secret else None
        self._webhook, self._slack = settings.notify_webhook, settings.notify_format == "slack"
        if self._webhook and not _is_web(self._webhook):
            raise ConfigError("PUNCTUAL_NOTIFY_WEBHOOK is no http(s) URL.")
        self._smtp = _server(settings.notify_smtp.get_secret_value()) if settings.notify_smtp else None
        if self._smtp and not self._to:
            raise ConfigError("PUNCTUAL_NOTIFY_SMTP is set, and PUNCTUAL_NOTIFY_TO names nobody.")

    def send(self, message: Message) -> dict[str, str]:
        """Send a message every configured way; return way -> ``sent`` or why not. Never raises for what is away."""
        outcomes: dict[str, str] = {}
        if self._webhook:
            outcomes["webhook"] = self._tried("webhook", lambda: self._post(message), _passes)
        if self._smtp:
            outcomes["mail"] = self._tried("mail", lambda: self._mail(message), _mail_passes)
        return outcomes

    @property
    def can_mail(self) -> bool:
        """Whether a mail server is configured."""
        return self._smtp is not None

    def mail_to(self, address: str, subject: str, text: str) -> str:
        """Mail a text to one person, as it is: it may hold what is for their eyes alone; return ``sent`` or why not."""
        return self._tried("mail", lambda: self._deliver(address, subject, text), _mail_passes)

    def _tried(self, way: str, send: Callable[[], None], passes: Callable[[Exception], bool]) -> str:
        try:
            for attempt in stamina.retry_context(
                on=passes, attempts=_ATTEMPTS, timeout=_PATIENCE, wait_initial=self._pause, wait_max=20.0
            ):
                with attempt:
                    send()
        except (httpx.HTTPError, smtplib.SMTPException, OSError) as error:
            reason = mask_text(f"{type(error).__name__}: {error}")
            log.warning("a notification could not be sent", extra={"way": way, "detail": reason})
            return f"failed: {reason}"
        return "sent"

    def _post(self, message: Message) -> None:
        content = _for_slack(message) if self._slack else {**asdict(message), "facts": mask(message.facts)}
        body = json.dumps(content, default=str).encode()
        headers = {"content-type": "application/json", "user-agent": "punctual"}
        if self._secret:
            headers[SIGNATURE] = f"sha256={signature(self._secret, body)}"
        httpx.post(str(self._webhook), content=body, headers=headers, timeout=_TIMEOUT).raise_for_status()

    def _mail(self, message: Message) -> None:
        facts = json.dumps(mask(message.facts), indent=2, default=str)
        self._deliver(", ".join(self._to), message.subject, f"{mask_text(message.text)}\n\n{facts}\n")

    def _deliver(self, to: str, subject: str, text: str) -> None:
        server = self._smtp
        if server is None:
            return
        mail = EmailMessage()
        mail["From"], mail["To"] = self._from, to
        # A header is one line, whatever a source or a model was called.
        mail["Subject"] = " ".join(subject.split())
        mail.set_content(text)
        context = ssl.create_default_context()
        if server.tls:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT, context=context)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT)
        with connection:
            connection.ehlo()
            if not server.tls and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
            elif not server.tls and server.user and server.host not in _LOCAL:
                raise smtplib.SMTPNotSupportedError("the server offers no TLS, and a password is not sent without it")
            if server.user:
                connection.login(server.user, server.password)
            connection.send_message(mail)


def _for_slack(message: Message) -> dict[str, str]:
    """Return what an incoming webhook of Slack, Mattermost or Rocket.Chat takes: the words, as plain text.

    ``&``, ``<`` and ``>`` are escaped as Slack asks, so that no value in them can call out a channel or forge a link.
    """
    text = mask_text(f"*{' '.join(message.subject.split())}*\n{message.text}")
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def signature(secret: str, body: bytes) -> str:
    """Return what ``X-Punctual-Signature: sha256=…`` holds: HMAC-SHA256 of the body, hexadecimal."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    tls: bool
    user: str
    password: str


def _server(url: str) -> _Server:
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ConfigError("PUNCTUAL_NOTIFY_SMTP is no smtp:// or smtps:// URL.")
    tls = parts.scheme == "smtps"
    return _Server(
        parts.hostname,
        parts.port or (465 if tls else 25),
        tls,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def _is_web(url: str) -> bool:
    """Whether a URL can be posted to: what cannot is told at the start, not once something has happened."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)


def _passes(error: Exception) -> bool:
    """Whether a webhook's failure may be gone on another try."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == httpx.codes.TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError)


def _mail_passes(error: Exception) -> bool:
    """Whether a mail's failure may be gone on another try: the server says so, or was not there."""
    if isinstance(error, ssl.SSLError | smtplib.SMTPAuthenticationError | smtplib.SMTPNotSupportedError):
        return False
    if isinstance(error, smtplib.SMTPResponseException):
        return 400 <= error.smtp_code < 500
    return isinstance(error, OSError)
