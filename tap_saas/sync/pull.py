"""The feed of a stream's own list: pull, full or incremental, partition by partition."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from tap_saas.client.client import Client, Where
from tap_saas.client.pager import RestartPass, SkipPartition, walk
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.model import Stream
from tap_saas.errors import StateError
from tap_saas.sync import tokens
from tap_saas.sync.bookmark import Bookmark, Walk, instant_text
from tap_saas.sync.children import MAX_UNFINISHED, Children
from tap_saas.sync.feeds import Fed
from tap_saas.sync.lanes import Lane, side_by_side
from tap_saas.sync.partitions import Context, Partitions, is_partitioned, parent_stream
from tap_saas.sync.passes import MAX_RESTARTS, Pass, too_many_restarts
from tap_saas.sync.skips import Skips
from tap_saas.sync.tokens import SyncTokenExpired

log = logging.getLogger(__name__)
Decode = Callable[[Response], Any]


class Pull(msgspec.Struct, kw_only=True):
    """What a pull needs from its surroundings.

    `decode` makes the records of this stream, `plain(stream)` those of a parent as JSON objects.
    `bookmark(context)` gives the live bookmark of a partition, or of the stream for `None`.
    `full` knows no replication key; `sweep` reads everything once and moves the watermark at its
    end. `is_swept` says that a full pass which the API asks for has to be a sweep. What is read
    before the pass began at `began`. At most `parallel` walks are under way at a time.
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
    began: datetime | None = None
    start_date: datetime | None = None
    full: bool = False
    sweep: bool = False
    is_swept: bool = False
    parallel: int = 1
    max_partitions: int = 5_000
    ahead_bytes: int = 64 * 2**20


