"""Texts that a handshake answers with: parts of the request, and digests of them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from tap_saas.connector.exchange import written
from tap_saas.connector.incoming import ArrivedIn, SignedRequest
from tap_saas.connector.written import Written

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+", re.DOTALL)
_EXAMPLE: Final = "write {query.NAME}, {body.NAME}, {header.NAME} or {hmac_hex:query.NAME}"
_KINDS: Final = {"query": "param:", "header": "header:", "body": "$."}
# What we would sign for anybody who asks must never be something that a provider sends as an event.
_SIGNABLE: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,256}={0,2}")

Writer = Callable[[SignedRequest, bytes | None], Any]


class Echo(Written):
    """`{body.challenge}`: a text, or a JSON value of such texts.

    {query.NAME} {header.NAME} {body.a.b} are parts of the request; {hmac_hex:query.NAME} and
    {hmac_b64:...} their HMAC-SHA256 with the first secret of the signature, of short tokens only.
    """

    __slots__ = ("_write", "is_text", "needs_secret")

    def __init__(self, raw: Any) -> None:
        super().__init__(raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False))
        self.is_text: Final = isinstance(raw, str)
        self.needs_secret: Final = "{hmac_" in self.text
        self._write = _tree(raw)

    @classmethod
    def parse(cls, raw: Any) -> Echo:
        """Read a text with these placeholders, or a JSON value with such texts; ValueError."""
        return cls(raw)

    def fill(self, request: SignedRequest, secret: bytes | None) -> Any:
        """The text or JSON value; UNSET where the request lacks a part, or it cannot be signed."""
        return self._write(request, secret)


def _tree(raw: Any) -> Writer:
    if isinstance(raw, str):
        return _text(raw)
    if isinstance(raw, dict):
        members = {key: _tree(value) for key, value in raw.items()}

        def fill(request: SignedRequest, secret: bytes | None) -> Any:
            filled = {key: write(request, secret) for key, write in members.items()}
            return UNSET if UNSET in filled.values() else filled

        return fill
    if isinstance(raw, list):
        raise ValueError("an answer is a text, or an object of texts, not a list")
    return lambda request, secret: raw


def _text(raw: str) -> Writer:
    pieces = [_piece(match, raw) for match in _PIECE.finditer(raw)]

    def fill(request: SignedRequest, secret: bytes | None) -> Any:
        filled = [one if isinstance(one, str) else one(request, secret) for one in pieces]
        return UNSET if UNSET in filled else "".join(filled)

    return fill


def _piece(match: re.Match[str], text: str) -> str | Writer:
    piece = match.group()
    if piece in ("{", "}"):
        raise ValueError(f"{text!r} has a lone {piece}; {_EXAMPLE}, and {{{{ for a brace")
    if match.group(1) is None:
        return {"{{": "{", "}}": "}"}.get(piece, piece)
    how, colon, name = match.group(1).rpartition(":")
    kind, _, inner = name.partition(".")
    if kind not in _KINDS or not inner or (colon and how not in _WRITERS):
        raise ValueError(f"{text!r} has the unknown placeholder {piece}; {_EXAMPLE}")
    place, write = ArrivedIn.parse(_KINDS[kind] + inner), _WRITERS.get(how)

    def fill(request: SignedRequest, secret: bytes | None) -> Any:
        found = request.read(place)
        if found is UNSET or found is None or isinstance(found, dict | list):
            return UNSET
        return written(found) if write is None else write(written(found), secret)

    return fill


def _hmac_hex(text: str, secret: bytes | None) -> Any:
    digest = _hmac(text, secret)
    return UNSET if digest is None else digest.hex()


def _hmac_b64(text: str, secret: bytes | None) -> Any:
    digest = _hmac(text, secret)
    return UNSET if digest is None else b64encode(digest).decode()


def _hmac(text: str, secret: bytes | None) -> bytes | None:
    if not secret or not _SIGNABLE.fullmatch(text):
        return None
    return hmac.digest(secret, text.encode(), hashlib.sha256)


_WRITERS: Final[dict[str, Callable[[str, bytes | None], Any]]] = {
    "hmac_hex": _hmac_hex,
    "hmac_b64": _hmac_b64,
}
