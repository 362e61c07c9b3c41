"""The feed of an API's event log: read in order from its watermark, as a stream's own list is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from tap_saas.client.pager import RestartPass, SkipPartition, walk
from tap_saas.client.sender import Where
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.events import EventLog
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.formats import read_instant
from tap_saas.errors import ApiError
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.landing import Item
from tap_saas.sync.passes import Pass
from tap_saas.sync.run import Run
from tap_saas.sync.shape import Seen

log = logging.getLogger(__name__)
AHEAD_BYTES = 64 * 2**20
MAX_RESTARTS = 3


class Came(msgspec.Struct, frozen=True):
    """Some items in order; `written` is called when their lines are on their way."""

    items: Sequence[Item]
    written: Callable[[], None]


class EventFeed:
    """Reads one event log."""

    def __init__(self, run: Run, name: str, log_form: EventLog, bookmark: Bookmark) -> None:
        self._run, self._name, self._form, self._bookmark = run, name, log_form, bookmark

    def gap(self) -> str | None:
        """Why the streams of the log need a full pass, another text after each further period of
        `retention`; `None` where they do not.
        """
        incremental = self._form.incremental
        watermark = None if incremental is None else self._bookmark.watermark(incremental)
        if incremental is None or incremental.retention is None or watermark is None:
            return None
        last = self._bookmark.data["last_success_ts"]
        # Where it was read to its end since then, nothing has happened between.
        read_to = watermark if last is None else max(watermark, read_instant(last))
        age = self._run.now() - read_to
        if age <= incremental.retention:
            return None
        periods = age // incremental.retention
        return f"the log {self._name} was read before its retention ({periods} times that ago)"

    def pages(self) -> Iterator[Came]:
        """The events since the watermark.

        Raises:
            ApiError: the API answers wrongly, or makes the pass begin again too often.
        """
        for _ in range(MAX_RESTARTS + 1):
            try:
                yield from self._once()
            except RestartPass as restart:
                log.warning("%s: %s; the pass begins again", self._name, restart)
                self._bookmark.restart()
            except SkipPartition as skip:
                log.warning("%s: skipped: %s", self._name, skip)
                return
            else:
                return
        raise ApiError(f"the API asked {MAX_RESTARTS + 1} times to begin again", stream=self._name)

    def _once(self) -> Iterator[Came]:
        run = Pass(
            stream=self._name,
            bookmark=self._bookmark,
            ask=self._ask,
            constant={},
            incremental=self._form.incremental,
            start_date=self._run.start_date,
            now=self._run.now,
            token_lives=self._form.pagination.token_lives,
        )
        for fed in run.pages():
            at = fed.page.response.received_at
            items = [Item(document=event, received_at=at) for event in fed.page.records]
            seen = self._seen(fed.page.records)
            yield Came(items, lambda fed=fed, seen=seen: fed.written(seen))  # type: ignore[misc]

    def _seen(self, events: Sequence[Any]) -> Seen:
        """The smallest and the largest replication key of the events that have one."""
        incremental = self._form.incremental
        if incremental is None or incremental.field is None:
            return Seen()
        read, keys = incremental.reader(), []
        for event in events:
            value = incremental.field.get(event)
            try:
                keys.append(read(value))
            except ValueError:
                continue
        return Seen(max_seen=max(keys), min_seen=min(keys)) if keys else Seen()

    def _ask(self, since: Any, until: Any, token: Any) -> Iterator[Page]:
        run, form, incremental = self._run, self._form, self._form.incremental
        bounds = {} if incremental is None else incremental.values(since, until)
        where = Where(stream=self._name)
        values = {**run.values, **bounds, "now": run.now()}
        values["token"] = run.client.token(form, where)
        request = form.build(values)
        if incremental is not None:
            request = incremental.bound(request, since, until)

        def decode(response: Response) -> Decoded:
            return Decoded(read_records(form.records, response), "dict")

        return walk(
            run.client,
            form,
            request,
            token=token,
            decode=decode,
            where=where,
            ahead_bytes=AHEAD_BYTES,
        )
