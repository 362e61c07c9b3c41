"""What a user gives to begin with: a URL and credentials, as the head of a connector."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tap_saas.authoring import vocabulary
from tap_saas.authoring.naming import identifier, setting, words
from tap_saas.connector.decoding import decode
from tap_saas.connector.exchange import Request
from tap_saas.connector.model import Connector, Stream
from tap_saas.errors import ConfigError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_HIGH_LEVEL = frozenset({
    "com", "org", "net", "io", "co", "dev", "app", "cloud", "example", "test", "ai", "api", "www",
})  # fmt: skip


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a connector and the request of its list; `values` hold the secrets.

    `is_named` where the user named the stream."""

    name: str
    stream: str
    is_named: bool
    base_url: str
    path: str
    params: dict[str, str | list[str]]
    headers: dict[str, str]
    auth: dict[str, Any] | None
    settings: dict[str, dict[str, Any]]
    values: dict[str, str]

    @property
    def head(self) -> dict[str, Any]:
        """The keys of the connector file before its streams."""
        return {
            "name": self.name,
            **({"settings": self.settings} if self.settings else {}),
            "base_url": self.base_url,
            **({"headers": self.headers} if self.headers else {}),
            **({"auth": self.auth} if self.auth else {}),
        }

    @property
    def shown(self) -> str:
        """The URL without anything secret."""
        return f"{self.base_url}{self.path}".replace("{{", "{").replace("}}", "}")

    def connector(self) -> Connector:
        """What sends requests as this connector will."""
        head = {**self.head, "auth": [self.auth] if self.auth else []}
        retry = {"attempts": 2, "first": "500ms", "total": "2m"}
        return msgspec.convert({**head, "retry": retry}, Connector, dec_hook=decode)

    def request(self) -> Request:
        """The request of the list, not yet signed."""
        raw = {"path": self.path, "params": self.params, "headers": self.headers}
        raw |= {"base_url": self.base_url, "pagination": {"type": "single"}}
        return msgspec.convert(raw, Stream, dec_hook=decode).build(self.values)


