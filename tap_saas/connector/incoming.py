"""A request that a provider sends to us, and what is read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Document
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.place import Condition, Place


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One request as it came in; for one thread.

    `url` is the configured public address with the path and query as they were sent, never what a
    `Host` header says. Header names are lower case. Texts hold one letter for each byte (Latin-1),
    as HTTP headers do, so that the bytes that were signed can be had back.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def params(self) -> dict[str, str]:
        """The parameters of the URL, the first value of each."""
        pairs = parse_qsl(self.url.partition("?")[2], keep_blank_values=True)
        return dict(reversed(pairs))

    @cached_property
    def document(self) -> Document:
        """The body as JSON, decoded when and where it is asked for."""
        return Document(self.body)

    @property
    def is_form(self) -> bool:
        """Whether the body says that it is a form (application/x-www-form-urlencoded)."""
        kind = self.headers.get("content-type", "").partition(";")[0]
        return kind.strip().lower() == "application/x-www-form-urlencoded"

    @property
    def is_absolute(self) -> bool:
        """Whether the public address is known."""
        return self.url.startswith(("https://", "http://"))

    def first(self, names: str | Sequence[str]) -> str | None:
        """The first of these headers that is there, names in any case."""
        for name in [names] if isinstance(names, str) else names:
            value = self.headers.get(name.lower())
            if value is not None:
                return value
        return None

    def read(self, place: Place) -> Any:
        """The value at a place; UNSET where there is none or the body is not JSON."""
        if place.path is not None:
            try:
                return self.document.get(place.path)
            except ValueError:
                return UNSET
        if place.kind == "header":
            return self.headers.get(place.name.lower(), UNSET)
        return self.params.get(place.name, UNSET)

    def with_param(self, name: str, value: str) -> SignedRequest:
        """The request with this parameter at the end of its URL."""
        mark = "&" if "?" in self.url else "?"
        return msgspec.structs.replace(self, url=f"{self.url}{mark}{urlencode({name: value})}")

    def with_member(self, path: Path, value: Any) -> SignedRequest:
        """The request with this value at a path of its JSON body.

        Raises:
            ValueError: the body is no JSON object, or the path cannot be set.
        """
        document = path.set(self.document.value, value)
        return msgspec.structs.replace(self, body=msgspec.json.encode(document))

    def with_header(self, name: str, value: str) -> SignedRequest:
        """The request with this header instead of that of its name."""
        return msgspec.structs.replace(self, headers={**self.headers, name.lower(): value})


class ArrivedIn(Place):
    """A place in a request that came in: `$.a.b`, a bare `name`, `header:Name`, `param:name`."""

    __slots__ = ()
    kinds = ("param", "header", "body")
    example = "header:X-Event-Id, param:id or $.id"


class ArrivedCondition(Condition):
    """`$.type == url_verification`, `param:mode in [a, b]`, or `header:X-Hook` alone.

    As every condition, but about a request that came in: a list means all of them, and what is
    missing counts as null.
    """

    __slots__ = ()
    takes = ArrivedIn

    def fits(self, request: SignedRequest) -> bool:
        """True where each of the tests holds for this request."""
        return all(test.holds(request.read(test.place)) for test in self.tests)


def as_bytes(text: str) -> bytes:
    """The bytes of a text that came in; of one of ours, where it has other letters, UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