class PullFeed:
    """Pulls one stream; a `Feed`."""

    name = "pull"

    def __init__(self, pull: Pull) -> None:
        self._p = pull
        self._skips = Skips(pull.stream.name)
        self._lock = threading.Lock()  # of the partitions that failed
        self._partitions = Partitions(pull.streams, pull.values, self._list)
        self.restarts = 0

    def pages(self) -> Generator[Fed]:
        """The pages of all partitions."""
        stream = self._p.stream
        if not is_partitioned(stream):
            yield from self._alone()
        elif self._has_one_bookmark:
            yield from self._children()
        else:
            yield from self._bookmarked()

    @property
    def skipped(self) -> int:
        """How many partitions were left out."""
        return self._skips.skipped

    @property
    def _incremental(self) -> Any:
        incremental = None if self._p.full else self._p.stream.incremental
        if incremental is None or not self._p.sweep:
            return incremental
        return msgspec.structs.replace(incremental, window=None, order="none")

    @property
    def _has_one_bookmark(self) -> bool:
        """True for children that need no bookmark a parent: read whole, or newer than `since`."""
        parent = parent_stream(self._p.stream)
        return parent is not None and (self._incremental is None or parent.since is not None)

    def _partition(self, context: Context, bookmark: Bookmark) -> Generator[Fed]:
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
                began=None if context else self._p.began,
                whole=self._p.sweep,
                parallel=1 if context else self._p.parallel,
                token_lives=self._p.stream.pagination.token_lives,
            )
            try:
                yield from run.pages()
            except RestartPass as restart:
                if tokens.has_expired(self._p.stream, restart.verdict):
                    self._forget_token(bookmark)
                    continue
                log.warning("%s: %s; the pass begins again", self._p.stream.name, restart)
                self.restarts += 1
                bookmark.restart()
            else:
                return
        raise too_many_restarts(self._p.stream.name)

    def _forget_token(self, bookmark: Bookmark) -> None:
        """Read everything, after the API has forgotten the sync token.

        Raises:
            SyncTokenExpired: as a sweep of the whole stream.
        """
        log.warning("%s: the API has forgotten the sync token: full pass", self._p.stream.name)
        if self._p.is_swept:
            raise SyncTokenExpired
        bookmark.move(self._incremental, None)
        bookmark.restart()

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
        yield from side_by_side(self._lanes(begun), self._p.parallel)
        if self._skips.whole_stream:
            return
        # All were asked: what failed has its own watermark, and holds up no other's next pass.
        whole.restart()
        self._skips.judge()
        whole.succeed(self._p.now())

    def _lanes(self, begun: Walk) -> Iterator[Lane]:
        for _, partitions in self._partitions.groups(self._p.stream):
            for partition in partitions:
                if self._skips.whole_stream:
                    return
                context = partition.context
                bookmark = self._p.bookmark(context)
                self._limit_partitions()
                if not bookmark.succeeded_since(begun.started_at):
                    yield self._lane(context, bookmark)

    def _lane(self, context: Context, bookmark: Bookmark) -> Lane:
        is_again = [context, None] in self._p.bookmark(None).data["unfinished"]

        def lane() -> Generator[Fed]:
            has_failed = False

            def left_out(failed: bool) -> None:
                nonlocal has_failed
                has_failed = failed
                self._note_failed(context, failed)

            pages = self._partition(context, bookmark)
            yield from self._skips.unless(_name(context), pages, left_out, is_again=is_again)
            self._note_failed(context, has_failed)

        return lane

    def _note_failed(self, context: Context, has_failed: bool) -> None:
        """Keep in mind which partitions failed, for the next run to judge them by themselves."""
        data = self._p.bookmark(None).data
        with self._lock:
            others = [one for one in data["unfinished"] if one != [context, None]]
            more = [[context, None]] if has_failed and len(others) < MAX_UNFINISHED else []
            data["unfinished"] = [*others, *more]

    def _limit_partitions(self) -> None:
        if self._p.partitions_kept() > self._p.max_partitions:
            raise StateError(
                f"more than {self._p.max_partitions:,} partitions, each with its own bookmark",
                stream=self._p.stream.name,
                do="say parents.since, or read the children whole (without incremental), or raise "
                "max_partitions",
            )

    def _children(self) -> Iterator[Fed]:
        """The children of all parents, with one bookmark."""
        form = parent_stream(self._p.stream)
        assert form is not None, "only children come here"
        children = Children(
            stream=self._p.stream,
            form=form,
            parent=self._p.streams[str(form.stream)],
            bookmark=self._p.bookmark(None),
            partitions=lambda fetch: Partitions(self._p.streams, self._p.values, fetch),
            list_parents=self._list,
            skips=self._skips,
            ask=lambda context, since, token: self._ask(
                self._p.stream, context, since, None, token
            ),
            now=self._p.now,
            incremental=self._incremental,
            start_date=self._p.start_date,
            sweep=self._p.sweep,
            parallel=self._p.parallel,
        )
        try:
            yield from children.pages()
        finally:
            self.restarts += children.restarts

    def _list(self, stream: Stream, context: Context, since: Any, token: Any) -> Iterator[Page]:
        """A parent's list, from `since` on."""
        return self._ask(stream, context, since, None, token, decode=self._p.plain(stream))

    def _ask(
        self,
        stream: Stream,
        context: Context,
        since: Any,
        until: Any,
        token: Any,
        decode: Decode | None = None,
    ) -> Iterator[Page]:
        incremental = stream.incremental
        bounds = {} if incremental is None else incremental.values(since, until)
        values = {**self._p.values, **context, **bounds, "now": self._p.now()}
        where = Where(
            stream=stream.name, partition=_name(context) if context else None, context=context
        )
        values["token"] = self._p.client.token(stream, where)
        request = stream.build(values)
        if incremental is not None:
            request = incremental.bound(request, since, until)
        is_whole = self._p.full or self._p.sweep or incremental is None
        return walk(
            self._p.client,
            tokens.watching(stream, since),
            request,
            token=token,
            decode=decode or self._p.decode,
            where=where,
            ahead_bytes=self._p.ahead_bytes // self._p.parallel,
            rereads_head=since is None and (is_whole or stream is not self._p.stream),
        )


def _name(context: Context) -> str:
    return json.dumps(context, separators=(",", ":"), default=str)
