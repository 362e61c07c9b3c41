"""The credentials of a request: to whom they may go, and the OAuth token that they may need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from tap_saas.client.session import canonical
from tap_saas.client.tokens import TokenStore, chain_name
from tap_saas.connector.auth import Auth, OAuth2, check_settings, resolve
from tap_saas.connector.budget import Budget
from tap_saas.connector.exchange import Request
from tap_saas.connector.http import HttpOptions, is_private
from tap_saas.connector.links import without_params
from tap_saas.connector.responses import Rule
from tap_saas.connector.retry import Retry
from tap_saas.connector.template import Template
from tap_saas.connector.token import Token
from tap_saas.errors import ApiError, ConfigError, ConnectorError
from tap_saas.redact import Redactor

# A token that another run has renewed may be due again; one that dies faster is used as it is.
RENEWALS = 3
CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})

FetchToken = Callable[[OAuth2, Token | None, bool], Token]


class Options(Protocol):
    """What a connector and each of its requests say about how they are sent."""

    @property
    def base_url(self) -> Template | None: ...
    @property
    def auth(self) -> list[Auth]: ...
    @property
    def http(self) -> HttpOptions: ...
    @property
    def budgets(self) -> dict[str, Budget]: ...
    @property
    def retry(self) -> Retry: ...
    @property
    def responses(self) -> list[Rule]: ...


class Login:
    """Who asks, for one request: signs it for the hosts that may know, and for no others."""

    def __init__(
        self,
        options: Options,
        values: Mapping[str, Any],
        *,
        connector: str,
        tokens: TokenStore,
        fetch: FetchToken,
        redactor: Redactor,
        clock: Callable[[], datetime],
    ) -> None:
        self._options = options
        self._schemes = resolve(options.auth, values)
        self._values = values
        self._tokens = tokens
        self._fetch = fetch
        self._redactor = redactor
        self._clock = clock
        self._oauth = _only_oauth(self._schemes, connector)
        chain = () if self._oauth is None else self._oauth.chain(values)
        self._chain = chain_name(connector, chain)

    @property
    def advice(self) -> str:
        """What a user can do where the API refuses: `check the setting api_key`."""
        return check_settings(name for scheme in self._schemes for name in scheme.proofs)

    def token(self, *, admitted: bool = False) -> Token | None:
        """A token that is not due, renewed where needed; None without OAuth.

        `admitted` is True for a request that has its budgets already, so that a renewal waits for
        none: the token may have died while the request was waiting.
        """
        if self._oauth is None:
            return None
        token = self._tokens.load(self._chain)
        for _ in range(RENEWALS):
            if token is not None and not self._oauth.is_due(token, self._clock()):
                break
            token = self.renewed(token, admitted=admitted)
        if token is not None:
            self._redactor.learn(*token.secrets)
        return token

    def renewed(self, seen: Token | None, *, admitted: bool = False) -> Token | None:
        """A newer token than the one that was used; None where nothing can be renewed."""
        oauth = self._oauth
        if oauth is None:
            return None
        return self._tokens.renew(
            self._chain, seen, lambda stored: self._fetch(oauth, stored, admitted)
        )

    def values(self, token: Token | None) -> Mapping[str, Any]:
        """The values for templates, with `token` where there is one."""
        return self._values if token is None else {**self._values, "token": token.answer}

    def base_url(self, token: Token | None) -> str:
        """The filled `base_url`, as it will be sent; empty where it has no value.

        Raises:
            ConfigError: Credentials would cross the network readable for everybody.
        """
        template = self._options.base_url
        filled = UNSET if template is None else template.fill(self.values(token))
        if filled is UNSET:
            return ""
        base_url = canonical(str(filled))
        if self._schemes:
            refuse_readable(base_url, "base_url")
        return base_url

    def trusts(self, url: str, token: Token | None) -> bool:
        """Whether the credentials may go there."""
        return self._options.http.trusts(url, self.base_url(token))

    def sign(self, request: Request, token: Token | None) -> Request:
        """The request as it may leave: signed for a trusted host, bare for any other."""
        if not self.trusts(request.url, token):
            return self._bare(request)
        signed = request
        for scheme in self._schemes:
            signed = scheme.sign(signed, self.values(token))
        added = {*signed.headers, *signed.params} - {*request.headers, *request.params}
        self._redactor.learn(*(word for _, text in added for word in (text, text.split(" ")[-1])))
        return signed

    def _bare(self, request: Request) -> Request:
        """Without the headers that are secrets, by their name or value, and such parameters.

        Raises:
            ApiError: A secret is in the path, or in the body.
        """
        bears = self._redactor.bears_secret
        headers = [pair for pair in request.headers if pair[0].lower() not in CREDENTIAL_HEADERS]
        url = without_params(request.url, lambda _, value: bears(value))
        if bears(url) or (request.body is not None and bears(request.body.encode()[0].decode())):
            raise ApiError(
                f"{urlsplit(url).netloc} is not the host of base_url and would get a secret",
                do="name it in http.hosts if it may have that",
            )
        return msgspec.structs.replace(
            request,
            url=url,
            headers=tuple(pair for pair in headers if not bears(pair[1])),
            params=tuple(pair for pair in request.params if not bears(pair[1])),
        )


class OwnLogin(Login):
    """For a request that carries its credentials itself: the one for a token."""

    def trusts(self, url: str, token: Token | None) -> bool:
        """It was made for where it goes."""
        return True


def refuse_readable(url: str, what: str) -> None:
    """Raises ConfigError where everybody on the way could read what goes to `url`."""
    if not is_private(url):
        raise ConfigError(
            "credentials over plain http can be read on the way",
            where=url,
            do=f"use https in {what}",
        )


def _only_oauth(schemes: list[Auth], connector: str) -> OAuth2 | None:
    found = [scheme for scheme in schemes if isinstance(scheme, OAuth2)]
    if len(found) > 1:
        raise ConnectorError([f"{connector}: auth: two oauth2 members; keep one of them"])
    return found[0] if found else None
