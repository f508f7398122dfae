"""A small OpenID Connect provider on a local socket: discovery, authorize, token, keys; and what attackers would like.

It checks what a provider checks: client, redirect address, PKCE, that a code is used once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.clock import epoch_seconds

CLIENT, SECRET = "punctual", "a secret that the provider gave"


@cache  # making them takes longer than most tests, and what they are does not matter
def _keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    return rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)


class Provider:
    """The provider; its attributes say what it tells next.

    Attributes
    ----------
    claims : dict
        Of who logs in; what is None is left out of the token.
    header : dict
        Of tokens, beside the algorithm.
    redirect_uri : str
        The only address that codes are sent to.
    asked : list of str
        The paths that it was asked for.
    codes : dict
        Code -> what it was given for.
    """

    def __init__(self) -> None:
        self.key, self.other_key = _keys()
        self.curve = ec.generate_private_key(ec.SECP256R1())
        self.kid = "k1"
        self.claims: dict[str, Any] = {"sub": "s-1", "email": "bo@example.org", "email_verified": True}
        self.metadata: dict[str, Any] = {}
        self.redirect_uri = ""
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.answer: dict[str, Any] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def payload(self, nonce: str, /, **changed: Any) -> dict[str, Any]:
        now = int(epoch_seconds())
        made = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.claims,
            **changed,
        }
        return {name: value for name, value in made.items() if value is not None}

    def token(
        self, nonce: str, /, *, key: Any = None, algorithm: str = "RS256", kid: str | None = "", **changed: Any
    ) -> str:
        """Return an ID token; ``changed`` claims are for attackers."""
        headers = {} if kid is None else {"kid": kid or self.kid}
        return jwt.encode(self.payload(nonce, **changed), key or self.key, algorithm, headers=headers)

    def document(self) -> dict[str, Any]:
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        found = {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in endpoints.items()}}
        return found | self.metadata

    def jwks(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        curve = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.curve.public_key()))
        return {"keys": [{**public, "kid": self.kid, "use": "sig"}, {**curve, "kid": "curve", "alg": "ES256"}]}

    def authorize(self, query: dict[str, str]) -> tuple[int, str]:
        """Return the status, and where the browser is sent to: whoever comes is logged in already."""
        wanted = {"client_id": CLIENT, "redirect_uri": self.redirect_uri, "response_type": "code"}
        if any(query.get(name) != value for name, value in wanted.items()) or "openid" not in query.get("scope", ""):
            return 400, ""
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return 303, f"{self.redirect_uri}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def exchange(self, authorization: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of the token endpoint."""
        if authorization != "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode():
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or challenge != begun["code_challenge"] or form.get("redirect_uri") != self.redirect_uri:
            return 400, {"error": "invalid_grant", "error_description": "<script>alert(1)</script>"}
        tokens = {"access_token": "unused", "token_type": "Bearer", "id_token": self.token(begun["nonce"])}
        return 200, tokens | self.answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                provider.asked.append(path)
                if path == "/authorize":
                    status, place = provider.authorize(one_each(query))
                    self.send_response(status)
                    self.send_header("location", place)
                    self.end_headers()
                    return
                found = {"/.well-known/openid-configuration": provider.document, "/jwks": provider.jwks}.get(path)
                self.say(200 if found else 404, found() if found else {})

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                self.say(*provider.exchange(self.headers.get("authorization", ""), one_each(body)))

            def say(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        return Handler


def one_each(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


def query_of(address: str) -> dict[str, str]:
    return one_each(urlsplit(address).query)
