"""What an API sends by itself: `webhooks:` of a connector."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.decoding import FILLED_BY_LOAD
from tap_saas.connector.handshake import Handshake
from tap_saas.connector.incoming import SignedRequest
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.routes import EventId, EventPlaces, EventTime, Route
from tap_saas.connector.signature import Signature
from tap_saas.connector.subscribe import Subscribe
from tap_saas.connector.units import ByteSize


class WebhookSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{signature: {...}, id: header:X-Event-Id, type: $.type, routes: [...]}`: one address for it.

    signature: how it is known that a request is genuine, {type: none} where it is not
    handshake: requests that are answered and are no events
    id: where a request has the id of its event, or several places that name it together, or hash, a
      digest of body and time; without an id a repeated event is stored twice
    split: where a request has the list of its events, for an API that sends several at once; the
      paths of `type`, `time` and `routes` then begin in each
    type: where an event has its type, or several places whose values are joined by a point
    time: when an event happened, a place or {take, format}
    routes: which events bring records of which stream; an event takes every route that fits
    max_body: the largest request that is taken
    consumers: who reads the events; they are kept until each has them written
    subscribe: how the API is asked to send them
    """

    name: Annotated[str, FILLED_BY_LOAD] = ""
    signature: Signature
    handshake: Annotated[list[Handshake], Meta(extra={"short": "item"})] = []
    id: EventId | None = None
    split: Path | None = None
    type: EventPlaces | None = None
    time: Annotated[EventTime | None, Meta(extra={"short": "take"})] = None
    routes: list[Route]
    max_body: ByteSize = ByteSize(1_000_000)
    consumers: list[str] = msgspec.field(default_factory=lambda: ["main"])
    subscribe: Subscribe | None = None

    @property
    def brought(self) -> tuple[str, ...]:
        """The settings whose values handshakes bring."""
        stores = (one.store.setting for one in self.handshake if one.store is not None)
        return tuple(dict.fromkeys(stores))

    def event_id(self, request: SignedRequest) -> str | None:
        """The id by which a repeated request is known, `None` where it has none."""
        if self.id is None:
            return None
        if self.id.is_hash:
            return self._digest(request)
        found = [request.read(place) for place in self.id.places]
        texts = [str(value) for value in found if _names(value)]
        # An id that lacks a part of it, or may be read in two ways, could be another event's.
        is_whole = len(texts) == len(found) and "\n" not in "".join(texts)
        return "\n".join(texts) if is_whole or len(found) == len(texts) == 1 else None

    def _digest(self, request: SignedRequest) -> str | None:
        """A digest of the body and the times of its events, `None` where one has no time: two
        events may well say the same at different times.
        """
        try:
            document: Any = request.document.value
        except ValueError:
            document = UNSET
        events = [document] if self.split is None else self.split.items(document)
        if self.time is None or events is UNSET:
            return None
        times = [self.time.take.of(event, request.headers) for event in events]
        if any(time is UNSET or time is None for time in times):
            return None
        told = "\n".join(map(str, times))
        return hashlib.sha256(told.encode(errors="replace") + b"\n" + request.body).hexdigest()


def _names(value: Any) -> bool:
    """Whether a value is (a part of) an id: a text that is not empty, or a number."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
