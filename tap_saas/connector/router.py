"""From an event to the records that it brings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tap_saas.connector.events import EventLog
from tap_saas.connector.identity import Identity, IdentityError, instant_text
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.model import OBSERVED_COLUMN, Stream
from tap_saas.connector.routes import RecordPlace, Route
from tap_saas.connector.webhook import WebhookSource

Kinds = Mapping[str, Mapping[str, str]]
"""The kinds of each stream's columns where they are known: integer, string, date-time ..."""


class RouteError(ValueError):
    """An event that cannot be routed: it becomes a reject.

    `kind` is the reject's error type; `pointer` leads to the place in the event (JSON pointer, or
    `header:Name`).
    """

    def __init__(self, kind: str, pointer: str, message: str) -> None:
        self.kind = kind
        self.pointer = pointer
        super().__init__(message)


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """What an event means for one stream.

    upsert: `record` is as the API writes it, to be shaped and checked as a listed one
    delete: `record` has the columns of key and version as the table has them, no more; the version
        is the END of the grain of the event's time
    fetch: `values` are those of the request `Route.fetch`; `record` is what is known of it if it is
        gone: `Router.gone` makes of it what `delete` would bring; `None` where `gone` is empty
    """

    stream: str
    action: Literal["upsert", "delete", "fetch"]
    record: dict[str, Any] | None = None
    values: dict[str, Any] = {}
    route: int
    event_id: str | None = None
    type: str | None = None
    time: datetime | None = None


class Router:
    """Routes the events of one source; routes to streams that are not there take nothing.

    Knows no state; may be used by several threads.
    """

    def __init__(
        self,
        source: EventLog | WebhookSource,
        streams: Mapping[str, Stream],
        kinds: Kinds | None = None,
    ) -> None:
        self._source = source
        self._routes = [
            _Way(number, route, streams[route.stream], (kinds or {}).get(route.stream, {}))
            for number, route in enumerate(source.routes)
            if route.stream in streams
        ]

    def split(self, document: Any) -> list[Any]:
        """The events in what came in; raises RouteError."""
        path = self._source.split if isinstance(self._source, WebhookSource) else None
        if path is None:
            return [document]
        events = path.items(document)
        if events is UNSET:
            raise RouteError("missing_field", pointer(path), f"there are no events at {path}")
        assert isinstance(events, list), "what is there is a list"
        return events

    def route(self, document: Any, headers: Mapping[str, str] | None = None) -> list[Routed]:
        """What one event means, nothing where no route takes it; header names are lower case.

        Raises:
            RouteError: what the event's route needs is missing or of a wrong kind.
        """
        headers = headers or {}
        try:
            type_ = self._type(document, headers)
            ways = [way for way in self._routes if way.route.takes(type_)]
            if not ways:
                return []
            event = _Event(
                document=document,
                id=self._id(document, headers),
                type=type_,
                **self._times(document, headers),
            )
            return [way.routed(event) for way in ways]
        except RecursionError:
            raise RouteError("bad_value", "", "the event is nested too deeply") from None

    def gone(self, route: int, known: Mapping[str, Any], at: datetime) -> dict[str, Any]:
        """What a `fetch` means whose record is gone: as a `delete`, at the end of this second.

        `known` is the `record` of what was routed, `at` the instant of the answer, which HTTP gives
        to the second.

        Raises:
            RouteError: nothing says how new this is.
        """
        (way,) = [way for way in self._routes if way.number == route]
        return way.gone(known, at.replace(microsecond=999_999))

    def _type(self, document: Any, headers: Mapping[str, str]) -> str | None:
        places = self._source.type
        if places is None:
            return None
        where = str(places)
        try:
            type_ = places.joined(document, headers, ".")
        except ValueError as error:
            raise RouteError("bad_type", where, f"the type at {where}: {error}") from error
        if type_ is None:
            raise RouteError("missing_field", where, f"there is no type at {where}")
        return type_

    def _id(self, document: Any, headers: Mapping[str, str]) -> str | None:
        places = self._source.id
        try:
            return None if places is None else places.joined(document, headers, "\n")
        except ValueError:
            return None

    def _times(self, document: Any, headers: Mapping[str, str]) -> dict[str, datetime | None]:
        """The event's time and the end of its grain."""
        time = self._source.time
        if time is None:
            return {"time": None, "end": None}
        value = time.take.of(document, headers)
        where = str(time.take) if time.take.path is None else pointer(time.take.path)
        if value is UNSET or value is None:
            raise RouteError("missing_field", where, f"there is no time at {time.take}")
        try:
            return {"time": time.format.read(value), "end": time.format.read_end(value)}
        except ValueError as error:
            raise RouteError("bad_date", where, f"the time at {time.take}: {error}") from error


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    document: Any
    id: str | None
    type: str | None
    time: datetime | None
    end: datetime | None


