"""How a request proves who asks: `auth:` of a connector, one class a `type`."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from urllib.parse import quote_plus, unquote_plus

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Body, Request, Response, written
from tap_saas.connector.template import Template, Tree
from tap_saas.connector.token import Token
from tap_saas.connector.units import Duration
from tap_saas.errors import ConfigError, CredentialError

EARLIEST = timedelta(seconds=60)
LONGEST_LIFE = timedelta(days=36_500)


class Scheme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all types of `auth`: pure, what changes (a token) is in `values`."""

    @property
    def names(self) -> frozenset[str]:
        """The placeholders that this scheme needs."""
        return frozenset()

    @property
    def proofs(self) -> frozenset[str]:
        """Those of them that prove who asks."""
        return self.names

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        """The request with its credentials; unchanged where their placeholders have no value.

        Raises:
            CredentialError: A value that no header can carry (a line break, most often).
        """
        return request


class NoAuth(Scheme, frozen=True, kw_only=True, tag="none"):
    """`{type: none}`: an open API."""


class Bearer(Scheme, frozen=True, kw_only=True, tag="bearer"):
    """`{type: bearer, token: "{api_key}"}`: the header `Authorization: Bearer TOKEN` (RFC 6750).

    token: the token
    """

    token: Template

    @property
    def names(self) -> frozenset[str]:
        return self.token.names

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        token = self.token.fill(values)
        if token is UNSET:
            return request
        return request.with_header("Authorization", f"Bearer {_header_text(token, self.names)}")


class Basic(Scheme, frozen=True, kw_only=True, tag="basic"):
    """`{type: basic, user: "{email}", password: "{key}"}`: user and password (RFC 7617, UTF-8).

    user: the user, for some APIs the key
    password: the password, empty unless said
    """

    user: Template
    password: Template | None = None

    @property
    def names(self) -> frozenset[str]:
        return self.user.names | (self.password.names if self.password else frozenset())

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        pair = [UNSET if part is None else part.fill(values) for part in (self.user, self.password)]
        if all(part is UNSET for part in pair):
            return request
        text = ":".join("" if part is UNSET else str(part) for part in pair)
        return request.with_header("Authorization", _basic(text))


