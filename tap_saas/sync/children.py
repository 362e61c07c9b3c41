"""The children of many parents, with one bookmark for all of them.

The parents' list is walked page by page. A **group** is the parents of one page: the bookmark has
the groups in flight, in each the parents that are done and the page tokens of those that are not.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.client.pager import RestartPass
from tap_saas.connector import formats
from tap_saas.connector.exchange import Page
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.model import Stream
from tap_saas.connector.parents import Parent
from tap_saas.errors import ApiError, PageTokenExpiredError, StateError
from tap_saas.sync import groups, readings
from tap_saas.sync.bookmark import Bookmark, Walk, instant_text
from tap_saas.sync.feeds import Fed
from tap_saas.sync.groups import UNFINISHED, Child, Group, Parents, name_of, text_of
from tap_saas.sync.lanes import Lane, side_by_side
from tap_saas.sync.partitions import Context, Fetch, Partition, Partitions
from tap_saas.sync.passes import MAX_RESTARTS, is_forgotten, too_many_restarts
from tap_saas.sync.shape import Seen
from tap_saas.sync.skips import Skips, too_many_left_out

log = logging.getLogger(__name__)
MAX_UNFINISHED = 1_000

Ask = Callable[[Context, Any, Any], Iterator[Page]]
"""(parent's values, since, page token) -> pages of its children."""


class Children:
    """Pulls the children of all parents.

    Without `incremental` each parent's children are read whole; `changed` leaves out parents that
    did not change. With it (and `parents.since`) they are read from the one watermark on, those of
    a parent that is newer from their beginning. What failed or was skipped is `unfinished` and
    read by the next pass from where it was left.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        form: Parent,
        parent: Stream,
        bookmark: Bookmark,
        partitions: Callable[[Fetch], Partitions],
        list_parents: Fetch,
        skips: Skips,
        ask: Ask,
        now: Callable[[], datetime],
        incremental: Incremental | None,
        start_date: datetime | None,
        sweep: bool,
        parallel: int,
    ) -> None:
        self._stream, self._form, self._parent = stream, form, parent
        self._bookmark, self._skips, self._ask, self._now = bookmark, skips, ask, now
        self._list_parents = list_parents
        self._partitions = partitions(self._fetch_parents)
        self._incremental, self._start_date = incremental, start_date
        self._sweep, self._parallel = sweep, parallel
        self._place = Walk(started_at="")
        self._groups: list[Group] = []
        self._whole: set[str] = set()  # groups of which nothing is left to be begun
        self._left: dict[str, int] = {}
        self._before: dict[str, Any] = {}
        self._unfinished: dict[str, tuple[Context, Any]] = {}
        self._went_on = self._is_dated = False
        self._lock = threading.RLock()  # of the groups: lanes and the writer change them
        self._has_readings = readings.has_readings(stream)
        self.restarts = 0

    def pages(self) -> Generator[Fed]:
        """All pages; begun again where the API asks for it or has forgotten the parents' token.

        Raises:
            ApiError: the API answers wrongly, or too much failed.
        """
        for _ in range(MAX_RESTARTS + 1):
            resumed = self._bookmark.walk is not None
            try:
                yield from self._once()
            except (RestartPass, ApiError, PageTokenExpiredError) as error:
                is_stale = resumed and not self._went_on and is_forgotten(error)
                if not (is_stale or isinstance(error, RestartPass)):
                    raise
                log.warning("%s: %s; the pass begins again", self._stream.name, error)
                self.restarts += 1
                self._bookmark.restart()
            else:
                return
        raise too_many_restarts(self._stream.name)

    def _once(self) -> Generator[Fed]:
        self._place = self._begin()
        self._groups = self._read_groups()
        left = self._read("unfinished", list[tuple[Context, Any]]) or []
        self._unfinished = {text_of(one[0]): one for one in left}
        self._before = {text: since for text, (_, since) in self._unfinished.items()}
        yield from side_by_side(self._lanes(), self._parallel)
        if not self._skips.whole_stream:
            self._finish()

    def _begin(self) -> Walk:
        """The pass in flight, or a new one; `since` are bounds for the list of parents."""
        walk, lives = self._bookmark.walk, self._parent.pagination.token_lives
        if walk is not None and groups.is_old(walk, lives, self._now()):
            walk = None  # the parents' list is read from its beginning
        self._is_dated = walk is not None and not (self._sweep and walk.since is not None)
        if walk is not None and self._is_dated:
            return walk
        new = Walk(started_at=instant_text(self._now()))
        if self._form.changed is not None and not self._sweep:
            new.since = self._parents_since(self._form.changed.full_every)
        return new

    def _parents_since(self, full_every: Any) -> Any:
        """From where on parents count as changed, `None` where all are due."""
        known, incremental = self._read_parents(), self._parent.incremental
        if known.full_at is None or known.watermark is None or incremental is None:
            return None
        if self._now() - formats.read_instant(known.full_at) >= full_every:
            return None
        since = incremental.since(self._restore(incremental, known.watermark), None)
        return None if since is None else incremental.store(since)

    def _read_parents(self) -> Parents:
        return self._read("parents", Parents) or Parents()

    def _read(self, name: str, kind: Any) -> Any:
        found = self._bookmark.data[name]
        try:
            return msgspec.convert(found, kind) if found else None
        except msgspec.ValidationError as error:
            raise self._unreadable(f"{name} cannot be read ({error})") from error

    def _read_groups(self) -> list[Group]:
        try:
            found = groups.groups_in(self._place.page_token)
        except ValueError as error:
            raise self._unreadable(f"resume cannot be read ({error})") from error
        if groups.is_old(self._place, self._stream.pagination.token_lives, self._now()):
            for group in found:
                group.flying = []
        return found

    def _unreadable(self, what: str) -> StateError:
        return StateError(
            what, stream=self._stream.name, do="mend the state, or run with a full refresh"
        )

    def _lanes(self) -> Iterator[Lane]:
        """A lane for each parent that is not done."""
        known = {name_of(group.name): group for group in self._groups}
        left_out = [Partition(json.loads(text)) for text in self._before]
        if left_out:
            yield from self._group_lanes(known, UNFINISHED, left_out)
        start = next((g.name for g in self._groups if g.name != UNFINISHED), None)
        since, incremental = self._place.since, self._parent.incremental
        if incremental is not None:
            since = self._restore(incremental, since)
        for name, partitions in self._partitions.groups(self._stream, start, since):
            fresh = [one for one in partitions if text_of(one.context) not in self._before]
            yield from self._group_lanes(known, name, fresh)

    def _group_lanes(
        self, known: Mapping[str, Group], name: Any, partitions: list[Partition]
    ) -> Iterator[Lane]:
        group = known.get(name_of(name))
        if group is None:
            group = Group(name, [], [])
            with self._lock:
                self._groups.append(group)
        flying = {text_of(one[0]): one for one in group.flying}
        done = {text_of(context) for context in group.done}
        todo = [one for one in partitions if text_of(one.context) not in done]
        self._left[name_of(name)] = len(todo)
        for partition in todo:
            if self._skips.whole_stream:
                return
            if name == UNFINISHED and self._skips.are_left_alone:
                self._done(group, partition.context, is_read=False)
                continue
            _, token, begun = flying.get(text_of(partition.context), (None, None, None))
            yield self._lane(group, partition, token, begun)
        with self._lock:
            self._whole.add(name_of(name))
            self._tidy()

    def _lane(self, group: Group, partition: Partition, token: Any, begun: str | None) -> Lane:
        context, since = partition.context, self._since(partition)

        def lane() -> Generator[Fed]:
            was_left = False

            def left_out(has_failed: bool) -> None:
                nonlocal was_left
                was_left = has_failed or self._moves
                if was_left:
                    self._leave(context, since)

            child = Child(group, context, since, begun or instant_text(self._now()))
            pages, is_again = self._child(child, token), group.name == UNFINISHED
            yield from self._skips.unless(text_of(context), pages, left_out, is_again=is_again)
            if context not in group.done:
                self._done(group, context, is_read=not was_left)

        return lane

    def _since(self, partition: Partition) -> Any:
        """Where the children of a parent begin: at the watermark, unless it is newer than that."""
        incremental, text = self._incremental, text_of(partition.context)
        if incremental is None or self._sweep:
            return None
        if text in self._before:
            return self._restore(incremental, self._before[text])
        watermark = self._bookmark.watermark(incremental)
        since: Any = incremental.since(watermark, self._start_date)
        if watermark is None or not isinstance(watermark, datetime):
            return since
        born = partition.born
        try:
            is_new = born is UNSET or born is None or formats.read_instant(born) >= since
        except (ValueError, TypeError):
            is_new = True
        return incremental.since(None, self._start_date) if is_new else since

    def _restore(self, incremental: Incremental, key: Any) -> Any:
        return groups.restored(incremental, key, self._stream.name)

    def _store(self, since: Any) -> Any:
        incremental = self._incremental
        return None if since is None or incremental is None else incremental.store(since)

    def _child(self, child: Child, token: Any) -> Generator[Fed]:
        """One parent's children; a forgotten page token begins them again, or the API's wish."""
        for _ in range(MAX_RESTARTS + 1):
            try:
                yield from self._child_pages(child, token)
            except RestartPass as restart:
                log.warning("%s: %s; this partition begins again", self._stream.name, restart)
                self.restarts += 1
            except (ApiError, PageTokenExpiredError) as error:
                if token is None or not is_forgotten(error) or child.went_on:
                    raise
                log.warning("%s: %s; this partition begins again", self._stream.name, error.what)
            else:
                return
            token, child.begun = None, instant_text(self._now())
        raise too_many_restarts(self._stream.name)

    def _child_pages(self, child: Child, token: Any) -> Generator[Fed]:
        columns = {n: value for n, value in child.context.items() if n in self._stream.context}
        if self._has_readings:
            columns[readings.COLUMN] = child.begun
        for page in self._ask(child.context, child.since, token):
            self._went_on = child.went_on = True
            yield Fed(
                page=page,
                constant=columns,
                written=lambda seen, page=page: self._written(child, page, seen),  # type: ignore[misc]
                since=child.since,
                is_empty=page.token is None and page.next_token is None and not page.received,
            )

    def _written(self, child: Child, page: Page, seen: Seen) -> None:
        """A page of a child's is written."""
        self._note_keys(seen)
        group, context = child.group, child.context
        if page.next_token is None:
            self._done(group, context, is_read=True)
        else:
            with self._lock:
                others = [one for one in group.flying if one[0] != context]
                group.flying = [*others, (context, page.next_token, child.begun)]
                self._keep()

    def _note_keys(self, seen: Seen) -> None:
        incremental, place = self._incremental, self._place
        if incremental is None or seen.max_seen is None:
            return
        known = self._restore(incremental, place.max_seen)
        newest = seen.max_seen if known is None else max(known, seen.max_seen)
        place.max_seen = incremental.store(newest)

    def _done(self, group: Group, context: Context, *, is_read: bool) -> None:
        """All children of a parent are written, or left out."""
        with self._lock:
            if is_read and self._unfinished.pop(text_of(context), None) is not None:
                self._keep_unfinished()
            group.flying = [one for one in group.flying if one[0] != context]
            group.done.append(context)
            self._left[name_of(group.name)] -= 1
            self._tidy()
            self._keep()

    def _tidy(self) -> None:
        """Forget groups that are done, but for the last one, from which the walk goes on."""
        self._groups = [
            group
            for n, group in enumerate(self._groups)
            if n == len(self._groups) - 1
            or name_of(group.name) not in self._whole
            or self._left[name_of(group.name)] > 0
        ]

    @property
    def _moves(self) -> bool:
        """True where a watermark leaves out what earlier passes have read."""
        return self._form.changed is not None or self._incremental is not None

    def _leave(self, context: Context, since: Any) -> None:
        """The next pass reads its children from where this one should have, as the last ones."""
        with self._lock:
            self._unfinished.pop(text_of(context), None)
            self._unfinished[text_of(context)] = (context, self._store(since))
            self._keep_unfinished()

    def _keep_unfinished(self) -> None:
        with self._lock:
            self._bookmark.data["unfinished"] = [list(one) for one in self._unfinished.values()]

    def _keep(self) -> None:
        self._place.page_token = msgspec.to_builtins(self._groups)
        self._place.token_at = instant_text(self._now())
        self._bookmark.keep_walk(self._place)

    def _fetch_parents(
        self, stream: Stream, context: Context, since: Any, token: Any
    ) -> Iterator[Page]:
        """A list of parents; with `changed` their largest replication key is noted."""
        incremental = stream.incremental
        notes = stream is self._parent and self._form.changed is not None
        for page in self._list_parents(stream, context, since, token):
            if not self._is_dated:
                self._place.begun_by(page.response)
                self._is_dated = True
            if notes and incremental is not None:
                self._note_parents(incremental, page)
            yield page

    def _note_parents(self, incremental: Incremental, page: Page) -> None:
        known: list[Any] = [self._restore(incremental, key) for key in self._place.keys]
        known += groups.keys_of(incremental, page.records)
        self._place.keys = [incremental.store(max(known))] if known else []

    def _finish(self) -> None:
        """All parents are done: move what may move, or begin anew with the next run.

        Raises:
            ApiError: some of them failed.
        """
        self._skips.judge_skips()
        left = len(self._unfinished)
        if left > MAX_UNFINISHED or (left and not self._moves):
            self._unfinished = {}
            self._keep_unfinished()
            self._bookmark.restart()
            self._skips.judge_failures()
            raise too_many_left_out(left, MAX_UNFINISHED, self._stream.name)
        if self._moves:
            self._move()
        self._bookmark.succeed(self._now())
        self._skips.judge_failures()

    def _move(self) -> None:
        place, bookmark = self._place, self._bookmark
        started = formats.read_instant(place.started_at)
        incremental, above = self._incremental, self._parent.incremental
        if incremental is not None and place.max_seen is not None:
            newest: Any = incremental.cap(self._restore(incremental, place.max_seen), started)
            before = bookmark.watermark(incremental)
            if before is None or newest > before:
                bookmark.move(incremental, newest)
        if self._form.changed is None or above is None:
            return
        known = self._read_parents()
        if place.since is None:
            known.full_at = place.started_at
        if place.keys:
            seen: Any = above.cap(self._restore(above, place.keys[0]), started)
            before = self._restore(above, known.watermark)
            if before is None or seen > before:
                known.watermark = above.store(seen)
        bookmark.data["parents"] = msgspec.to_builtins(known)
