"""One pass over one partition: full, incremental, or by windows; resumed where it was left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tap_saas.client.capped import OverCapError
from tap_saas.client.spot import Spot
from tap_saas.connector import formats
from tap_saas.connector.exchange import Page
from tap_saas.connector.incremental import Incremental, Interval, merge
from tap_saas.errors import ApiError, ConfigError, PageTokenExpiredError, StateError
from tap_saas.sync import capped, tokens
from tap_saas.sync.bookmark import Bookmark, Walk, instant_text
from tap_saas.sync.feeds import Fed
from tap_saas.sync.lanes import Lane, side_by_side
from tap_saas.sync.shape import Seen

log = logging.getLogger(__name__)
MAX_RESTARTS = 3
FORGOTTEN = (400, 404, 410, 422)  # what APIs answer to a page token that they no longer know

Ask = Callable[[Any, Any, Any], Iterator[Page]]
"""(since, until, page token) -> pages of the list between these bounds."""
End = Callable[[Page | None], None]
"""Notes that a walk is complete: called when its last page is written, with that page."""


class Pass(msgspec.Struct, kw_only=True):
    """What a pass needs: the bookmark it moves, how to ask for pages, the partition's columns.

    `whole` reads the list from its beginning, whatever the watermark says. It begins at `began`,
    where something was read for it before: the watermark must cover that too. At most `parallel`
    windows are read at a time; `flying` are those that are under way. A page token is not asked
    for when it is older than `token_lives`.
    """

    stream: str
    bookmark: Bookmark
    ask: Ask
    constant: Mapping[str, Any]
    incremental: Incremental | None
    start_date: datetime | None
    now: Callable[[], datetime]
    began: datetime | None = None
    whole: bool = False
    parallel: int = 1
    token_lives: timedelta | None = None
    lowest: Any = None  # smallest key so far of a list that is read newest first
    flying: dict[str, Walk] = msgspec.field(default_factory=dict)
    earliest: datetime | None = None  # start of the pass, as pages of its windows dated it
    failures: list[ApiError] = msgspec.field(default_factory=list)
    lock: Any = msgspec.field(default_factory=threading.RLock)  # of the windows' bookmark

    def pages(self) -> Iterator[Fed]:
        """The pages of the pass; once all are taken and written, the bookmark is complete."""
        walk = self._begin()
        if self.incremental is None:
            yield from self._walk(walk, None, None, lambda _: self._succeed())
        elif self.incremental.window is None:
            yield from self._incremental(self.incremental, walk)
        else:
            yield from self._windows(self.incremental, walk)
        self._succeed()

    def _succeed(self) -> None:
        self.bookmark.succeed(self.now())

    def _begin(self) -> Walk:
        """The walk that was left in flight, or a new one with its bounds frozen."""
        walk = self.bookmark.walk
        if walk is not None and not (self.whole and walk.since is not None):
            self._check(walk)
            log.info("%s: going on with the pass of %s", self.stream, walk.started_at)
            return walk
        now = self.began or self.now()
        walk = Walk(started_at=instant_text(now))
        incremental = self.incremental
        if incremental is None or self.whole:
            return walk
        watermark = self.bookmark.watermark(incremental)
        if watermark is not None and incremental.expired(watermark, now):
            log.warning("%s: the watermark is older than `retention`: full pass", self.stream)
            watermark = None
        since = incremental.since(watermark, self.start_date)
        walk.since = None if since is None else incremental.store(since)
        if incremental.end is not None or incremental.window is not None:
            walk.until = incremental.store(now) if incremental.kind == "instant" else None
        return walk

    def _check(self, walk: Walk) -> None:
        """Refuse a walk of another kind of replication key."""
        incremental = self.incremental
        if incremental is None:
            return
        try:
            for value in (walk.since, walk.until, walk.max_seen, walk.before, walk.moved):
                if value is not None:
                    incremental.restore(value)
            self.bookmark.windows_done(incremental)
        except (ValueError, TypeError) as error:
            raise StateError(
                f"resume cannot be read ({error})",
                stream=self.stream,
                do="mend the state, or run with a full refresh",
            ) from error

    def _incremental(self, incremental: Incremental, walk: Walk) -> Iterator[Fed]:
        since = None if walk.since is None else incremental.restore(walk.since)
        until = None if walk.until is None else incremental.restore(walk.until)

        def end(page: Page | None) -> None:
            if incremental.sync_token is not None:
                tokens.note(self.stream, self.bookmark, incremental, page)
            elif walk.max_seen is not None:
                started = formats.read_instant(walk.started_at)
                self._move(incremental, incremental.restore(walk.max_seen), started)
            self._succeed()

        yield from self._walk(walk, since, until, end)

    def _move(self, incremental: Incremental, seen: Any, started: datetime) -> None:
        """Set the watermark to what the pass has seen, never back."""
        before = self.bookmark.watermark(incremental)
        watermark = incremental.cap(seen, started)
        if before is None or watermark > before:
            self.bookmark.move(incremental, watermark)

    def _windows(self, incremental: Incremental, walk: Walk) -> Iterator[Fed]:
        if walk.since is None or walk.until is None:
            raise ConfigError(
                "windows need a place to begin",
                stream=self.stream,
                do="set start_date, or incremental.first in the connector",
            )
        since, until = incremental.restore(walk.since), incremental.restore(walk.until)
        bounds = msgspec.structs.replace(walk, window=[], page_token=None, max_seen=None)
        flying = {str(one.window): one for one in self.bookmark.walks if one.window}
        self.flying = {"": bounds, **flying}

        def lanes() -> Iterator[Lane]:
            for window in incremental.windows(since, until):
                if not self._is_done(incremental, window):
                    yield lambda window=window: self._window(incremental, window, since)  # type: ignore[misc]

        yield from side_by_side(lanes(), self.parallel)
        if self.failures:
            self._leave(incremental, until)
            raise self.failures[0]

    def _leave(self, incremental: Incremental, until: Any) -> None:
        """The pass is over though some windows failed: the next one asks for them and what is new.

        What is done stays done, but for what may have come late (`lag`).
        """
        started = self.earliest or formats.read_instant(self.flying[""].started_at)
        sure: Any = incremental.cap(until, started)
        done = [(a, min(b, sure)) for a, b in self.bookmark.windows_done(incremental) if a < sure]
        self.bookmark.keep_walks([])
        self.bookmark.keep_windows(incremental, done)

    def _window(self, incremental: Incremental, window: Interval, since: Any) -> Generator[Fed]:
        """One window, in halves of halves where the API does not show all of it."""
        parts = [window]
        while parts:
            part = parts.pop(0)
            if self._is_done(incremental, part):
                continue
            try:
                yield from self._part(incremental, part, since)
            except OverCapError as over:
                with self.lock:
                    self.flying.pop(_name(incremental, part), None)
                try:
                    parts[:0] = capped.halves(incremental, part, over)
                except ApiError as error:
                    # The other windows are read, the watermark stays before this one.
                    self.failures.append(error)

    def _part(self, incremental: Incremental, window: Interval, since: Any) -> Generator[Fed]:
        """One list; the watermark moves to the end of those that are done without a gap."""
        name = _name(incremental, window)
        bounds = [incremental.store(window[0]), incremental.store(window[1])]
        new = msgspec.structs.replace(self.flying[""], window=bounds, since=bounds[0])
        with self.lock:
            walk = self.flying.setdefault(name, new)

        def end(_: Page | None) -> None:
            with self.lock:
                # As its first page dated it: the API's clock may be behind ours.
                started = formats.read_instant(walk.started_at)
                self.earliest = min(self.earliest or started, started)
                done = self.bookmark.window_done(incremental, since, window)
                self._move(incremental, done, self.earliest)
                self.flying.pop(name, None)
                self.keep(walk)

        begin = max(incremental.restore(walk.since), window[0])
        yield from self._walk(walk, begin, window[1], end)

    def keep(self, walk: Walk) -> None:
        """Note where the walk is."""
        if not walk.window:
            self.bookmark.keep_walk(walk)
            return
        with self.lock:
            self.bookmark.keep_walks(list(self.flying.values()))

    def _is_done(self, incremental: Incremental, window: Interval) -> bool:
        done = self.bookmark.windows_done(incremental)
        return merge([*done, window]) == done

    def _walk(self, walk: Walk, since: Any, until: Any, end: End) -> Iterator[Fed]:
        """The pages of one walk, and of what follows it where the API shows only a part."""
        if self._is_old(walk):
            log.info("%s: the page token is older than `token_lives`", self.stream)
        if self._is_old(walk) or walk.page_token == Spot().kept:  # a place that could not be kept
            since = self._begin_again(walk, since)
        while True:
            try:
                yield from self._from_token(walk, since, until, end)
            except OverCapError as over:
                since = capped.behind(self.incremental, walk, since, over)
            else:
                return

    def _is_old(self, walk: Walk) -> bool:
        if walk.page_token is None or self.token_lives is None:
            return False
        told_at = formats.read_instant(walk.token_at or walk.started_at)
        return self.now() - told_at > self.token_lives

    def _begin_again(self, walk: Walk, since: Any) -> Any:
        """From where on a walk is read again whose page token is of no use."""
        walk.page_token = None
        incremental = self.incremental
        if incremental is None or incremental.order != "asc" or walk.demoted:
            return since
        if walk.max_seen is None:
            return since
        # The tokens to come are those of this list, not of the one that the walk began with.
        walk.since = walk.max_seen
        return incremental.restore(walk.max_seen)

    def _from_token(self, walk: Walk, since: Any, until: Any, end: End) -> Iterator[Fed]:
        """The pages of one list; a page token that the API has forgotten starts it again, once."""
        resumed = walk.page_token is not None
        try:
            yield from self._pages(walk, since, until, end)
        except PageTokenExpiredError as error:
            if not resumed:
                raise ApiError(error.what, stream=self.stream) from error
            log.warning("%s: %s; the pass begins again", self.stream, error.what)
            since = self._begin_again(walk, since)
            yield from self._pages(walk, since, until, end)

    def _pages(self, walk: Walk, since: Any, until: Any, end: End) -> Iterator[Fed]:
        resumed = walk.page_token is not None
        pages = self.ask(since, until, walk.page_token)
        try:
            page = next(pages, None)
        except ApiError as error:
            if resumed and error.status in FORGOTTEN:
                raise PageTokenExpiredError(
                    f"the API has forgotten the page token ({error.what})"
                ) from error
            raise
        last: Page | None = None
        while page is not None:
            if last is None and not resumed:
                walk.begun_by(page.response)
            last = page
            note = _Note(self, walk, page, since, end)
            yield Fed(page=page, constant=self.constant, written=note.written, since=since)
            if note.is_last:
                return
            page = next(pages, None)
        end(last)


class _Note:
    """What the bookmark learns when a page is written."""

    def __init__(self, of: Pass, walk: Walk, page: Page, since: Any, end: End) -> None:
        self._pass, self._walk, self._page, self._since = of, walk, page, since
        self._end = end
        self.is_last = page.next_token is None

    def written(self, page: Seen) -> None:
        """The page is on its way: note where the next one starts, or that there is none, and how
        far the watermark may move.
        """
        walk, incremental = self._walk, self._pass.incremental
        walk.page_token = self._page.next_token
        walk.token_at = instant_text(self._page.response.received_at)
        if incremental is not None and page.max_seen is not None:
            self._note_keys(incremental, page)
        self._pass.keep(walk)
        if self.is_last:
            self._end(self._page)

    def _note_keys(self, incremental: Incremental, page: Seen) -> None:
        walk = self._walk
        seen = None if walk.max_seen is None else incremental.restore(walk.max_seen)
        seen = page.max_seen if seen is None else max(seen, page.max_seen)
        walk.max_seen = incremental.store(seen)
        if incremental.window is not None:
            return
        if incremental.order == "asc":
            self._note_ascending(incremental, page, seen)
        elif incremental.order == "desc" and self._since is not None and incremental.start is None:
            self._note_descending(incremental, page)

    def _note_descending(self, incremental: Incremental, page: Seen) -> None:
        """Newest first without a filter: what is before `since` was read by an earlier pass.

        An API that does not keep its order has newer records behind older ones: the whole list is
        read then.
        """
        walk, lowest = self._walk, self._pass.lowest
        is_after = lowest is not None and not self._page.is_again
        if is_after and page.max_seen > lowest and not walk.demoted:
            log.warning(
                "%s: records do not come in descending order of %s; the whole list is read "
                "(say order: none)", self._pass.stream, incremental.column,
            )  # fmt: skip
            walk.demoted = True
        self._pass.lowest = page.min_seen if lowest is None else min(lowest, page.min_seen)
        if page.max_seen < self._since and not walk.demoted:
            self.is_last = True

    def _note_ascending(self, incremental: Incremental, page: Seen, seen: Any) -> None:
        """Move the watermark with each page, unless the API does not keep its order."""
        walk, bookmark = self._walk, self._pass.bookmark
        if walk.demoted:
            return
        is_before = walk.moved is not None and not self._page.is_again
        if is_before and page.min_seen < incremental.restore(walk.moved):
            log.warning(
                "%s: records do not come in ascending order of %s; the watermark waits for the end "
                "of the pass (say order: none)", self._pass.stream, incremental.column,
            )  # fmt: skip
            walk.demoted = True
            bookmark.move(
                incremental, None if walk.before is None else incremental.restore(walk.before)
            )
            return
        before = bookmark.watermark(incremental)
        watermark = incremental.cap(seen, formats.read_instant(walk.started_at))
        if before is None or watermark > before:
            if walk.moved is None:
                walk.before = None if before is None else incremental.store(before)
            walk.moved = incremental.store(watermark)
            bookmark.move(incremental, watermark)


def is_forgotten(error: Exception) -> bool:
    """True for an error that says that the API no longer knows a page token."""
    is_status = isinstance(error, ApiError) and error.status in FORGOTTEN
    return is_status or isinstance(error, PageTokenExpiredError)


def too_many_restarts(stream: str) -> ApiError:
    """The error for an API that makes a walk begin again and again."""
    return ApiError(f"the API asked {MAX_RESTARTS + 1} times to begin again", stream=stream)


def _name(incremental: Incremental, window: Interval) -> str:
    return str([incremental.store(window[0]), incremental.store(window[1])])
