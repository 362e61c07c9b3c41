"""Arrivals as the columns of a table, and back."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tap_saas.queues.base import Arrival, Event, instant_of, micros

KEY_BYTES = 16


class _Request(msgspec.Struct, array_like=True):
    """All of an arrival that is not asked for in SQL."""

    event_id: str | None
    method: str
    path: str
    query: str
    headers: dict[str, str]


_decode = msgspec.json.Decoder(_Request).decode


class Packed(NamedTuple):
    """An arrival as the columns of a table; `key` is None for one that is never a duplicate."""

    key: bytes | None
    source: str
    received_at: int
    digest: bytes
    request: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that count."""
        return len(self.request) + len(self.body)


def pack(arrival: Arrival) -> Packed:
    """An arrival as columns. Half a surrogate pair, which no UTF-8 has, becomes a `?`."""
    fields = (
        arrival.event_id, arrival.method, arrival.path, arrival.query, arrival.headers,
    )  # fmt: skip
    try:
        request = msgspec.json.encode(fields)
    except UnicodeEncodeError:
        request = msgspec.json.encode(_mended(fields))
    key = None
    if arrival.event_id is not None:
        text = f"{arrival.source}\0{arrival.event_id}".encode("utf-8", "surrogatepass")
        key = blake2b(text, digest_size=KEY_BYTES).digest()
    return Packed(
        key, arrival.source, micros(arrival.received_at), arrival.digest(), request, arrival.body
    )


def pack_again(event: Event) -> Packed:
    """An event that was kept before, as columns; without an id it has a key made of its mark."""
    packed = pack(event)
    if packed.key is not None:
        return packed
    key = blake2b(b"\0put back\0" + packed.digest, digest_size=KEY_BYTES).digest()
    return packed._replace(key=key)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(each) for key, each in value.items()}
    return [_mended(each) for each in value] if isinstance(value, tuple) else value


def unpack(source: str, off: int, received_at: int, request: bytes, body: bytes) -> Event:
    """The event that columns hold."""
    fields = _decode(request)
    return Event(
        offset=off,
        source=source,
        event_id=fields.event_id,
        received_at=instant_of(received_at),
        method=fields.method,
        path=fields.path,
        query=fields.query,
        headers=fields.headers,
        body=body,
    )
