"""An API's log of what happened: `events:` of a connector, read in order as a stream is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tap_saas.connector.decoding import FILLED_BY_LOAD
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.place import Condition
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.routes import EventPlaces, EventTime, Route
from tap_saas.connector.units import Duration


class EventLog(RecordsForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: /events, type: $.type, time: $.created, routes: [...]}`: a log of what happened.

    Each record of the list is an event. Paths of `id`, `type`, `time` and `routes` begin in it.

    incremental: only what happened since the last run; with `retention` an older watermark means a
      full pass of the streams that it feeds
    id: where an event has its id, or several places that name it together
    type: where an event has its type, or several places whose values are joined by a point
    time: when an event happened, a place or {take, format}
    routes: which events bring records of which stream; an event takes every route that fits
    every: read not more often
    if: only where this holds for the settings
    """

    name: Annotated[str, FILLED_BY_LOAD] = ""
    incremental: Incremental | None = None
    id: EventPlaces | None = None
    type: EventPlaces | None = None
    time: Annotated[EventTime | None, Meta(extra={"short": "take"})] = None
    routes: list[Route]
    every: Duration | None = None
    if_: Condition | None = msgspec.field(name="if", default=None)
