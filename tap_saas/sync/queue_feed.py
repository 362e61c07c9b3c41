"""The feed of a webhook source: the queue read as a log, from the bookmark on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from tap_saas.connector.exchange import Document
from tap_saas.connector.jsonpath import Path
from tap_saas.errors import StateError
from tap_saas.queues.base import Event, Place, Queue, Start
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.details import read_pending
from tap_saas.sync.event_feed import Came
from tap_saas.sync.landing import Item

FORM = "application/x-www-form-urlencoded"
_WHOLE = Path.parse("$")
log = logging.getLogger(__name__)


class _Mark(msgspec.Struct, array_like=True):
    """The bookmark's `queue`: which event of which history this consumer has, and who it is."""

    epoch: str
    offset: int
    mark: str
    consumer: str


class QueueFeed:
    """Reads one source of a queue for one consumer; `source` is `<connector>/<source>`."""

    def __init__(self, queue: Queue, source: str, bookmark: Bookmark, consumer: str) -> None:
        self._queue, self._source = queue, source
        self._bookmark, self._consumer = bookmark, consumer
        self._place = self._read_place()
        self._start: Start = queue.start(source, self._place)

    def _read_place(self) -> Place | None:
        found = self._bookmark.data["queue"]
        if not found:
            return None
        try:
            mark = msgspec.convert(found, _Mark)
        except msgspec.ValidationError as error:
            raise StateError(
                f"queue cannot be read ({error})", stream=self._source, do="mend the state"
            ) from error
        if mark.consumer != self._consumer:
            raise StateError(
                f"the state is that of the consumer {mark.consumer}, this one is {self._consumer}",
                stream=self._source,
                do="give each consumer a state of its own, or set `consumer`",
            )
        return Place(mark.epoch, mark.offset, mark.mark)

    def gap(self) -> str | None:
        """Why the streams of the source need a full pass, a text of its own for each such case;
        `None` where they do not.
        """
        if not self._start.gap or self._place is None:
            return None
        why = f"{self._start.why}; this is the queue {self._queue.epoch[:8]}"
        return f"the queue no longer has all events of {self._source} ({why})"

    def acknowledge(self) -> None:
        """Tell the queue what the state that this run was started with proves written."""
        if self._place is None or not self._start.known:
            return
        pending = read_pending(self._bookmark.data["pending"], self._source)
        offsets = [want.offset for want in pending if want.offset is not None]
        self._queue.acknowledge(
            self._source, self._consumer, self._place, below=min(offsets, default=None)
        )

    def pages(self) -> Iterator[Came]:
        """The events behind the bookmark, a bounded number at a time."""
        after = self._start.after
        while events := self._queue.read(self._source, after):
            yield Came([_item(event) for event in events], self._written(events))
            after = events[-1].offset

    def _written(self, events: Sequence[Event]) -> Any:
        last = events[-1]
        mark = _Mark(self._queue.epoch, last.offset, last.mark, self._consumer)

        def written() -> None:
            self._bookmark.data["queue"] = msgspec.to_builtins(mark)

        return written


def _item(event: Event) -> Item:
    error: str | None = None
    try:
        if event.headers.get("content-type", "").startswith(FORM):
            document: Any = dict(reversed(parse_qsl(event.body.decode(), keep_blank_values=True)))
        else:
            document = Document(event.body).exact(_WHOLE)
    except ValueError:
        document, error = event.body.decode("utf-8", "replace"), "the body is no JSON"
    return Item(
        document=document,
        headers=event.headers,
        received_at=event.received_at,
        offset=event.offset,
        error=error,
    )
