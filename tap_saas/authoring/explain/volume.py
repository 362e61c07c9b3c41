"""How many requests a run makes: pages counted by the runtime's own walk, lists by arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from tap_saas.authoring.explain.assumed import Assumed, share, shares
from tap_saas.authoring.explain.imagined import Lists
from tap_saas.authoring.explain.rehearsal import Checkpoint, Rehearsal, alone
from tap_saas.authoring.explain.subject import Subject
from tap_saas.connector.incremental import Incremental, Interval, Key
from tap_saas.connector.model import Stream
from tap_saas.sync.discovery import columns_of, knows_all
from tap_saas.sync.partitions import parent_stream

YEAR = timedelta(days=365)
MOST_WINDOWS = 100_000
ENDLESS = 10**12
STEPS = 6
"""A list of more pages is counted by one of a few pages and whole pages beyond."""


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one stream in one run.

    `own` are those of its lists, `parents` those that walk parents' lists for it, by stream,
    `sample` those that learn its schema (once a home), by stream.
    """

    own: int
    parents: Mapping[str, int]
    sample: Mapping[str, int] = {}

    @property
    def total(self) -> int:
        """All of them."""
        return self.own + sum(self.parents.values()) + sum(self.sample.values())


class Volume:
    """The lists of a stream and what they cost."""

    def __init__(self, subject: Subject, stream: Stream, assumed: Assumed, run: Any) -> None:
        self.subject, self.stream, self.assumed = subject, stream, assumed
        self._run = run
        self._pages: dict[tuple[str, int], int] = {}
        self._steps: dict[str, int] = {}

    @property
    def partitions(self) -> int:
        """In how many lists the stream's records are, windows of time not counted."""
        return self._partitions(self.stream)

    @property
    def later_partitions(self) -> int:
        """How many of them a later run asks for."""
        return self._partitions(self.stream, later=True)

    def records(self, *, later: bool) -> int:
        """How many records of the stream a run brings."""
        stream, assumed = self.stream, self.assumed
        total = assumed.records_of(stream.name)
        if later and stream.incremental is not None:
            return min(total, assumed.changed_of(stream.name))
        return self._listed(total) if later else total

    def first_windows(self) -> list[Interval]:
        """The windows of the first pass; one where the stream has none."""
        assumed, incremental = self.assumed, self.stream.incremental
        since = None if incremental is None else incremental.since(None, assumed.start_date)
        return windows(incremental, since, assumed.now)

    def later_windows(self, watermark: Key | None) -> list[Interval]:
        """The windows of a pass that begins at a watermark."""
        incremental = self.stream.incremental
        since = None if incremental is None else incremental.since(watermark, None)
        return windows(incremental, since, self.assumed.later)

    def lists(self, found: Sequence[Interval], *, later: bool) -> dict[str, Lists]:
        """What is there for the stream and for its parents."""
        stream, assumed = self.stream, self.assumed
        total, fresh = assumed.records_of(stream.name), None
        if later and stream.incremental is not None:
            fresh = min(total, assumed.changed_of(stream.name))
            total = fresh if asks_for_changes(stream) else total
        elif later:
            total = self._listed(total)
        known = {
            above.name: Lists(
                total=self._parents_of(stream, above, later=later),
                lists=self._partitions(above) or 1,
                windows=[_whole(above.incremental, assumed.now)],
            )
            for above in ancestors(self.subject, stream)
        }
        lists = self._partitions(stream, later=later) or 1
        own = Lists(total=total, lists=lists, windows=found, fresh=fresh)
        return {**known, stream.name: own}

    def first(self) -> Requests:
        """The requests of the first run of all."""
        total = self.assumed.records_of(self.stream.name)
        own = self._own(self.stream, total, len(self.first_windows()), self.partitions)
        return Requests(own=own, parents=self._parents(later=False), sample=self._sample())

    def later(self, watermark: Key | None) -> Requests:
        """The requests of each later run, `interval_s` after the one before."""
        stream, parents = self.stream, self._parents(later=True)
        total, lists = self.assumed.records_of(stream.name), self.later_partitions
        if stream.incremental is None:
            return Requests(own=self._own(stream, self._listed(total), 1, lists), parents=parents)
        changed = self.records(later=True)
        if asks_for_changes(stream):
            found = len(self.later_windows(watermark))
            return Requests(own=self._own(stream, changed, found, lists), parents=parents)
        if stream.incremental.order == "desc":
            own = self._until_known(total, changed, watermark)
            return Requests(own=own, parents=parents)
        return Requests(own=self._own(stream, total, 1, lists), parents=parents)

    def pages(self, stream: Stream, records: int) -> int:
        """The requests for one list of so many records, as the runtime walks it."""
        step = self._step(stream)
        beyond = max(0, records - STEPS * step) // step
        return beyond + self._walked(stream, records - beyond * step)

    def _own(self, stream: Stream, total: int, windows: int, lists: int) -> int:
        """The requests for so many lists, each in so many windows."""
        if not lists:
            return 0
        return sum(
            several * many * self.pages(stream, records)
            for of_list, several in shares(total, lists).items()
            for records, many in shares(of_list, windows).items()
        )

    def _until_known(self, total: int, changed: int, watermark: Key | None) -> int:
        """Newest first and no filter: each list is read until the watermark."""
        stream, lists = self.stream, self.partitions
        step, found = self._step(stream), self.later_windows(watermark)
        kinds = Counter((share(total, lists, n), share(changed, lists, n)) for n in range(lists))
        requests = 0
        for (size, fresh), several in kinds.items():
            beyond = max(0, fresh - STEPS * step) // step
            left = min(size - beyond * step, 2 * STEPS * step)
            alike = Lists(total=left, lists=1, fresh=fresh - beyond * step, windows=found)
            checkpoint = Checkpoint(stream.name)
            if stream.incremental is not None and watermark is not None:
                checkpoint.bookmark(None).move(stream.incremental, watermark)
            asked = self._rehearsal(stream, alike).run(checkpoint, self.assumed.later)
            requests += several * (beyond + len(asked))
        return requests

    def _parents(self, *, later: bool) -> dict[str, int]:
        """The requests that walk the parents' lists: whole, or what changed (`changed`)."""
        return {
            above.name: self._own(
                above,
                self._parents_of(self.stream, above, later=later),
                1,
                self._partitions(above),
            )
            for above in ancestors(self.subject, self.stream)
        }

    def _parents_of(self, stream: Stream, above: Stream, *, later: bool) -> int:
        """How many records of a stream above a run walks for this one."""
        total = self.assumed.records_of(above.name)
        if later and has_changed_parents(stream, above):
            return min(total, self.assumed.changed_of(above.name))
        return total

    def _listed(self, total: int) -> int:
        """How many of the stream's records are in the lists that a later run asks for."""
        return total * self.later_partitions // self.partitions if self.partitions else 0

    def _sample(self) -> dict[str, int]:
        stream = self.stream
        if knows_all(stream, columns_of(self._run, stream)) or not self.partitions:
            return {}
        return {one.name: 1 for one in (*ancestors(self.subject, stream), stream)}

    def _partitions(self, stream: Stream, *, later: bool = False) -> int:
        """The partitions of a stream: parents' records times the lists of settings."""
        count = 1
        parent = parent_stream(stream)
        if parent is not None and parent.stream is not None:
            above = self.subject.connector.streams[parent.stream]
            count = self._parents_of(stream, above, later=later)
            if parent.batch is not None:
                count = self._batches(above, count, parent.batch)
        if stream.for_each is not None:
            count *= len(stream.for_each.items(self.subject.values))
        plain = [parent for parent in stream.parents if parent.stream is None]
        return count * math.prod(len(parent.items(self.subject.values)) for parent in plain)

    def _batches(self, above: Stream, parents: int, size: int) -> int:
        """How many batches so many parents are; none reaches over a page of their list."""
        lists, step = self._partitions(above), self._step(above)
        found = 0
        for of_list, several in shares(parents, lists).items() if lists else ():
            whole, rest = divmod(of_list, step)
            found += several * (whole * math.ceil(step / size) + math.ceil(rest / size))
        return found

    def _step(self, stream: Stream) -> int:
        """How many records each further page brings."""
        if stream.name not in self._steps:
            asked = self._rehearsal(stream, _one(stream, ENDLESS, self.assumed.now)).run(
                Checkpoint(stream.name), self.assumed.now, full=True, pages=3
            )
            begins = sorted(one.begins_at for one in asked)[:3]
            self._steps[stream.name] = begins[2] - begins[1] if len(begins) > 2 else ENDLESS
        return self._steps[stream.name]

    def _walked(self, stream: Stream, records: int) -> int:
        if (stream.name, records) not in self._pages:
            lists = _one(stream, records, self.assumed.now)
            is_own = stream is self.stream and stream.incremental is not None
            asked = self._rehearsal(_in_one(stream) if is_own else stream, lists).run(
                Checkpoint(stream.name), self.assumed.now, full=not is_own
            )
            self._pages[stream.name, records] = len(asked)
        return self._pages[stream.name, records]

    def _rehearsal(self, stream: Stream, lists: Lists) -> Rehearsal:
        values = {**dict.fromkeys(stream.context, 1), **self.subject.values}
        return Rehearsal(
            msgspec.structs.replace(self.subject, values=values),
            alone(stream),
            {stream.name: lists},
            self.assumed.page_size,
        )


