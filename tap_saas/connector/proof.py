"""How a webhook proves who sends it: what all types of `signature` have in common, and the types
that send the secret itself.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import itertools
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import written
from tap_saas.connector.incoming import ArrivedIn, SignedRequest, as_bytes
from tap_saas.connector.template import Template
from tap_saas.errors import ConfigError

Values = Mapping[str, Any]


class Several(tuple[str, ...]):
    """The values of one setting that has more than one: each is good."""

    __slots__ = ()


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all types of `signature`: pure; secrets are placeholders that `values` fill."""

    @property
    def needs_url(self) -> bool:
        """Whether the public URL is a part of what is signed."""
        return False

    def keys(self, values: Values) -> list[bytes]:
        """The secrets that have a value, the first one first.

        Raises:
            ValueError: one is not written as `key` says; it is not shown.
        """
        return []

    def unready(self, values: Values) -> str | None:
        """Why nothing can be checked with these settings; a missing secret, most often."""
        return None

    @property
    def bears(self) -> ArrivedIn | None:
        """Where a request bears a secret itself, which is not to be kept."""
        return None

    def refuse(self, request: SignedRequest, now: datetime, values: Values) -> str | None:
        """Why the request is not genuine, None where it is; never says which secret fits.

        Ask only a signature that is not `unready`.
        """
        raise NotImplementedError

    def signed_at(self, request: SignedRequest) -> str | None:
        """The text of the timestamp that a request was signed with, None where it has none."""
        return None

    def sign(self, request: SignedRequest, now: datetime, values: Values) -> SignedRequest:
        """The request as its provider would send it, with the first secret.

        Raises:
            ConfigError: only the provider has what it takes.
        """
        return request


class Unsigned(Proof, frozen=True, kw_only=True, tag="none"):
    """`{type: none}`: everybody may send; it must be said, and nothing else means it."""

    def refuse(self, request: SignedRequest, now: datetime, values: Values) -> str | None:
        return None


class Secrets(Proof, frozen=True, kw_only=True):
    """What all types with secrets have in common.

    secrets: the secrets that are good, the newest first; one without a value is left out
    """

    secrets: list[Template]

    def texts(self, values: Values) -> list[str]:
        """The secrets as they are written, without those that have no value."""
        filled = (
            secret.fill(each) for secret in self.secrets for each in _each(values, secret.names)
        )
        return [written(text) for text in filled if text is not UNSET and text not in (None, "")]

    def keys(self, values: Values) -> list[bytes]:
        return [text.encode() for text in self.texts(values)]

    def unready(self, values: Values) -> str | None:
        names = " and ".join(sorted(frozenset().union(*(one.names for one in self.secrets))))
        try:
            if self.keys(values):
                return None
        except ValueError as error:
            return f"the secret {names} {error}"
        return f"the setting {names} has no value" if names else "`secrets` is empty"

    def first(self, values: Values) -> bytes:
        """The secret to sign with; raises ConfigError where none has a value."""
        keys = self.keys(values)
        if not keys:
            raise ConfigError(self.unready(values) or "no secret", do="set it")
        return keys[0]


class SharedToken(Secrets, frozen=True, kw_only=True, tag="token"):
    """`{type: token, at: header:X-Gitlab-Token, secrets: ["{hook_token}"]}`: the secret itself.

    at: where it is, header:NAME, param:NAME or a place in the body, where each match must be it
    prefix: what stands before it, such as "Bearer "
    """

    at: ArrivedIn
    prefix: str = ""

    @property
    def bears(self) -> ArrivedIn | None:
        return self.at

    def refuse(self, request: SignedRequest, now: datetime, values: Values) -> str | None:
        found = request.read(self.at)
        given = found if isinstance(found, list) else [found]
        if not given or not all(isinstance(text, str) for text in given):
            return f"no token at {self.at}"
        keys = [self.prefix.encode() + key for key in self.keys(values)]
        is_header = self.at.kind == "header"
        coded = [as_bytes(t) if is_header else t.encode("utf-8", "surrogatepass") for t in given]
        fits = [one_of(text, keys) for text in coded]
        return None if all(fits) else "the token is not ours"

    def sign(self, request: SignedRequest, now: datetime, values: Values) -> SignedRequest:
        token = self.prefix + self.first(values).decode()
        if self.at.kind == "header":
            return request.with_header(self.at.name, token)
        if self.at.path is not None:
            return request.with_member(self.at.path, token)
        return request.with_param(self.at.name, token)


class BasicLogin(Secrets, frozen=True, kw_only=True, tag="basic"):
    """`{type: basic, user: "{hook_user}", secrets: ["{hook_password}"]}`: RFC 7617, UTF-8.

    user: the user
    """

    user: Template

    @property
    def bears(self) -> ArrivedIn | None:
        return ArrivedIn("header", "Authorization")

    def keys(self, values: Values) -> list[bytes]:
        user = self.user.fill(values)
        if user is UNSET or user is None:
            return []
        return [f"{written(user)}:{text}".encode() for text in self.texts(values)]

    def refuse(self, request: SignedRequest, now: datetime, values: Values) -> str | None:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        given = decoded(text.strip(), "base64") if scheme.lower() == "basic" else None
        if given is None:
            return "no Basic authorization"
        return None if one_of(given, self.keys(values)) else "the user or password is not ours"

    def sign(self, request: SignedRequest, now: datetime, values: Values) -> SignedRequest:
        pair = b64encode(self.first(values)).decode()
        return request.with_header("Authorization", f"Basic {pair}")


def _each(values: Values, names: Iterable[str]) -> Iterator[Values]:
    """The values with one for each of these settings, once for each that it may be."""
    several = {name: values[name] for name in names if isinstance(values.get(name), Several)}
    for chosen in itertools.product(*several.values()):
        yield {**values, **dict(zip(several, chosen, strict=True))} if several else values


def decoded(text: str, encoding: Literal["hex", "base64"]) -> bytes | None:
    """The bytes of a text that is written exactly as the encoding says, else None."""
    raw = as_bytes(text)
    try:
        data = binascii.unhexlify(raw) if encoding == "hex" else b64decode(raw, validate=True)
    except ValueError:
        return None
    return data if encoding == "hex" or b64encode(data) == raw else None


def one_of(given: bytes, keys: Sequence[bytes]) -> bool:
    """Whether it is one of the keys; the time says nothing of which, or of how near it is."""
    digest = hashlib.sha256(given).digest()
    fits = [hmac.compare_digest(digest, hashlib.sha256(key).digest()) for key in keys]
    return any(fits)
