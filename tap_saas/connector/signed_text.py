"""What a signature is made over: `template`, `url`, `body_digest` of a signature."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tap_saas.connector.incoming import SignedRequest, as_bytes
from tap_saas.connector.template import Template
from tap_saas.connector.written import Written

Algorithm = Literal["sha1", "sha256", "sha384", "sha512"]
NAMES: Final = ("body", "ts", "id", "method", "url", "form_sorted", "secret")
_PORTS: Final = {"http": 80, "https": 443}


class SignedText(Written):
    """`{ts}.{body}`: the signed bytes; {ts} {id} {method} {url} {form_sorted} {secret} as well."""

    __slots__ = ("names", "parts")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        parts = Template.parse(text).parts
        self.parts: Final = tuple(
            part.encode() if isinstance(part, str) else str(part)[1:-1] for part in parts
        )
        self.names: Final = frozenset(part for part in self.parts if isinstance(part, str))
        for name in sorted(self.names.difference(NAMES)):
            known = ", ".join(f"{{{one}}}" for one in NAMES)
            raise ValueError(f"template has the unknown placeholder {{{name}}}; use one of {known}")

    @classmethod
    def parse(cls, raw: object) -> SignedText:
        """Read a text with these placeholders; raises ValueError."""
        if not isinstance(raw, str):
            raise ValueError(f"a text is needed here, not {raw!r}")
        return cls(raw)

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The bytes that were signed."""
        return b"".join(part if isinstance(part, bytes) else values[part] for part in self.parts)


class SignedUrl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{unquote: true}` or `{port_variants: true}`: which form of the public URL is signed.

    unquote: percent-encoded characters are decoded first
    port_variants: the URL without its port and with the usual one are good too
    """

    unquote: bool = False
    port_variants: bool = False

    def forms(self, url: str) -> Iterator[str]:
        """The URLs that may have been signed."""
        url = unquote(url, encoding="latin-1") if self.unquote else url
        yield url
        if not self.port_variants:
            return
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        bare = host.rpartition(":")[0] if parts.port is not None else host
        rest = url.partition("://")[2].removeprefix(parts.netloc)
        if parts.port is not None:
            yield f"{parts.scheme}://{bare}{rest}"
        elif parts.scheme in _PORTS:
            yield f"{parts.scheme}://{bare}:{_PORTS[parts.scheme]}{rest}"


class BodyDigest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{query: bodySHA256, algorithm: sha256}`: the signed URL holds a digest of the body, in hex.

    query: the parameter of the URL that holds it
    algorithm: sha1, sha256, sha384 or sha512
    """

    query: str
    algorithm: Algorithm = "sha256"

    def of(self, body: bytes) -> str:
        """The digest of a body."""
        return hashlib.new(self.algorithm, body).hexdigest()

    def fits(self, request: SignedRequest) -> bool | None:
        """Whether the digest is that of the body; None where there is none."""
        given = request.params.get(self.query)
        if given is None:
            return None
        return hmac.compare_digest(self.of(request.body).encode(), as_bytes(given.lower()))


def form_sorted(request: SignedRequest) -> bytes:
    """The names and values of a form, sorted, each pair once; nothing for another body."""
    if not request.is_form:
        return b""
    text = request.body.decode("latin-1")
    pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1")
    return "".join(name + value for name, value in sorted(set(pairs))).encode("latin-1")