def ancestors(subject: Subject, stream: Stream) -> list[Stream]:
    """The streams whose records name the stream's partitions, the outermost first."""
    parent = parent_stream(stream)
    if parent is None or parent.stream is None:
        return []
    above = subject.connector.streams[parent.stream]
    return [*ancestors(subject, above), above]


def has_changed_parents(stream: Stream, above: Stream) -> bool:
    """True where only those records of `above` that changed name the stream's partitions."""
    parent = parent_stream(stream)
    return (
        parent is not None
        and parent.stream == above.name
        and parent.changed is not None
        and (asks_for_changes(above) or _is_newest_first(above))
    )


def _is_newest_first(stream: Stream) -> bool:
    return stream.incremental is not None and stream.incremental.order == "desc"


def asks_for_changes(stream: Stream) -> bool:
    """True where a request says from where on, so that the API sends only what changed."""
    incremental = stream.incremental
    if incremental is None or incremental.filter == "client":
        return False
    is_sent = incremental.start is not None and incremental.start.send is not None
    return is_sent or incremental.sync_token is not None or "start" in stream.names


def windows(incremental: Incremental | None, since: Key | None, until: datetime) -> list[Interval]:
    """The windows of a pass, at most `MOST_WINDOWS`; one that is the whole without them."""
    if incremental is None or incremental.window is None or since is None:
        return [_whole(incremental, until, since)]
    return list(islice(incremental.windows(since, until), MOST_WINDOWS)) or [(since, until)]


def watermark_of(stream: Stream, data: Mapping[str, Any]) -> Key | None:
    """The watermark of a checkpoint: the stream's, else that of its first partition."""
    value: Any = data.get("replication_key_value")
    for entry in data.get("partitions", ()):
        value = value if value is not None else entry.get("replication_key_value")
    return (
        None if value is None or stream.incremental is None else stream.incremental.restore(value)
    )


def _whole(incremental: Incremental | None, until: datetime, since: Key | None = None) -> Interval:
    """The bounds of replication keys where nothing else bounds them."""
    kind = "instant" if incremental is None else incremental.kind
    if kind == "instant":
        return until - YEAR if since is None else since, until
    if kind == "counter":
        return 0 if since is None else since, 0
    return "" if since is None else since, ""


def _in_one(stream: Stream) -> Stream:
    """The same stream in one window."""
    if stream.incremental is None:
        return stream
    incremental = msgspec.structs.replace(stream.incremental, window=None)
    return msgspec.structs.replace(stream, incremental=incremental)


def _one(stream: Stream, records: int, now: datetime) -> Lists:
    return Lists(total=records, lists=1, windows=[_whole(stream.incremental, now)])
