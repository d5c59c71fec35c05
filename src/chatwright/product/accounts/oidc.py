"""Signing in elsewhere: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636), nonce and state.

Discovery, the exchange and the keys are asked of the one issuer that the operator named; nothing here follows
a redirect or an address that somebody else wrote. Signatures and claims are checked by joserfc.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key. Never "none", and never one with a secret that others may know."""
LEEWAY_SECONDS = 120
"""By which the provider's clock may differ from ours."""
KNOWN_SECONDS = 3_600.0
"""How long what the provider says of itself is believed before it is asked again."""
LARGEST = 1_000_000
PATIENCE_SECONDS = 10.0


class OidcError(Exception):
    """The provider did not say, in a way that can be believed, who this is."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What the browser keeps while it is at the provider's."""

    state: str
    nonce: str
    verifier: str

    @staticmethod
    def new() -> Begun:
        return Begun(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Provider:
    """One issuer, and this installation as its client. Without a secret it is a public client, held by PKCE alone."""

    def __init__(
        self, issuer: str, client_id: str, secret: str = "", clock: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        self.issuer, self.client_id, self._secret, self._clock = issuer, client_id, secret, clock
        self._about: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._asked = 0.0

    async def authorization_url(self, begun: Begun, back: str) -> str:
        about = await self._known()
        asked = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": back, "scope": "openid email profile",
            "state": begun.state, "nonce": begun.nonce, "code_challenge": begun.challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        at = about["authorization_endpoint"]
        return f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(asked)}"

    async def identity(self, code: str, begun: Begun, back: str) -> dict[str, Any]:
        """The claims of the person who comes back with `code`; raises OidcError."""
        about = await self._known()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": begun.verifier}
        auth = None
        if self._secret and "client_secret_basic" in about.get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        ):
            auth = httpx.BasicAuth(_form_quoted(self.client_id), _form_quoted(self._secret))
        else:
            form |= {"client_id": self.client_id} | ({"client_secret": self._secret} if self._secret else {})
        answer = await self._json("POST", about["token_endpoint"], data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("the provider gave no identity token")
        return await self._claims(token, begun.nonce)

    async def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        try:
            claims = self._decoded(token)
        except JoseError:  # its keys may have changed since they were read
            self._keys = None
            await self._known()
            try:
                claims = self._decoded(token)
            except JoseError as error:
                raise OidcError(f"the identity token is not signed as it should be ({error})") from None
        required: dict[str, Any] = {
            "iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": self.client_id},
            "nonce": {"essential": True, "value": nonce}, "sub": {"essential": True}, "exp": {"essential": True},
            "iat": {"essential": True},
        }  # fmt: skip
        try:
            jwt.JWTClaimsRegistry(now=int(self._clock()), leeway=LEEWAY_SECONDS, **required).validate(claims)
        except JoseError as error:
            raise OidcError(f"the identity token is not for this sign-in ({error})") from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.client_id) != self.client_id:
            raise OidcError("the identity token was made for another client")
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
            raise OidcError("the identity token names nobody")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        assert self._keys is not None
        offered = self._about.get("id_token_signing_alg_values_supported") or ["RS256"]
        allowed = [name for name in ALGORITHMS if name in offered]
        try:
            return dict(jwt.decode(token, self._keys, algorithms=allowed).claims)
        except ValueError as error:
            raise OidcError("the identity token cannot be read") from error

    async def _known(self) -> Mapping[str, Any]:
        """What the provider says of itself, with its keys."""
        if self._keys is not None and self._clock() - self._asked < KNOWN_SECONDS:
            return self._about
        about = await self._json("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != self.issuer:
            raise OidcError("the provider calls itself by another name")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _as_safe_as(str(about.get(name)), self.issuer):
                raise OidcError(f"the provider's {name} is no safe address")
        try:
            keys = KeySet.import_key_set(await self._json("GET", about["jwks_uri"]))  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcError(f"the provider's keys cannot be read ({type(error).__name__})") from None
        self._about, self._keys, self._asked = about, keys, self._clock()
        return about

    async def _json(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        try:
            async with (
                httpx.AsyncClient(timeout=PATIENCE_SECONDS, follow_redirects=False, trust_env=False) as client,
                client.stream(method, url, headers=headers, **more) as answer,
            ):
                content = b""
                async for block in answer.aiter_bytes():
                    content += block
                    if len(content) > LARGEST:
                        raise OidcError("the provider says too much")
        except httpx.HTTPError as error:
            raise OidcError(f"the provider does not answer ({type(error).__name__})") from None
        if answer.status_code != 200:
            raise OidcError(f"the provider answers with status {answer.status_code}")
        return _parsed(content)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OidcError("the provider does not answer in JSON")
    return value


def _as_safe_as(url: str, issuer: str) -> bool:
    """Encrypted, unless the issuer itself is on this machine."""
    try:
        one, other = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    if one.scheme == "https" and one.hostname:
        return True
    return one.scheme == other.scheme == "http" and one.hostname == other.hostname


def _form_quoted(text: str) -> str:
    """RFC 6749, 2.3.1: as in a form, before it is joined with a colon."""
    return urlencode({"": text})[1:]
