"""What event logs and webhooks bring to a stream, besides its own pull."""

from __future__ import annotations

from collections.abc import Iterator

from tap_saas.authoring.explain import words
from tap_saas.connector.events import EventLog
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.routes import Route


def pushed(connector: Connector, stream: Stream) -> list[str]:
    """The sentences about one stream's events; none where nothing feeds it."""
    found = []
    for name, log in connector.events.items():
        if routes := _of(log.routes, stream):
            found += [f"event log {name}: {_asked(log)}", *_brought(routes)]
    for name, source in connector.webhooks.items():
        if routes := _of(source.routes, stream):
            found += [
                f"webhooks {name}: POST /webhooks/{connector.name}/{name}, stored by `saasctl "
                "webhooks serve` and read by a run with the feed `webhooks`",
                *_brought(routes),
            ]
    if found:
        found.append("requests for event logs and for records of events are not counted below")
    return found


def _of(routes: list[Route], stream: Stream) -> list[Route]:
    return [route for route in routes if route.stream == stream.name]


def _asked(log: EventLog) -> str:
    """How a log is read."""
    text = f"{words.asked(log)}, in order"
    if log.every is not None:
        text += f", every {words.duration(log.every)}"
    found = log.incremental
    if found is None:
        return f"{text}; each run reads the whole log (`incremental` reads what is new)"
    text += "; each run reads on from its own watermark"
    if found.retention is not None:
        kept = words.duration(found.retention)
        text += f", and one older than {kept} (retention) means a full pass of this stream"
    return text


def _brought(routes: list[Route]) -> Iterator[str]:
    """What each route brings."""
    for route in routes:
        types = f"events {words.listed(map(str, route.types))}" if route.types else "all events"
        fetch = route.fetch
        if fetch is None:
            text = f"the record is at {route.record or '$'}"
        else:
            each = f"{fetch.batch} events" if fetch.batch else "event"
            text = f"{words.asked(fetch)} asks for the record, once for each {each}"
            if fetch.gone:
                text += f"; {', '.join(map(str, fetch.gone))}: it is gone"
        if route.deleted is True:
            text += "; each says that it is gone"
        elif route.deleted:
            text += f"; {words.listed(map(str, route.deleted))}: it is gone"
        yield f"{types}: {text}"
