"""Is a webhook genuine: `signature:` of a webhook source, one class a `type`."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from tap_saas.connector import public_key
from tap_saas.connector.incoming import SignedRequest as SignedRequest
from tap_saas.connector.incoming import as_bytes
from tap_saas.connector.proof import BasicLogin, Secrets, SharedToken, Unsigned, Values, decoded
from tap_saas.connector.signed_text import (
    Algorithm,
    BodyDigest,
    SignedText,
    SignedUrl,
    form_sorted,
)
from tap_saas.connector.stamp import SignedId, Stamp
from tap_saas.errors import ConfigError

MAX_CANDIDATES = 16  # signatures in one header that are looked at


class SecretKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{encoding: base64, strip: whsec_}`: how a secret is written.

    encoding: utf8, base64 or hex
    strip: what stands before it and is no part of it
    """

    encoding: Literal["utf8", "base64", "hex"] = "utf8"
    strip: str | None = None

    def read(self, text: str) -> bytes:
        """The key; raises ValueError that does not show it."""
        text = text.removeprefix(self.strip or "")
        if self.encoding == "utf8":
            return text.encode()
        padding = "=" * (-len(text) % 4) if self.encoding == "base64" else ""
        key = decoded(text + padding, self.encoding)
        if not key:
            raise ValueError(f"is not {self.encoding}")
        return key


class Signed(Secrets, frozen=True, kw_only=True):
    """What all types have in common whose signature is in a header.

    header: where the signature is; of a list, the first that is there
    items: what stands between several signatures in it
    pair: what stands between the version of a signature and itself
    accept: the versions that count; one good signature among them is enough
    encoding: of the signature, hex or base64
    key: how a secret is written
    template: what is signed
    timestamp: when it was signed, and how old it may be
    id: where {id} is
    url: which form of the public URL is signed
    body_digest: a digest of the body in the signed URL
    """

    header: str | list[str]
    items: str | None = None
    pair: str | None = None
    accept: list[str] = msgspec.field(default_factory=list)
    encoding: Literal["hex", "base64"] = "hex"
    key: SecretKey = SecretKey()
    template: SignedText = SignedText("{body}")
    timestamp: Stamp | None = None
    id: SignedId | None = None
    url: SignedUrl = SignedUrl()
    body_digest: BodyDigest | None = None

    def __post_init__(self) -> None:
        names, stamp = self.template.names, self.timestamp
        if (self.pair is None) != (not self.accept):
            raise ValueError("`pair` and `accept` go together, as in pair: '=' and accept: [v1]")
        if "" in (self.items, self.pair) or not self.header:
            raise ValueError("`header`, `items` and `pair` must not be empty")
        if not names & {"body", "form_sorted"} and not ("url" in names and self.body_digest):
            raise ValueError("`template` signs nothing of the body; use {body} in it")
        if stamp is not None and stamp.pair is not None and self.pair is None:
            raise ValueError("`timestamp.pair` needs `pair`, which splits the header")
        if ("ts" in names) and stamp is None:
            raise ValueError("{ts} in `template` needs `timestamp`")
        if stamp is not None and stamp.body is None and "ts" not in names:
            raise ValueError("`timestamp` is not signed; use {ts} in `template`")
        if ("id" in names) != (self.id is not None):
            raise ValueError("{id} in `template` and `id` go together")

    @property
    def needs_url(self) -> bool:
        return "url" in self.template.names

    def keys(self, values: Values) -> list[bytes]:
        return [self.key.read(text) for text in self.texts(values)]

    def refuse(self, request: SignedRequest, now: datetime, values: Values) -> str | None:
        text = request.first(self.header)
        if text is None:
            return "no signature header"
        pairs = self._pairs(text)
        given = [value for version, value in pairs if version in (self.accept or [""])]
        if not 0 < len(given) <= MAX_CANDIDATES:
            return "no signature in its header" if not given else "too many signatures"
        stamp = None if self.timestamp is None else self.timestamp.find(request, pairs)
        if self.timestamp is not None:
            late = "no timestamp" if stamp is None else self.timestamp.refuse(stamp, now)
            if late is not None:
                return late
        signed_id = None if self.id is None else self.id.find(request)
        if self.id is not None and signed_id is None:
            return "no id header"
        if not self._covers_body(request):
            return "the body is not covered by the signature"
        fits = [
            self._fits(key, content, given)
            for key in self.keys(values)
            for content in self._contents(request, stamp or "", signed_id or "", key)
        ]
        return None if any(fits) else "the signature does not fit"

    def signed_at(self, request: SignedRequest) -> str | None:
        text = request.first(self.header)
        if text is None or self.timestamp is None:
            return None
        return self.timestamp.find(request, self._pairs(text))

    def sign(self, request: SignedRequest, now: datetime, values: Values) -> SignedRequest:
        key, pairs, stamp, signed_id = self.first(values), [], "", ""
        if self.body_digest is not None and not request.is_form:
            digest = self.body_digest.of(request.body)
            request = request.with_param(self.body_digest.query, digest)
        if self.timestamp is not None:
            request, stamp = self.timestamp.put(request, now)
            pairs = [(self.timestamp.pair, stamp)] if self.timestamp.pair else []
        if self.id is not None:
            request, signed_id = self.id.put(request)
        signature = self._made(key, self._contents(request, stamp, signed_id, key)[0])
        pairs.append((self.accept[0] if self.accept else "", signature))
        texts = [f"{name}{self.pair}{text}" if self.pair else text for name, text in pairs]
        header = self.header if isinstance(self.header, str) else self.header[0]
        return request.with_header(header, (self.items or " ").join(texts))

    def _pairs(self, text: str) -> list[tuple[str, str]]:
        """The versions and values of the header, the version "" where there is none."""
        items = [text] if self.items is None else text.split(self.items)
        if self.pair is None:
            return [("", item.strip()) for item in items]
        split = (item.strip().partition(self.pair) for item in items)
        return [(version, value) for version, mark, value in split if mark]

    def _covers_body(self, request: SignedRequest) -> bool:
        """Whether nothing of the body can be changed without the signature noticing."""
        digest = None if self.body_digest is None else self.body_digest.fits(request)
        if digest is not None:
            return digest
        names = self.template.names
        is_in = "body" in names or ("form_sorted" in names and request.is_form)
        return is_in or not request.body

    def _contents(
        self, request: SignedRequest, stamp: str, signed_id: str, key: bytes
    ) -> list[bytes]:
        """What may have been signed: one, or one for each form that the URL may have."""
        names = self.template.names
        values = {"body": request.body, "secret": key}
        if names & {"ts", "id", "method"}:
            values["ts"], values["id"] = as_bytes(stamp), as_bytes(signed_id)
            values["method"] = as_bytes(request.method)
        if "form_sorted" in names:
            values["form_sorted"] = form_sorted(request)
        if "url" not in names:
            return [self.template.fill(values)]
        urls = self.url.forms(request.url)
        return [self.template.fill({**values, "url": as_bytes(url)}) for url in urls]

    def _fits(self, key: bytes, content: bytes, given: Sequence[str]) -> bool:
        """Whether one of the given signatures is the one that this key makes."""
        made = self._made(key, content).encode()
        texts = (text.lower() if self.encoding == "hex" else text for text in given)
        fits = [hmac.compare_digest(made, as_bytes(text)) for text in texts]
        return any(fits)

    def _made(self, key: bytes, content: bytes) -> str:
        """The signature as the header has it."""
        raise NotImplementedError

    def _encoded(self, raw: bytes) -> str:
        return raw.hex() if self.encoding == "hex" else b64encode(raw).decode()


