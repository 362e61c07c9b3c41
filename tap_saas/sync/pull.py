"""The feed of a stream's own list: pull, full or incremental, partition by partition."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from tap_saas.client.client import Client, Where
from tap_saas.client.pager import RestartPass, SkipPartition, walk
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.model import Stream
from tap_saas.errors import ApiError, PageTokenExpiredError, StateError
from tap_saas.sync.bookmark import Bookmark, Walk, instant_text
from tap_saas.sync.feeds import Fed
from tap_saas.sync.partitions import (
    Context,
    Partitions,
    is_group,
    is_partitioned,
    parent_stream,
)
from tap_saas.sync.passes import FORGOTTEN, Pass
from tap_saas.sync.shape import Batch
from tap_saas.sync.skips import Skips

log = logging.getLogger(__name__)
MAX_RESTARTS = 3
Decode = Callable[[Response], Any]


class Pull(msgspec.Struct, kw_only=True):
    """What a pull needs from its surroundings.

    `decode` makes the records of this stream, `plain(stream)` those of a parent as JSON objects.
    `bookmark(context)` gives the live bookmark of a partition, or of the stream for `None`.
    """

    stream: Stream
    streams: Mapping[str, Stream]
    client: Client
    values: Mapping[str, Any]
    decode: Decode
    plain: Callable[[Stream], Decode]
    bookmark: Callable[[Context | None], Bookmark]
    partitions_kept: Callable[[], int]
    now: Callable[[], datetime]
    start_date: datetime | None = None
    full: bool = False
    max_partitions: int = 5_000
    ahead_bytes: int = 64 * 2**20


class PullFeed:
    """Pulls one stream; a `Feed`."""

    name = "pull"

    def __init__(self, pull: Pull) -> None:
        self._p = pull
        self._skips = Skips(pull.stream.name)
        self._partitions = Partitions(pull.streams, pull.values, self._list)
        self._went_on = False

    def pages(self) -> Generator[Fed]:
        """The pages of all partitions."""
        stream = self._p.stream
        if not is_partitioned(stream):
            yield from self._alone()
        elif self._incremental is None and parent_stream(stream) is not None:
            yield from self._children()
        else:
            yield from self._bookmarked()

    @property
    def _incremental(self) -> Any:
        return None if self._p.full else self._p.stream.incremental

    def _partition(self, context: Context, bookmark: Bookmark) -> Iterator[Fed]:
        """One partition with its own bookmark; `restart` verdicts begin the pass again."""
        for _ in range(MAX_RESTARTS + 1):
            run = Pass(
                stream=self._p.stream.name,
                bookmark=bookmark,
                ask=lambda since, until, token: self._ask(
                    self._p.stream, context, since, until, token
                ),
                constant=context,
                incremental=self._incremental,
                start_date=self._p.start_date,
                now=self._p.now,
            )
            try:
                yield from run.pages()
            except RestartPass as restart:
                log.warning("%s: %s; the pass begins again", self._p.stream.name, restart)
                bookmark.restart()
            else:
                return
        raise ApiError(
            f"the API asked {MAX_RESTARTS + 1} times to begin again", stream=self._p.stream.name
        )

    def _alone(self) -> Iterator[Fed]:
        """A stream that is one list."""
        self._skips.ask()
        try:
            yield from self._partition({}, self._p.bookmark(None))
        except SkipPartition as skip:
            self._skips.note(None, skip)
        self._skips.judge()

    def _bookmarked(self) -> Iterator[Fed]:
        """Partitions with a bookmark each; those done since the pass began are not read again."""
        whole = self._p.bookmark(None)
        begun = whole.walk or Walk(started_at=instant_text(self._p.now()))
        whole.keep_walk(begun)
        for _, contexts in self._partitions.groups(self._p.stream):
            for context in contexts:
                bookmark = self._p.bookmark(context)
                self._limit_partitions()
                if bookmark.succeeded_since(begun.started_at):
                    continue
                yield from self._unless_skipped(context, self._partition(context, bookmark))
                if self._skips.whole_stream:
                    return
        self._skips.judge()
        whole.succeed(self._p.now())

    def _unless_skipped(self, context: Context, pages: Iterator[Fed]) -> Iterator[Fed]:
        self._skips.ask()
        try:
            yield from pages
        except SkipPartition as skip:
            self._skips.note(_name(context), skip)

    def _limit_partitions(self) -> None:
        if self._p.partitions_kept() > self._p.max_partitions:
            raise StateError(
                f"more than {self._p.max_partitions:,} partitions, each with its own bookmark",
                stream=self._p.stream.name,
                do="read the children whole (without incremental), or raise max_partitions",
            )

    def _children(self) -> Iterator[Fed]:
        """Children that are read whole; a forgotten page token starts the pass again."""
        bookmark = self._p.bookmark(None)
        resumed = bookmark.walk is not None
        try:
            yield from self._children_from(bookmark)
        except (ApiError, PageTokenExpiredError) as error:
            expired = isinstance(error, PageTokenExpiredError) or error.status in FORGOTTEN
            if not (resumed and expired) or self._went_on:
                raise
            log.warning("%s: %s; the pass begins again", self._p.stream.name, error.what)
            bookmark.restart()
            yield from self._children_from(bookmark)

    def _children_from(self, bookmark: Bookmark) -> Iterator[Fed]:
        """One bookmark says which parents of which page are done, and the page of a child."""
        place = bookmark.walk or Walk(started_at=instant_text(self._p.now()))
        if place.page_token is not None and not is_group(place.page_token):
            raise StateError(
                "resume cannot be read (its page token names no parent)",
                stream=self._p.stream.name,
                do="mend the state, or run with a full refresh",
            )
        group, inner, token = place.page_token or [None, None, None]
        for found, contexts in self._partitions.groups(self._p.stream, group):
            if found != group:
                place.keys, inner, token, group = [], None, None, found
            for context in contexts:
                if context in place.keys:
                    continue
                first = token if context == inner else None
                place.page_token = [group, context, first]
                yield from self._unless_skipped(context, self._child(context, place, bookmark))
                if self._skips.whole_stream:
                    return
                if context not in place.keys:
                    _note_done(place, context)
                    bookmark.keep_walk(place)
        self._skips.judge()
        bookmark.succeed(self._p.now())

    def _child(self, context: Context, place: Walk, bookmark: Bookmark) -> Iterator[Fed]:
        """One parent's children; the parent is done as soon as their last page is written."""
        group, _, token = place.page_token
        for page in self._ask(self._p.stream, context, None, None, token):
            self._went_on = True

            def written(batch: Batch, page: Page = page) -> None:
                place.page_token = [group, context, page.next_token]
                if page.next_token is None:
                    _note_done(place, context)
                bookmark.keep_walk(place)

            yield Fed(page=page, constant=context, written=written)

    def _list(self, stream: Stream, context: Context, token: Any) -> Iterator[Page]:
        """A parent's whole list."""
        return self._ask(stream, context, None, None, token, decode=self._p.plain(stream))

    def _ask(
        self,
        stream: Stream,
        context: Context,
        since: Any,
        until: Any,
        token: Any,
        decode: Decode | None = None,
    ) -> Iterator[Page]:
        incremental = stream.incremental if stream is self._p.stream else None
        bounds = {} if incremental is None else incremental.values(since, until)
        values = {**self._p.values, **context, **bounds, "now": self._p.now()}
        where = Where(
            stream=stream.name, partition=_name(context) if context else None, context=context
        )
        values["token"] = self._p.client.token(stream, where)
        request = stream.build(values)
        if incremental is not None:
            request = incremental.bound(request, since, until)
        return walk(
            self._p.client,
            stream,
            request,
            token=token,
            decode=decode or self._p.decode,
            where=where,
            ahead_bytes=self._p.ahead_bytes,
        )


def _note_done(place: Walk, context: Context) -> None:
    """All children of the parent with this context are written."""
    place.keys = [*place.keys, context]
    place.page_token = [place.page_token[0], None, None]


def _name(context: Context) -> str:
    return json.dumps(context, separators=(",", ":"), default=str)
