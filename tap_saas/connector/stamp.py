"""`timestamp` and `id` of a signature: when an event was signed, and which one it is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from tap_saas.connector.formats import InstantFormat
from tap_saas.connector.incoming import SignedRequest
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.units import Duration

_FORMATS: Final = {
    "s": InstantFormat("epoch_s"),
    "ms": InstantFormat("epoch_ms"),
    "rfc3339": InstantFormat("iso8601"),
}
_LONGEST: Final = 40  # letters of a timestamp
_ZERO: Final = timedelta(0)


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{pair: t}`, `{header: X-Timestamp, unit: ms}` or `{body: $.at}`: when it was signed.

    pair: the version under which it is in the signature's header
    header: its header
    body: its place in the body
    unit: s or ms since 1970, or rfc3339
    tolerance: how far it may be from now, before or after; null means any time
    """

    pair: str | None = None
    header: str | None = None
    body: Path | None = None
    unit: Literal["s", "ms", "rfc3339"] = "s"
    tolerance: Duration | None = Duration(seconds=300)

    def __post_init__(self) -> None:
        if [self.pair, self.header, self.body].count(None) != 2:
            raise ValueError("`timestamp` needs one of `pair`, `header` and `body`")

    def find(self, request: SignedRequest, pairs: Sequence[tuple[str, str]]) -> str | None:
        """The text of the timestamp, `pairs` being the versions and values of the header."""
        if self.pair is not None:
            return next((value for version, value in pairs if version == self.pair), None)
        if self.header is not None:
            return request.first(self.header)
        try:
            value = UNSET if self.body is None else request.document.get(self.body)
        except ValueError:
            return None
        is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
        return str(value) if is_scalar else None

    def refuse(self, text: str, now: datetime) -> str | None:
        """Why an event with this timestamp is not taken, None where it is."""
        try:
            instant = _FORMATS[self.unit].read(text) if len(text) <= _LONGEST else None
        except ValueError:
            instant = None
        if instant is None:
            return "the timestamp cannot be read"
        if self.tolerance is None:
            return None
        if now - instant > self.tolerance:
            return "the timestamp is too old"
        return "the timestamp is in the future" if instant - now > self.tolerance else None

    def put(self, request: SignedRequest, now: datetime) -> tuple[SignedRequest, str]:
        """The request with a timestamp of now, and its text."""
        value = _FORMATS[self.unit].write(now)
        if self.header is not None:
            request = request.with_header(self.header, str(value))
        elif self.body is not None:
            request = request.with_member(self.body, value)
        return request, str(value)


class SignedId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{header: [webhook-id, svix-id]}`: where the signed {id} is.

    header: its header; of a list, the first that is there
    """

    header: str | list[str]

    def find(self, request: SignedRequest) -> str | None:
        """The id."""
        return request.first(self.header)

    def put(self, request: SignedRequest) -> tuple[SignedRequest, str]:
        """The request with an id, its own or a new one."""
        known = self.find(request)
        new = known or f"msg_{uuid.uuid4().hex}"
        name = self.header if isinstance(self.header, str) else self.header[0]
        return (request if known else request.with_header(name, new)), new
