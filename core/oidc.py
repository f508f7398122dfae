"""Identities that somebody else vouches for: ID tokens of an OpenID Connect provider, and whether they are good.

A token is good when one of the keys that the provider publishes has signed it, for us, just now, and for this log-in
(its nonce). Only signatures by key pairs are taken: ``none`` and shared secrets are not.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import jwt

from core.clock import SystemClock
from core.errors import ConfigError, ServiceUnavailable, Unauthenticated

if TYPE_CHECKING:
    from core.clock import Clock
    from core.settings import Settings

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
# Ends and beginnings are compared with our own clock below.
_OPTIONS = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
LEEWAY = 30.0  # seconds by which two clocks may differ
OLDEST = 600.0  # seconds since a token was made: it is for a log-in that goes on now
_KEPT_SECONDS = 300.0
_AGAIN_SECONDS = 10.0  # between looks for a key that we do not know, or at a provider that is away
_MOST_BYTES = 1_000_000
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class OidcClient:
    """What we are to the provider.

    Attributes
    ----------
    issuer, id : str
        The provider, and what it calls us.
    secret : str or None
        Proves that we are, where the provider gave one.
    claim : str
        What of an identity names a user here.
    create : bool
        Whether who is not a user yet becomes one.
    """

    issuer: str
    id: str
    secret: str | None
    claim: str
    create: bool


def client_of(settings: Settings) -> OidcClient | None:
    """Return what the settings say, None where they name no provider.

    Raises
    ------
    ConfigError
        When only a part is there, or the provider would be asked without TLS.
    """
    if settings.oidc_issuer is None and settings.oidc_client_id is None:
        return None
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        raise ConfigError("PUNCTUAL_OIDC_ISSUER and PUNCTUAL_OIDC_CLIENT_ID go together.")
    if not _safe(settings.oidc_issuer):
        raise ConfigError("PUNCTUAL_OIDC_ISSUER is no https address.", hint="Only one on this machine may do without.")
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    return OidcClient(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_claim, settings.oidc_create)


class Provider:
    """What a provider tells of itself, kept for a few minutes.

    Parameters
    ----------
    issuer : str
        Its address, exactly as it calls itself.
    clock : Clock, optional
        By which tokens end; by default the machine's.
    """

    def __init__(self, issuer: str, clock: Clock | None = None) -> None:
        self._issuer, self._clock = issuer, clock or SystemClock()
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, dict[str, Any]]] = {}
        self._away = float("-inf")

    def metadata(self) -> dict[str, Any]:
        """Return what it says of itself.

        Raises
        ------
        ServiceUnavailable
            When it does not answer, or calls itself otherwise.
        """
        found = self._ask(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise _strange("it calls itself otherwise")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _safe(str(found.get(name, ""))):
                raise _strange(f"its {name} is no https address")
        return found

    def verify(self, id_token: str, client_id: str, nonce: str) -> dict[str, Any]:
        """Return what a token says of somebody.

        Raises
        ------
        Unauthenticated
            When it is not good; it does not say why.
        ServiceUnavailable
            When the provider does not tell its keys.
        """
        try:
            header = jwt.get_unverified_header(id_token)
            algorithm = header.get("alg")
            if algorithm not in _ALGORITHMS:
                raise refused()
            claims: dict[str, Any] = jwt.decode(
                id_token,
                self._key(header.get("kid"), algorithm),
                algorithms=[algorithm],
                audience=client_id,
                issuer=self._issuer,
                options=_OPTIONS,  # type: ignore[arg-type]  # a TypedDict there
            )
            now, audience = self._clock.now().timestamp(), claims["aud"]
            good = (
                float(claims["exp"]) + LEEWAY > now
                and -LEEWAY <= now - float(claims["iat"]) <= OLDEST
                and float(claims.get("nbf", 0)) - LEEWAY <= now
                and compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode())
                and bool(nonce and claims["sub"])
            )
            shared = isinstance(audience, list) and len(audience) > 1
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise refused() from error
        # Made for several, it must have been given to us; and to nobody else, whoever it was made for.
        if not good or claims.get("azp", None if shared else client_id) != client_id:
            raise refused()
        return claims

    def _key(self, kid: str | None, algorithm: str) -> Any:
        address = str(self.metadata()["jwks_uri"])
        key = _fitting(self._ask(address), kid, algorithm)
        if key is None:  # perhaps there is a new one
            key = _fitting(self._ask(address, older_than=_AGAIN_SECONDS), kid, algorithm)
        if key is None:
            raise refused()
        return key

    def _ask(self, address: str, older_than: float = _KEPT_SECONDS) -> dict[str, Any]:
        """Return a document of the provider's; one asks, the others wait for what it gets."""
        with self._lock:
            at, told = self._told.get(address, (float("-inf"), {}))
            now = time.monotonic()
            if now - at < older_than:
                return told
            if now - self._away < _AGAIN_SECONDS:
                raise _strange("it does not answer")
            try:
                told = _read(address)
            except (httpx.HTTPError, ValueError) as error:
                self._away = now
                raise _strange(f"it does not answer as it should ({type(error).__name__})") from error
            self._told[address] = (now, told)
            return told


def refused() -> Unauthenticated:
    """Return the one error of identities that do not log anybody in: it does not say why."""
    return Unauthenticated("That identity logs nobody in here.", hint="Ask an administrator.")


def _fitting(document: dict[str, Any], kid: str | None, algorithm: str) -> Any:
    keys = document.get("keys")
    found = []
    for one in keys if isinstance(keys, list) else []:
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig":
            continue
        if one.get("alg", algorithm) == algorithm and (kid is None or one.get("kid") == kid):
            found.append(one)
    # Without a number there must be no choice.
    return jwt.PyJWK(found[0], algorithm).key if len(found) == 1 else None


def _read(address: str) -> dict[str, Any]:
    body = b""
    with httpx.stream("GET", address, timeout=5.0, follow_redirects=False) as answer:
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"status {answer.status_code}")
        for part in answer.iter_bytes():
            body += part
            if len(body) > _MOST_BYTES:
                raise ValueError("too long")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _safe(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL))


def _strange(why: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"The OIDC provider cannot be used: {why}.", hint="See PUNCTUAL_OIDC_ISSUER.")