class Hmac(Signed, frozen=True, kw_only=True, tag="hmac"):
    """`{type: hmac, header: X-Signature, secrets: ["{webhook_secret}"]}`: RFC 2104.

    algorithm: sha1, sha256, sha384 or sha512
    """

    algorithm: Algorithm = "sha256"

    def _made(self, key: bytes, content: bytes) -> str:
        # hmac.digest lets other threads run even for a short text, and waits to run again.
        return self._encoded(hmac.new(key, content, self.algorithm).digest())


class Digest(Signed, frozen=True, kw_only=True, tag="digest"):
    """`{type: digest, header: X-Signature, template: "{secret}{body}", ...}`: a plain hash.

    algorithm: sha1, sha256, sha384 or sha512
    """

    algorithm: Algorithm = "sha256"

    def __post_init__(self) -> None:
        Signed.__post_init__(self)
        if "secret" not in self.template.names:
            raise ValueError("`template` of a digest needs {secret}, or anybody could make it")

    def _made(self, key: bytes, content: bytes) -> str:
        return self._encoded(hashlib.new(self.algorithm, content).digest())


class PublicKey(Signed, frozen=True, kw_only=True):
    """The base of the types that are checked with the provider's public key."""

    def unready(self, values: Values) -> str | None:
        return Signed.unready(self, values) or public_key.missing()

    def keys(self, values: Values) -> list[bytes]:
        keys = Signed.keys(self, values)
        if public_key.missing() is None:
            for key in keys:
                self._check(key)
        return keys

    def _check(self, key: bytes) -> None:
        """Raises ValueError for what is no such key."""
        raise NotImplementedError

    def _to_check(self, content: bytes, given: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
        """What was signed, beside each of the signatures that can be decoded."""
        raws = (decoded(one, self.encoding) for one in given)
        return ((content, raw) for raw in raws if raw)

    def _made(self, key: bytes, content: bytes) -> str:
        do = "let the provider send a test event"
        raise ConfigError("only the provider has the key that signs", do=do)


class Ed25519(PublicKey, frozen=True, kw_only=True, tag="ed25519"):
    """`{type: ed25519, header: webhook-signature, ...}`: RFC 8032; the key is its 32 bytes."""

    def _check(self, key: bytes) -> None:
        public_key.ed25519(key)

    def _fits(self, key: bytes, content: bytes, given: Sequence[str]) -> bool:
        return any(public_key.fits_ed25519(key, *one) for one in self._to_check(content, given))


class EcdsaP256(PublicKey, frozen=True, kw_only=True, tag="ecdsa_p256_sha256"):
    """`{type: ecdsa_p256_sha256, header: X-Signature, ...}`: the key and the signature are DER."""

    def _check(self, key: bytes) -> None:
        public_key.ecdsa(key)

    def _fits(self, key: bytes, content: bytes, given: Sequence[str]) -> bool:
        return any(public_key.fits_ecdsa(key, *one) for one in self._to_check(content, given))


Signature: TypeAlias = Hmac | Digest | Ed25519 | EcdsaP256 | SharedToken | BasicLogin | Unsigned
