"""Arrivals for tests, and what a consumer does with a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tap_saas.queues.base import Arrival, Event, Place, Queue

Opener = Callable[..., Queue]

SOURCE = "acme/main"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def arrival(event_id: str | None, **more: Any) -> Arrival:
    """A small request."""
    values = {"source": SOURCE, "received_at": NOON, "body": f'{{"id":"{event_id}"}}'.encode()}
    return Arrival(event_id=event_id, **{**values, **more})


def arrivals(first: int, last: int, **more: Any) -> list[Arrival]:
    """Requests with the ids `first` to `last`."""
    return [arrival(str(number), **more) for number in range(first, last + 1)]


def walk(queue: Queue, source: str = SOURCE, after: int = 0, **page: int) -> Iterator[Event]:
    """All events behind an offset, page by page."""
    while events := queue.read(source, after, **page):
        yield from events
        after = events[-1].offset


def ids(queue: Queue, source: str = SOURCE, after: int = 0) -> list[str | None]:
    """The ids of all events behind an offset."""
    return [event.event_id for event in walk(queue, source, after)]


def place(queue: Queue, event: Event) -> Place:
    """The place of a consumer that has all up to this event."""
    return Place(queue.epoch, event.offset, event.mark)


def place_of(queue: Queue, event_id: str) -> Place:
    """The same for the event with an id."""
    return place(queue, next(e for e in walk(queue) if e.event_id == event_id))