class _Way:
    """One route to one stream."""

    def __init__(self, number: int, route: Route, stream: Stream, kinds: Mapping[str, str]) -> None:
        self.route = route
        self.number = number
        self._identity = Identity(stream, kinds)

    def routed(self, event: _Event) -> Routed:
        """What the event means for the stream."""
        if self.route.deletes(event.type):
            return self._as(event, "delete", self._tombstone(event))
        if self.route.fetch is not None:
            return self._fetch(event)
        assert self.route.record is not None, "a route has a record or a fetch"
        record = self._with_identity(taken(self.route.record, event.document), event)
        return self._as(event, "upsert", record)

    def gone(self, known: Mapping[str, Any], at: datetime) -> dict[str, Any]:
        """The row of a record that is gone."""
        try:
            return self._identity.gone(dict(known), at)
        except IdentityError as error:
            raise self._missing(error) from error

    def _with_identity(self, record: dict[str, Any], event: _Event) -> dict[str, Any]:
        try:
            record = self._identity.with_key(record)
        except IdentityError as error:
            raise self._missing(error) from error
        if self._identity.is_observed and event.time is not None:
            record[OBSERVED_COLUMN] = instant_text(event.time)
        return record

    def _fetch(self, event: _Event) -> Routed:
        assert self.route.fetch is not None, "only such a route fetches"
        wanted = self.route.fetch.values
        found = {name: _single(name, path, event.document) for name, path in wanted.items()}
        try:
            values = self._identity.values(found)
            gone = self.route.fetch.gone
            record = self._identity.known(self._known(event), event.end) if gone else None
        except IdentityError as error:
            raise self._missing(error) from error
        return self._as(event, "fetch", record, values)

    def _tombstone(self, event: _Event) -> dict[str, Any]:
        try:
            return self._identity.tombstone(self._known(event), event.end)
        except IdentityError as error:
            raise self._missing(error) from error

    def _known(self, event: _Event) -> dict[str, Any]:
        """What an event says of a record that is gone."""
        route = self.route
        if route.record is not None:
            return taken(route.record, event.document)
        assert route.fetch is not None, "a route has a record or a fetch"
        return {
            name: _single(name, path, event.document) for name, path in route.fetch.values.items()
        }

    def _missing(self, error: IdentityError) -> RouteError:
        return RouteError(error.kind, self._pointer(error.field), str(error))

    def _pointer(self, field: str) -> str:
        """Where the value of a field should be in the event."""
        record, fetch = self.route.record, self.route.fetch
        if record is not None and record.path is not None:
            return f"{pointer(record.path)}/{_escaped(field)}"
        paths = record.members if record is not None else fetch.values if fetch else {}
        return pointer(paths[field]) if field in paths else ""

    def _as(
        self,
        event: _Event,
        action: Literal["upsert", "delete", "fetch"],
        record: dict[str, Any] | None,
        values: dict[str, Any] | None = None,
    ) -> Routed:
        return Routed(
            stream=self.route.stream,
            action=action,
            record=record,
            values=values or {},
            route=self.number,
            event_id=event.id,
            type=event.type,
            time=event.time,
        )


def taken(place: RecordPlace, document: Any) -> dict[str, Any]:
    """The record in an event; raises RouteError where there is no object."""
    if place.path is None:
        found = {name: path.get(document) for name, path in place.members.items()}
        return {name: value for name, value in found.items() if value is not UNSET}
    record = place.path.get(document)
    if not isinstance(record, dict):
        what = "there is nothing" if record is UNSET else "there is no object"
        kind = "missing_field" if record is UNSET else "bad_type"
        raise RouteError(kind, pointer(place.path), f"{what} at {place.path}")
    return record


def pointer(path: Path) -> str:
    """The JSON pointer of a path (RFC 6901), `*` for each."""
    steps = (step if isinstance(step, str | int) else "*" for step in path.steps)
    return "".join(f"/{_escaped(str(step))}" for step in steps)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _single(name: str, path: Path, document: Any) -> Any:
    value = path.get(document)
    if value is UNSET or value is None:
        raise RouteError("missing_field", pointer(path), f"there is no {name} at {path}")
    if isinstance(value, dict | list):
        raise RouteError("bad_type", pointer(path), f"the {name} at {path} is no single value")
    return value