class Key(Scheme, frozen=True, kw_only=True, tag="key"):
    """`{type: key, send: header:X-Api-Key, value: "{api_key}"}`: a key in a place of its own.

    send: where to, header:NAME, param:NAME or cookie:NAME
    value: the key
    """

    send: str
    value: Template

    def __post_init__(self) -> None:
        kind, _, name = self.send.partition(":")
        if kind not in {"header", "param", "cookie"} or not name:
            raise ValueError("`send` must be header:NAME, param:NAME or cookie:NAME")

    @property
    def names(self) -> frozenset[str]:
        return self.value.names

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        value = self.value.fill(values)
        if value is UNSET or value is None:
            return request
        kind, _, name = self.send.partition(":")
        if kind == "param":
            link = _without_param(request.url, name)
            return msgspec.structs.replace(request, url=link).with_param(name, value)
        text = _header_text(value, self.names)
        if kind == "header":
            return request.with_header(name, text)
        cookies = [old for key, old in request.headers if key.lower() == "cookie"]
        return request.with_header("Cookie", "; ".join([*cookies, f"{name}={text}"]))


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{id: "{client_id}", secret: "{client_secret}"}`: who asks for a token.

    id: the client's id
    secret: the client's secret
    send: how both are sent, in a Basic header or in the body
    """

    id: Template
    secret: Template | None = None
    send: Literal["basic", "body"] = "basic"

    @property
    def names(self) -> frozenset[str]:
        """The placeholders of both."""
        return self.id.names | (self.secret.names if self.secret else frozenset())


class OAuth2(Scheme, frozen=True, kw_only=True, tag="oauth2"):
    """`{type: oauth2, grant: client_credentials, token_url: ..., client: {id, secret}}` (RFC 6749).

    grant: client_credentials or refresh_token
    token_url: where tokens are given
    client: who asks for a token
    scope: what the token may do
    extra: further members of the form
    refresh_token: the first refresh token; where the API rotates it, the newest is kept in `home`
    early: how long before its end a token is renewed, 60 s or a tenth of its life unless said
    """

    grant: Literal["client_credentials", "refresh_token"]
    token_url: Template
    client: OAuthClient
    scope: Template | None = None
    extra: Tree | None = None
    refresh_token: Template | None = None
    early: Duration | None = None

    def __post_init__(self) -> None:
        if self.grant == "refresh_token" and self.refresh_token is None:
            raise ValueError("`grant: refresh_token` needs `refresh_token`")
        if self.grant == "client_credentials" and self.refresh_token is not None:
            raise ValueError("`refresh_token` goes with `grant: refresh_token` only")

    @property
    def names(self) -> frozenset[str]:
        return self.token_url.names | self.proofs

    @property
    def proofs(self) -> frozenset[str]:
        parts = (self.client, self.scope, self.extra, self.refresh_token)
        return frozenset().union(*(part.names for part in parts if part is not None))

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        token = values["token"]["access_token"]
        return request.with_header("Authorization", f"Bearer {_header_text(token, self.names)}")

    def chain(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """What makes two token chains different: a newly configured refresh token begins one."""
        parts = (self.token_url, self.client.id, self.client.secret, self.scope, self.refresh_token)
        texts = (None if part is None else part.fill(values) for part in parts)
        return (self.grant, *(str(text) for text in texts))

    def token_request(self, values: Mapping[str, Any], refresh_token: str | None = None) -> Request:
        """The form POST that asks for a token (RFC 6749 sections 2.3.1, 4.4.2 and 6).

        `refresh_token` is the newest of the chain, None for the configured one.
        """
        form: dict[str, Any] = {"grant_type": self.grant}
        if self.refresh_token is not None:
            form["refresh_token"] = refresh_token or self._required(self.refresh_token, values)
        scope = UNSET if self.scope is None else self.scope.fill(values)
        if scope is not UNSET:
            form["scope"] = scope
        extra = UNSET if self.extra is None else self.extra.fill(values)
        form |= extra if isinstance(extra, dict) else {}
        headers = [("Accept", "application/json")]
        client_id = self._required(self.client.id, values)
        secret = "" if self.client.secret is None else self._required(self.client.secret, values)
        if self.client.send == "basic" and secret:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            headers.append(("Authorization", _basic(pair)))
        else:
            form |= {"client_id": client_id} | ({"client_secret": secret} if secret else {})
        return Request(
            method="POST",
            url=self._required(self.token_url, values),
            headers=tuple(headers),
            body=Body(kind="form", value=form),
        )

    def read_token(self, response: Response, now: datetime, spent: str | None = None) -> Token:
        """The token in an answer; `spent` is kept as refresh token where the answer has none.

        Raises:
            CredentialError: The API refuses, by its status or by `error` in the body.
            ValueError: A body that is no token answer.
        """
        answer = _json_object(response)
        if response.status >= 400 or "error" in answer:
            raise CredentialError(
                f"no access token: {_refusal(response.status, answer)}",
                do=check_settings(self._blamed(answer.get("error")) or self.proofs),
                status=response.status,
                request_id=response.request_id,
            )
        access_token = answer.get("access_token")
        if not isinstance(access_token, str) or not access_token:
            raise ValueError("the answer of the token endpoint has no access_token")
        try:
            json.dumps(answer, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise ValueError("the answer of the token endpoint cannot be kept") from None
        life = _life(answer.get("expires_in"))
        new = answer.get("refresh_token")
        return Token(
            access_token=access_token,
            obtained_at=now,
            expires_at=None if life is None else now + min(life, LONGEST_LIFE),
            refresh_token=new if isinstance(new, str) and new else spent,
            answer=answer,
        )

    def _blamed(self, error: Any) -> frozenset[str]:
        """The placeholders that a refusal is about (RFC 6749 section 5.2), empty if it is open."""
        parts = {"client": self.client, "grant": self.refresh_token, "scope": self.scope}
        part = parts.get(str(error).rpartition("_")[2])
        return frozenset() if part is None else part.names

    def is_due(self, token: Token, now: datetime) -> bool:
        """True once the token should be renewed; it is used for at least half of its life."""
        if token.expires_at is None:
            return False
        tenth = (token.expires_at - token.obtained_at) / 10
        early = min(EARLIEST, tenth) if self.early is None else min(self.early, 5 * tenth)
        return now >= token.expires_at - early

    def _required(self, template: Template, values: Mapping[str, Any]) -> str:
        value = template.fill(values)
        if value is UNSET or value is None or value == "":
            raise CredentialError(
                "no access token: a setting is empty", do=check_settings(template.names)
            )
        return str(value)


class Select(Scheme, frozen=True, kw_only=True, tag="select"):
    """`{type: select, by: login, of: {key: {type: bearer, ...}, oauth: {type: oauth2, ...}}}`.

    by: the setting that selects
    of: its values, and the type of auth for each
    """

    by: str
    of: dict[str, Auth | list[Auth]]

    @property
    def names(self) -> frozenset[str]:
        branches = (member for branch in self.of.values() for member in _listed(branch))
        return frozenset({self.by}).union(*(member.names for member in branches))

    def chosen(self, values: Mapping[str, Any]) -> list[Auth]:
        """The branch that the setting names.

        Raises:
            ConfigError: The setting has none of the values in `of`.
        """
        branch = self.of.get(written(values.get(self.by)))
        if branch is None:
            known = ", ".join(sorted(self.of))
            raise ConfigError(
                f"the setting {self.by} selects how to log in", do=f"set it to one of {known}"
            )
        return _listed(branch)

    def sign(self, request: Request, values: Mapping[str, Any]) -> Request:
        for member in self.chosen(values):
            request = member.sign(request, values)
        return request


Auth: TypeAlias = NoAuth | Bearer | Basic | Key | OAuth2 | Select


def resolve(auth: Sequence[Auth], values: Mapping[str, Any]) -> list[Auth]:
    """The schemes to apply, in order, with every `select` replaced by the branch that is taken."""
    schemes: list[Auth] = []
    for member in auth:
        if isinstance(member, Select):
            schemes += resolve(member.chosen(values), values)
        elif not isinstance(member, NoAuth):
            schemes.append(member)
    return schemes


def check_settings(names: Iterable[str]) -> str:
    """What a user can do about a refused credential: `check the settings a and b`."""
    known = sorted(set(names) - {"token"})
    if not known:
        return "check `auth` of the connector"
    listed = " and ".join([", ".join(known[:-1]), known[-1]] if known[:-1] else known)
    return f"check the setting{'s' if known[:-1] else ''} {listed}"


def _listed(branch: Auth | list[Auth]) -> list[Auth]:
    return branch if isinstance(branch, list) else [branch]


def _without_param(url: str, name: str) -> str:
    """The URL without this parameter; the rest of a link stays as the API wrote it."""
    address, mark, query = url.partition("?")
    kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != name]
    return f"{address}{mark if kept else ''}{'&'.join(kept)}"


def _basic(pair: str) -> str:
    return f"Basic {b64encode(pair.encode()).decode()}"


def _header_text(value: object, names: Iterable[str]) -> str:
    """The value as text that a header can carry (RFC 9110 section 5.5, visible Latin letters)."""
    text = str(value)
    if text != text.strip() or not all(
        " " <= letter <= "~" or "\xa0" < letter <= "\xff" for letter in text
    ):
        raise CredentialError(
            "a credential holds a line break, an outer space or a letter that no header can carry",
            do=check_settings(names),
        )
    return text


def _json_object(response: Response) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where a refusal has some other body."""
    try:
        answer = response.document.value
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    if response.status >= 400:
        return {}
    raise ValueError("the answer of the token endpoint is not a JSON object")


def _refusal(status: int, answer: dict[str, Any]) -> str:
    """`invalid_grant: Token was revoked`, as RFC 6749 section 5.2 has it, else the status."""
    told = [answer.get("error"), answer.get("error_description")]
    return ": ".join(text for text in told if isinstance(text, str)) or f"status {status}"


def _life(expires_in: Any) -> timedelta | None:
    """`expires_in` in seconds, a number or (some APIs) its text; None where it says nothing."""
    try:
        life = timedelta(seconds=float(expires_in))
    except (TypeError, ValueError, OverflowError):
        return None
    return life if life > timedelta(0) else None