class _Secrets:
    """Credentials become settings; their values are kept apart."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self._name = name
        self._env = env
        self.settings: dict[str, dict[str, Any]] = {}
        self.values: dict[str, str] = {}

    def text(self, label: str, text: str, *, is_secret: bool) -> str:
        """The text as a template: variables become settings, a secret that is written out too."""
        if _PLACEHOLDER.search(text):
            pieces = _PLACEHOLDER.split(text)
            pieces[1::2] = [self.variable(name, label) for name in pieces[1::2]]
            return "".join(pieces)
        if not is_secret:
            return _plain(text)
        name = setting(label)
        variable = f"{self._name}_{name}".upper()
        self._keep(name, variable, text)
        return f"{{{name}}}"

    def variable(self, variable: str, label: str) -> str:
        """The placeholder of a setting that an environment variable holds."""
        if not _VARIABLE.fullmatch(variable):
            raise ConfigError(
                f"{label} takes the name of an environment variable, not the secret itself",
                do="export ACME_TOKEN=... and give ACME_TOKEN",
            )
        value = self._env.get(variable, "")
        if not value:
            # A secret given by mistake may look like a name; it is not shown.
            shown = f" {variable}" if variable.isupper() else ""
            raise ConfigError(
                f"{label}: the environment variable{shown} is not set", do="export it first"
            )
        name = setting(variable)
        self._keep(name, variable, value)
        return f"{{{name}}}"

    def _keep(self, name: str, variable: str, value: str) -> None:
        self.settings[name] = {"secret": True, "env": variable}
        self.values[name] = value


def read(
    url: str,
    *,
    env: Mapping[str, str],
    headers: Iterable[str] = (),
    bearer: str | None = None,
    basic: str | None = None,
    name: str | None = None,
    stream: str | None = None,
) -> Address:
    """The address of a list and who asks.

    Raises:
        ConfigError: no such address, or an option that cannot be read.
    """
    parts = _split(url)
    called = identifier(name, "api") if name else _name_of(parts.hostname or "")
    secrets = _Secrets(called, env)
    auth = list(_given(bearer, basic, secrets))
    params = _params(parts.query, secrets, auth)
    plain = _headers(headers, secrets, auth)
    if len(auth) > 1:
        raise ConfigError("more than one credential is given", do="give one of them")
    above, _, last = parts.path.rstrip("/").rpartition("/")
    slash = "/" if parts.path.endswith("/") and last else ""
    return Address(
        name=called,
        is_named=stream is not None,
        stream=identifier(stream or _last_word(parts.path), "records").strip("_") or "records",
        base_url=_plain(f"{parts.scheme}://{parts.netloc}{above}"),
        path=_plain(f"/{last}{slash}"),
        params=params,
        headers=plain,
        auth=auth[0] if auth else None,
        settings=secrets.settings,
        values=secrets.values,
    )


def _given(bearer: str | None, basic: str | None, secrets: _Secrets) -> Iterator[dict[str, Any]]:
    if bearer is not None:
        yield {"type": "bearer", "token": secrets.variable(bearer, "--bearer")}
    if basic is not None:
        yield _basic(basic, secrets)


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            "the address is not one of the form https://host/path", do="give the URL of a list"
        )
    if "@" in parts.netloc:
        raise ConfigError(
            "the address holds a user or a password",
            do="give them with --basic USER:PASSWORD, where {VARIABLE} is taken from the"
            " environment",
        )
    return parts


def _name_of(host: str) -> str:
    """`api.acme.co.uk` is acme; an address in numbers is api."""
    try:
        ipaddress.ip_address(host)
        return "api"
    except ValueError:
        labels = [label for label in host.split(".") if len(label) > 2]
        own = [label for label in labels if label not in _HIGH_LEVEL]
        return identifier(own[-1] if own else host, "api")


def _last_word(path: str) -> str:
    """The last part of a path that is a word: `orders` of `/v1/orders.json`."""
    for part in reversed(unquote(path).split("/")):
        word = re.sub(r"\.(json|php|aspx?)$", "", part)
        if re.search(r"[A-Za-z]{2}", word) and not re.fullmatch(r"v\d+|[0-9a-fA-F-]{16,}", word):
            return word
    return "records"


def _params(
    query: str, secrets: _Secrets, auth: list[dict[str, Any]]
) -> dict[str, str | list[str]]:
    params: dict[str, str | list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        text = secrets.text(name, value, is_secret=_is_secret(name))
        if _is_secret(name):
            auth.append({"type": "key", "send": f"param:{name}", "value": text})
        elif name in params:
            known = params[name]
            params[name] = [*(known if isinstance(known, list) else [known]), text]
        else:
            params[name] = text
    return params


def _headers(given: Iterable[str], secrets: _Secrets, auth: list[dict[str, Any]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ConfigError("--header is not NAME=VALUE", do="write --header 'X-Key={ACME_KEY}'")
        text = secrets.text(name, value, is_secret=_is_secret(name))
        if _is_secret(name) or "{" in text.replace("{{", ""):
            auth.append({"type": "key", "send": f"header:{name}", "value": text})
        else:
            headers[name] = text
    return headers


def _basic(text: str, secrets: _Secrets) -> dict[str, Any]:
    user, colon, password = text.partition(":")
    if not colon:
        raise ConfigError(
            "--basic is not USER:PASSWORD", do="write --basic 'me@acme.example:{ACME_PASSWORD}'"
        )
    auth = {"type": "basic", "user": secrets.text("user", user, is_secret=not password)}
    if password:
        auth["password"] = secrets.text("password", password, is_secret=True)
    return auth


def _is_secret(name: str) -> bool:
    return bool(vocabulary.SECRETS & set(words(name)))


def _plain(text: str) -> str:
    """A text without placeholders: braces are doubled."""
    return text.replace("{", "{{").replace("}", "}}")
