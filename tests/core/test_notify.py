"""Notifications, against a real HTTP server and a real mail server."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Mail
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from core.errors import ConfigError
from core.notify import SIGNATURE, Message, Notifier, signature
from core.settings import Settings
from tests.conftest import free_port

MESSAGE = Message(
    "flow.done", "punctual: flow done\r\nBcc: all@example.org", "It went well.", {"api_key": "s3cret", "n": 1}
)


class Inbox:
    """What a mail server received, and how often it is to say that it is busy."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.busy = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.busy:
            self.busy -= 1
            return "451 try again"
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 taken"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    handler = Inbox()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


def notifier(**settings: Any) -> Notifier:
    return Notifier(Settings(**settings), pause=0.01)


def test_a_webhook_is_signed_and_tells_no_secret(hook):
    seen, url = hook
    assert notifier(notify_webhook=url, notify_secret="key").send(MESSAGE) == {"webhook": "sent"}
    ((headers, body),) = seen.got
    assert headers[SIGNATURE] == f"sha256={signature('key', body)}"
    assert signature("key", body) != signature("other", body)
    assert json.loads(body)["facts"] == {"api_key": "***", "n": 1}
    assert json.loads(body)["event"] == "flow.done"


def test_without_a_secret_there_is_no_signature(hook):
    seen, url = hook
    notifier(notify_webhook=url).send(MESSAGE)
    assert SIGNATURE not in seen.got[0][0]


def test_a_receiver_that_is_busy_is_asked_again_and_one_that_refuses_is_not(hook):
    seen, url = hook
    seen.answers = [503, 429, 200]
    assert notifier(notify_webhook=url).send(MESSAGE) == {"webhook": "sent"}
    assert len(seen.got) == 3
    seen.answers = [404]
    assert "404" in notifier(notify_webhook=url).send(MESSAGE)["webhook"]
    assert len(seen.got) == 4


def test_nobody_there_is_said_and_fails_nothing():
    nobody = f"127.0.0.1:{free_port()}"
    outcome = notifier(
        notify_webhook=f"http://u:hunter2@{nobody}/", notify_smtp=f"smtp://u:hunter2@{nobody}", notify_to=["a@b.c"]
    ).send(MESSAGE)
    assert set(outcome) == {"webhook", "mail"}
    assert all(words.startswith("failed: ") and "hunter2" not in words for words in outcome.values())


def test_a_mail_arrives_and_its_subject_is_one_line(inbox):
    handler, port = inbox
    handler.busy = 1
    sent = notifier(notify_smtp=f"smtp://127.0.0.1:{port}", notify_from="p@x.org", notify_to=["a@x.org", "b@x.org"])
    assert sent.send(MESSAGE) == {"mail": "sent"}
    (mail,) = handler.mails
    assert (mail["From"], mail["To"], mail["Bcc"]) == ("p@x.org", "a@x.org, b@x.org", None)
    assert mail["Subject"] == "punctual: flow done Bcc: all@example.org"
    assert "It went well." in mail.get_payload()
    assert "s3cret" not in mail.get_payload()


@pytest.fixture
def certificate(tmp_path, monkeypatch) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that this process trusts."""
    import subprocess

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 1 -subj /CN=127.0.0.1 "
        "-addext subjectAltName=IP:127.0.0.1".split(),
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_a_password_goes_through_starttls_only(certificate, password):
    handler = Inbox()

    def login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data.password == b"right", handled=False)

    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=certificate,
        require_starttls=True,
        authenticator=login,
        auth_required=True,
    )
    controller.start()
    try:
        outcome = notifier(notify_smtp=f"smtp://anna:{password}@127.0.0.1:{controller.port}", notify_to=["a@x.org"])
        said = outcome.send(MESSAGE)["mail"]
    finally:
        controller.stop()
    assert said == "sent" if password == "right" else said.startswith("failed: SMTPAuthenticationError")
    assert len(handler.mails) == (password == "right")


def test_tls_from_the_start(certificate):
    handler = Inbox()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), ssl_context=certificate)
    controller.start()
    try:
        url = f"smtps://127.0.0.1:{controller.port}"
        assert notifier(notify_smtp=url, notify_to=["a@x.org"]).send(MESSAGE) == {"mail": "sent"}
    finally:
        controller.stop()
    assert len(handler.mails) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"notify_webhook": "ftp://x"},
        {"notify_smtp": "http://x", "notify_to": ["a@x.org"]},
        {"notify_smtp": "smtp://127.0.0.1"},
    ],
)
def test_settings_that_cannot_be_used(settings):
    with pytest.raises(ConfigError):
        notifier(**settings)


def test_no_way_configured_sends_nothing():
    assert notifier().send(MESSAGE) == {}


def test_slack_gets_words_that_can_neither_call_a_channel_nor_forge_a_link(hook):
    seen, url = hook
    told = Message("monitoring.drift", "punctual: drift\n<!channel>", "carrier <https://evil|B6> & more", {"n": 1})
    assert notifier(notify_webhook=url, notify_format="slack").send(told) == {"webhook": "sent"}
    content = json.loads(seen.got[0][1])
    assert content == {
        "text": "*punctual: drift &lt;!channel&gt;*\ncarrier &lt;https://evil|B6&gt; &amp; more",
    }
