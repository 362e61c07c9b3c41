"""The sources of a run: event logs and webhook queues, each read after the pull of the streams."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tap_saas.client.stores import StoreLostError
from tap_saas.connector.events import EventLog
from tap_saas.connector.router import Router
from tap_saas.connector.webhook import WebhookSource
from tap_saas.errors import TapSaasError
from tap_saas.queues import DEFAULT_NAME, open_queue
from tap_saas.queues.base import Queue
from tap_saas.sync import rejects, sdk
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.course import Course, follow
from tap_saas.sync.details import Details, keep_pending, read_pending
from tap_saas.sync.event_feed import Came, EventFeed
from tap_saas.sync.landing import Landing
from tap_saas.sync.ledgers import RUNS, LedgerStream
from tap_saas.sync.queue_feed import QueueFeed
from tap_saas.sync.run import Run
from tap_saas.sync.stream import SaasStream

if TYPE_CHECKING:
    from singer_sdk import Tap

log = logging.getLogger(__name__)


class Sources:
    """All sources that the feeds of this run name."""

    def __init__(self, tap: Tap, run: Run) -> None:
        self._tap, self._run = tap, run
        self._queue: Queue | None = None
        streams = tap.streams.values()
        self._streams = {s.name: s for s in streams if isinstance(s, SaasStream) and s.selected}
        self._ledgers = {s.name: s for s in streams if isinstance(s, LedgerStream)}
        self._sources: list[Source] = []

    def open(self) -> None:
        """Look at the bookmarks of all sources, before the streams are pulled.

        A stream whose source has a gap is due for a full pass. A source that cannot be read is a
        failure of the run, which does not stop the others.
        """
        connector, feeds = self._run.connector, self._run.feeds
        if "events" in feeds:
            for name, form in connector.events.items():
                with self._told():
                    mark = self._bookmark(f"events.{name}")
                    feed = EventFeed(self._run, f"events.{name}", form, mark)
                    self._add(f"events.{name}", form, mark, feed)
        if "webhooks" in feeds and connector.webhooks:
            with self._told():
                self._open_queue(connector.webhooks)

    def _open_queue(self, webhooks: Mapping[str, WebhookSource]) -> None:
        given = self._run.config.get("queue")
        url = given or str(self._run.home / DEFAULT_NAME)
        if given is None and not Path(url).exists():
            log.info("no queue at %s: no webhook has been received yet", url)
            return
        queue = self._queue = open_queue(url, write=False)
        consumer = self._run.config.get("consumer", "main")
        for name, form in webhooks.items():
            mark = self._bookmark(f"webhooks.{name}")
            source = f"{self._run.connector.name}/{name}"
            with self._told():
                feed = QueueFeed(queue, source, mark, consumer)
                feed.acknowledge()
                self._add(f"webhooks.{name}", form, mark, feed)

    def _bookmark(self, name: str) -> Bookmark:
        state = sdk.live_state(self._tap)
        return Bookmark(state.setdefault("bookmarks", {}).setdefault(name, {}), name)

    def _add(
        self,
        name: str,
        form: EventLog | WebhookSource,
        bookmark: Bookmark,
        feed: EventFeed | QueueFeed,
    ) -> None:
        streams = {
            route.stream: self._streams[route.stream]
            for route in form.routes
            if route.stream in self._streams
        }
        self._tell_gap(bookmark, feed.gap(), streams)
        self._sources.append(Source(self._tap, self._run, name, form, bookmark, feed, streams))

    @staticmethod
    def _tell_gap(bookmark: Bookmark, gap: str | None, streams: Mapping[str, SaasStream]) -> None:
        """Let the streams know of a gap, each gap once: it is there until something new is read."""
        told = [] if gap is None else [gap]
        if told and bookmark.data["due"] != told:
            log.warning("%s; a full pass of %s follows", gap, ", ".join(streams))
            for stream in streams.values():
                Bookmark(stream.stream_state, stream.name).data["due"] = [*told]
        bookmark.data["due"] = told

    def sync(self) -> None:
        """Read all sources; a failure is told and does not stop the others."""
        for source in self._sources:
            if self._run.planned_end is not None:
                return
            with self._told():
                source.sync()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A failure is told, kept for the end of the run, and stops nothing else.

        Raises:
            StoreLostError: without budgets nothing goes on.
        """
        try:
            yield
        except StoreLostError:
            raise
        except TapSaasError as error:
            log.error("%s", error)
            self._run.failures.append(error)

    def close(self) -> None:
        """Let go of the queue."""
        if self._queue is not None:
            self._queue.close()


class Source:
    """One event log or webhook source, and the streams that it feeds."""

    def __init__(
        self,
        tap: Tap,
        run: Run,
        name: str,
        form: EventLog | WebhookSource,
        bookmark: Bookmark,
        feed: EventFeed | QueueFeed,
        streams: Mapping[str, SaasStream],
    ) -> None:
        self._run, self._name, self._form = run, name, form
        self._bookmark, self._feed, self._streams = bookmark, feed, streams
        self._course = Course(tap, run, name)
        self._ledgers = {s.name: s for s in tap.streams.values() if isinstance(s, LedgerStream)}
        self._landing = self._make_landing()

    def _make_landing(self) -> Landing:
        forms = {name: stream.form for name, stream in self._streams.items()}
        kinds = {
            name: {c.name: c.kind for c in stream.columns.by_name.values()}
            for name, stream in self._streams.items()
        }
        fetches = {n: r.fetch for n, r in enumerate(self._form.routes) if r.fetch is not None}
        details = Details(self._run, fetches, forms)
        router = Router(self._form, forms, kinds)
        ledger = self._ledgers.get(rejects.STREAM)
        return Landing(self._run, self._name, router, details, self._streams, ledger)

    def sync(self) -> None:
        """Read what has come since the bookmark; raises as `follow` does."""
        if self._streams:
            follow(self._run, self._name, self._drain, self._end)

    def _drain(self) -> None:
        self._run.report.moved(
            self._name, watermark_from=self._bookmark.data["replication_key_value"]
        )
        is_idle = True
        for came in self._feed.pages():
            self._land(came)
            is_idle = False
        if is_idle and self._bookmark.data["pending"]:
            self._land(Came([], lambda: None))

    def _land(self, came: Came) -> None:
        """Some items all the way: nothing is noted before it is written.

        Raises:
            ApiError: too much waits, or the API is down: the rest is read later.
        """
        pending = read_pending(self._bookmark.data["pending"], self._name)
        landed = self._landing.land(came.items, pending)
        self._course.write(landed.chunk)
        self._landing.note(landed)
        self._bookmark.data["pending"] = keep_pending(landed.pending)
        came.written()
        for stream in self._streams.values():
            stream.output.ledger.judge()
        if landed.outage is not None:
            raise landed.outage
        self._course.pause()

    def _end(self) -> None:
        """The rows of `_runs` that have changed, then STATE."""
        self._landing.tell()
        data = self._bookmark.data
        self._run.report.moved(
            self._name,
            watermark_to=data["replication_key_value"],
            last_cursor=data["queue"][1:2] or data["last_cursor"],
        )
        ledger = self._ledgers.get(RUNS)
        if ledger is not None:
            names = {self._name, *self._streams}
            rows = [row for row in self._run.report.rows() if row["stream"] in names]
            self._course.write(ledger.lines(rows, instant_text(self._run.now())))
        self._course.say()
