"""Who asks, and may they: five kinds of credentials and an OAuth token endpoint that rotates.

Static credentials may read everything: `Authorization: Bearer sandbox-key`, `X-Api-Key:
sandbox-key`, basic `sandbox:sandbox-key`, `?api_key=sandbox-key`. OAuth access tokens live
briefly and may read the streams of their scope. Every refresh gives a new refresh token; the one
that was used is refused from then on (RFC 6749 sections 4.4, 5.2 and 6).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tap_saas.sandbox.refusal import RefusalError

USER, KEY = "sandbox", "sandbox-key"
CLIENT = ("sandbox", "sandbox-secret")
SCOPES = ("customers", "orders", "events", "oddities")
KEPT = 10_000
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Grant(NamedTuple):
    """What a token allows, and until when on the monotonic clock."""

    scopes: frozenset[str]
    ends: float


class OAuthError(Exception):
    """An error answer of the token endpoint (RFC 6749 section 5.2)."""

    def __init__(self, code: str, why: str, status: int = 400) -> None:
        self.code = code
        self.why = why
        self.status = status
        super().__init__(why)

    def response(self) -> Response:
        """The HTTP answer."""
        headers = dict(NO_STORE)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="sandbox"'
        body = {"error": self.code, "error_description": self.why}
        return JSONResponse(body, self.status, headers=headers)


class Auth:
    """Static credentials and the tokens that were given; the latest 10,000 are remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._access: OrderedDict[str, Grant] = OrderedDict()
        self._refresh: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._spent: OrderedDict[str, None] = OrderedDict()
        self.expires_in_s = 30
        self.refresh_reuse = 0

    def admit(self, request: Request, scope: str) -> None:
        """Refuse with 401 who is unknown, and with 403 who may not read `scope`."""
        if scope not in self._scopes(request):
            raise RefusalError(403, "insufficient_scope", f"the token may not read {scope}")

    def first_refresh_token(self, scope: str | None = None) -> str:
        """A refresh token as a user's consent would have given it."""
        return self._new_refresh(self._asked(scope, frozenset(SCOPES)))

    def token(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer `POST /oauth/token`; the body is a form or a JSON object."""
        try:
            form = _form(body)
            _check_client(headers, form)
            grant = form.get("grant_type")
            if grant == "client_credentials":
                return self._give(self._asked(form.get("scope"), frozenset(SCOPES)), None)
            if grant == "refresh_token":
                return self._rotate(form)
            raise OAuthError("unsupported_grant_type", "client_credentials or refresh_token")
        except OAuthError as refusal:
            return refusal.response()

    def _rotate(self, form: Mapping[str, str]) -> Response:
        old = form.get("refresh_token", "")
        if old in self._spent:
            self.refresh_reuse += 1
            raise OAuthError("invalid_grant", "the refresh token was used before")
        if old not in self._refresh:
            raise OAuthError("invalid_grant", "the refresh token is unknown")
        held = self._refresh[old]
        asked = self._asked(form.get("scope"), held)
        del self._refresh[old]
        self._spent[old] = None
        _forget_oldest(self._spent)
        return self._give(asked, self._new_refresh(held))

    def _give(self, scopes: frozenset[str], refresh: str | None) -> Response:
        access = "at_" + secrets.token_urlsafe(18)
        self._access[access] = Grant(scopes, self._clock() + self.expires_in_s)
        _forget_oldest(self._access)
        answer: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.expires_in_s,
            "scope": " ".join(sorted(scopes)),
        }
        if refresh is not None:
            answer["refresh_token"] = refresh
        return JSONResponse(answer, headers=NO_STORE)

    def _new_refresh(self, scopes: frozenset[str]) -> str:
        refresh = "rt_" + secrets.token_urlsafe(18)
        self._refresh[refresh] = scopes
        _forget_oldest(self._refresh)
        return refresh

    def _asked(self, scope: str | None, held: frozenset[str]) -> frozenset[str]:
        asked = frozenset(scope.split()) if scope else held
        if not asked <= held:
            raise OAuthError("invalid_scope", f"at most: {' '.join(sorted(held))}")
        return asked

    def _scopes(self, request: Request) -> frozenset[str]:
        everything = frozenset(SCOPES)
        header = request.headers.get("authorization")
        if header is not None:
            kind, _, value = header.partition(" ")
            if kind.lower() == "basic":
                if _basic(value) == (USER, KEY):
                    return everything
                raise _unknown("wrong user or password")
            if kind.lower() != "bearer":
                raise _unknown("not Bearer or Basic")
            return everything if value == KEY else self._granted(value)
        key = request.headers.get("x-api-key", request.query_params.get("api_key"))
        if key == KEY:
            return everything
        raise _unknown("no credentials" if key is None else "wrong key")

    def _granted(self, token: str) -> frozenset[str]:
        grant = self._access.get(token)
        if grant is None:
            raise _unknown("unknown token")
        if grant.ends <= self._clock():
            raise _unknown("the token has expired")
        return grant.scopes


def _unknown(why: str) -> RefusalError:
    headers = {"WWW-Authenticate": 'Bearer realm="sandbox", error="invalid_token"'}
    return RefusalError(401, "invalid_token", why, headers)


def _form(body: bytes) -> dict[str, str]:
    if body.lstrip().startswith(b"{"):
        try:
            members = json.loads(body)
        except ValueError as error:
            raise OAuthError("invalid_request", "the body is not JSON") from error
        return {str(name): str(value) for name, value in members.items()}
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=bool(body)))
    except ValueError as error:
        raise OAuthError("invalid_request", "the body is not a form") from error


def _check_client(headers: Mapping[str, str], form: Mapping[str, str]) -> None:
    kind, _, value = headers.get("authorization", "").partition(" ")
    basic = kind.lower() == "basic"
    client = _basic(value) if basic else (form.get("client_id"), form.get("client_secret"))
    if client != CLIENT:
        raise OAuthError("invalid_client", "wrong client or secret", 401)


def _basic(value: str) -> tuple[str, str] | None:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return user, password


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > KEPT:
        kept.popitem(last=False)
