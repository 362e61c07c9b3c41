"""A run without the network: the runtime's own feed over an imagined API."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from tap_saas.authoring.explain.imagined import Asked, ImaginedApi, Lists
from tap_saas.authoring.explain.subject import Subject, token_fields
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.model import Stream
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.columns import Columns
from tap_saas.sync.discovery import plain_decode
from tap_saas.sync.feeds import Fed
from tap_saas.sync.pull import Pull, PullFeed
from tap_saas.sync.shape import Batch

Data = dict[str, Any]


class Checkpoint:
    """What STATE holds of one stream; `data` is its bookmark, with those of its partitions."""

    def __init__(self, stream: str, data: Data | None = None) -> None:
        self._stream = stream
        self.data: Data = {} if data is None else copy.deepcopy(data)

    def bookmark(self, context: Mapping[str, Any] | None) -> Bookmark:
        """The live bookmark of a partition, of the stream for None."""
        if not context:
            return Bookmark(self.data, self._stream)
        partitions: list[Data] = self.data.setdefault("partitions", [])
        for entry in partitions:
            if entry["context"] == context:
                return Bookmark(entry, self._stream)
        partitions.append({"context": dict(context)})
        return Bookmark(partitions[-1], self._stream)

    @property
    def shown(self) -> Data:
        """The bookmark as people read it: without what is empty."""
        return _filled(self.data)  # type: ignore[no-any-return]


class Rehearsal:
    """One stream's pass, as a run makes it, with these lists on the other side."""

    def __init__(
        self, subject: Subject, stream: Stream, lists: Mapping[str, Lists], page_size: int
    ) -> None:
        self._subject, self._stream = subject, stream
        self._lists, self._page_size = lists, page_size

    def run(
        self,
        checkpoint: Checkpoint,
        now: datetime,
        *,
        start_date: datetime | None = None,
        pages: int | None = None,
        full: bool = False,
    ) -> list[Asked]:
        """The requests of the pass, up to so many pages of the stream; moves the checkpoint."""
        api = ImaginedApi(self._subject.connector, self._lists, now, self._page_size)
        api.fields = token_fields(self._stream)
        stream = uncapped(self._stream)
        others = {name: uncapped(one) for name, one in self._subject.connector.streams.items()}
        feed = PullFeed(
            Pull(
                stream=stream,
                streams={**others, stream.name: stream},
                client=api,
                values=self._subject.values,
                decode=plain_decode(stream),
                plain=plain_decode,
                bookmark=checkpoint.bookmark,
                partitions_kept=lambda: 0,
                now=lambda: now,
                start_date=start_date,
                full=full,
            )
        )
        incremental = None if full else self._stream.incremental
        with _quiet(), contextlib.closing(feed.pages()) as fed:
            for page in islice(fed, pages):
                page.written(_batch(page, incremental))
        return api.asked


def _batch(fed: Fed, incremental: Incremental | None) -> Batch:
    """What writing a page would have told the bookmark."""
    keys = []
    field = incremental.field if incremental else None
    if incremental is not None and field is not None:
        keys = [incremental.read(field.get(record)) for record in fed.page.records]
    return Batch(
        rows=[],
        rejects=[],
        columns=Columns(()),
        received=fed.page.received,
        max_seen=max(keys, default=None),
        min_seen=min(keys, default=None),
    )


def alone(stream: Stream) -> Stream:
    """The same stream as one list: its partitions taken away."""
    return msgspec.structs.replace(stream, parents=[], for_each=None)


def uncapped(stream: Stream) -> Stream:
    """The same stream on an API that shows the whole of a list: its pages are as many."""
    pagination = msgspec.structs.replace(stream.pagination, cap=None)
    return msgspec.structs.replace(stream, pagination=pagination)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No line of the log: nothing of this happens."""
    logger = logging.getLogger("tap_saas")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: _SHOWN.index(name) if name in _SHOWN else 2)
        members = {name: _filled(value[name]) for name in names}
        return {n: v for n, v in members.items() if n in _SHOWN or v not in (None, [], {})}
    return [_filled(inner) for inner in value] if isinstance(value, list) else value


_SHOWN = ("last_cursor", "last_success_ts")
