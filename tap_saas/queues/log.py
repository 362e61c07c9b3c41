"""The log in SQL: all of a queue that SQLite and PostgreSQL do in the same way."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tap_saas.errors import QueueError
from tap_saas.queues.base import (
    DEFAULT_CONSUMERS,
    MEBIBYTE,
    Arrival,
    Event,
    Limits,
    Place,
    Refused,
    SourceStatus,
    Start,
    Status,
    instant_of,
    micros,
    utc_now,
)
from tap_saas.queues.packed import unpack

log = logging.getLogger(__name__)

BATCH = 500
# Ids are in no order: each that is forgotten may be another page.
SEEN_BATCH = 1000
MAX_SEEN_ROUNDS = 5
MAX_REFUSED = 1000
OTHERS = ("(others)", "too many different reasons")
RESUME_SHARE = 0.9
FOR_EVER = 1 << 62

_MINUTE = 60_000_000
_LINES = re.MULTILINE


def statements(*paths: Path) -> dict[str, str]:
    """The statements of SQL files, by the names in their `-- name:` lines."""
    found: dict[str, str] = {}
    for path in paths:
        parts = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=_LINES)[1:]
        found |= dict(zip(parts[::2], parts[1::2], strict=True))
    return found


class SqlQueue(ABC):
    """A log whose tables are those of `queue.sql`.

    A member says how a statement is run, how changes are done alone (no other writer of any process
    at the same time, durably at the end), how arrivals are appended, and what space is left.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._refusal: str | None = None

    @property
    @abstractmethod
    def epoch(self) -> str:
        """The identity of this history."""

    @abstractmethod
    def append(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Keep all of them durably in one transaction; False for each that is a duplicate."""

    @abstractmethod
    def put_back(self, events: Sequence[Event]) -> list[bool]:
        """Keep events of a queue's damaged file once more, under new offsets."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, locks and connections."""

    @abstractmethod
    def _run(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        """All rows that a statement gives, in a transaction of its own unless `_alone`."""

    @abstractmethod
    def _alone(self) -> AbstractContextManager[None]:
        """A durable transaction while nobody else writes."""

    @abstractmethod
    def _file_bytes(self) -> int:
        """What the queue takes on the disk."""

    @abstractmethod
    def _free_bytes(self) -> int | None:
        """What is left for it, None where that is not known."""

    @abstractmethod
    def _least_free_bytes(self) -> int:
        """What must be left: acknowledging and purging need space too."""

    def read(
        self, source: str, after: int, *, max_events: int = 1000, max_bytes: int = 8 * MEBIBYTE
    ) -> list[Event]:
        """The next events behind an offset, in order; at least one if there is one."""
        last, _ = self._reach(source, after, FOR_EVER, max_events, max_bytes)
        if last is None:
            return []
        rows = self._run("events", source=source, after=after, last=last)
        return [unpack(source, *row) for row in rows]

    def _reach(
        self, source: str, after: int, last: int, max_events: int, max_bytes: int,
        since: int = -FOR_EVER, until: int = FOR_EVER,
    ) -> tuple[int | None, int]:  # fmt: skip
        """The offset up to which a bounded number of events goes, and how many these are."""
        rows = self._run(
            "sizes", source=source, after=after, last=last, since=since, until=until, n=max_events
        )
        reached, total = None, 0
        for number, (off, size) in enumerate(rows):
            total += size
            if number and total > max_bytes:
                return reached, number
            reached = off
        return reached, len(rows)

    def newest(self, source: str, count: int) -> int:
        """The offset from which so many events are left, or 1 where there is none."""
        ((off,),) = self._run("newest", source=source, n=count)
        return int(off or 1)

    def start(self, source: str, place: Place | None) -> Start:
        """Where a reader with this place goes on."""
        kept = self._run("digest", source=source, off=place.offset) if place else []
        _, purged, purged_digest = self._source(source)
        if place is None:
            why = None if purged is None else f"no place; events up to offset {purged} are purged"
            return Start(0, known=False, gap=purged is not None, why=why)
        if place.epoch != self.epoch:
            return Start(0, known=False, gap=True, why="the place is of another queue (epoch)")
        if not kept and purged is not None and place.offset < purged:
            why = f"events after offset {place.offset} up to {purged} are purged"
            return Start(place.offset, known=True, gap=True, why=why)
        found = kept[0][0] if kept else purged_digest if place.offset == purged else None
        if found is None:
            why = f"the queue has no event with offset {place.offset}: an older copy was restored"
            return Start(0, known=False, gap=True, why=why)
        if bytes(found).hex() != place.mark:
            why = f"another event has offset {place.offset}: an older copy was restored"
            return Start(0, known=False, gap=True, why=why)
        return Start(place.offset, known=True, gap=False)

    def _source(self, source: str) -> tuple[tuple[str, ...], int | None, bytes | None]:
        for consumers, purged, digest in self._run("source", source=source):
            return _consumers(consumers), purged, digest
        return DEFAULT_CONSUMERS, None, None

    def acknowledge(
        self,
        source: str,
        consumer: str,
        place: Place,
        *,
        below: int | None = None,
        now: datetime | None = None,
    ) -> bool:
        """This consumer has proven to have all up to the place (and `below` this offset)."""
        start = self.start(source, place)
        consumers, _, _ = self._source(source)
        if not start.known or consumer not in consumers:
            why = start.why if not start.known else "nobody declared this consumer"
            log.warning(
                "nothing is acknowledged: why=%s source=%s consumer=%s", why, source, consumer
            )
            return False
        off = place.offset if below is None else min(place.offset, below - 1)
        before = dict(self._run("acknowledged", source=source, at=FOR_EVER)).get(consumer, 0)
        if off <= before:
            return False
        at = micros(now or utc_now()) // _MINUTE * _MINUTE
        with self._alone():
            self._run("acknowledge", source=source, consumer=consumer, at=at, off=off)
        return True

    def declare(self, source: str, consumers: Sequence[str]) -> None:
        """Who must acknowledge the events of a source before they are purged."""
        names = tuple(sorted(set(consumers)))
        if not names:
            raise QueueError("no consumers are named", where=source, do="name at least one")
        if self._source(source)[0] != names:
            with self._alone():
                text = msgspec.json.encode(names).decode()
                self._run("declare", source=source, consumers=text)

    def purge(
        self,
        now: datetime | None = None,
        *,
        keep: timedelta | None = None,
        max_events: int = 20_000,
    ) -> int:
        """Delete what all declared consumers acknowledged longer than `keep` ago; how many."""
        now = now or utc_now()
        at = micros(now - (self.limits.keep if keep is None else keep))
        gone = 0
        for (source,) in self._run("sources"):
            while gone < max_events:
                with self._alone():
                    some = self._delete(source, self._proven(source, at))
                gone += some
                if some < BATCH:
                    break
        with self._alone():
            self._run("forget_acknowledged", at=at)
        self._forget(micros(now - self.limits.remember))
        return gone

    def _proven(self, source: str, at: int) -> int:
        """Up to where all consumers had acknowledged at an instant."""
        acknowledged = dict(self._run("acknowledged", source=source, at=at))
        consumers, _, _ = self._source(source)
        return min(int(acknowledged.get(name, 0)) for name in consumers)

    def _delete(self, source: str, last: int) -> int:
        rows = self._run("purge", source=source, last=last, n=BATCH)
        if rows:
            off, _, digest = max(rows)
            size = sum(row[1] for row in rows)
            self._run("purged", source=source, events=len(rows), bytes=size, off=off, digest=digest)
        return len(rows)

    def _forget(self, before: int) -> None:
        for _ in range(MAX_SEEN_ROUNDS):
            with self._alone():
                if len(self._run("forget_seen", before=before, n=SEEN_BATCH)) < SEEN_BATCH:
                    return

    def drop(self, source: str, up_to: int) -> int:
        """Delete the events of a source up to an offset, acknowledged or not; how many."""
        gone = 0
        while True:
            with self._alone():
                some = self._delete(source, up_to)
            gone += some
            if some < BATCH:
                return gone

    def replay(
        self,
        source: str,
        first: int,
        last: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Copy kept events to the tail, so that every consumer reads them again; how many."""
        ((tail,),) = self._run("tail", source=source)
        after, last, copied = first - 1, min(last, tail or 0), 0
        span = {
            "since": -FOR_EVER if since is None else micros(since),
            "until": FOR_EVER if until is None else micros(until),
        }
        while True:
            full = self.room()
            if full:
                raise QueueError(
                    f"{copied} events are replayed, the rest is not: {full}",
                    where=source,
                    do=f"make room, and replay from offset {after + 1}",
                )
            with self._alone():
                reached, _ = self._reach(source, after, last, BATCH, 8 * MEBIBYTE, **span)
                if reached is None:
                    return copied
                sizes = self._run("copy", source=source, after=after, last=reached, **span)
                size = sum(row[0] for row in sizes)
                self._run("grow", source=source, events=len(sizes), bytes=size)
            after, copied = reached, copied + len(sizes)

    def count_refused(
        self, counts: Mapping[tuple[str, str], int], now: datetime | None = None
    ) -> None:
        """Add to the counts of refused requests; past a thousand pairs, others are one count."""
        at = micros(now or utc_now())
        with self._alone():
            ((pairs,),) = self._run("refused_pairs")
            for (source, reason), n in counts.items():
                if not self._run("refused_is_known", source=source, reason=reason):
                    if pairs >= MAX_REFUSED:
                        source, reason = OTHERS
                    pairs += 1
                self._run("refuse", source=source, reason=reason, n=n, at=at)

    def status(self) -> Status:
        """What the queue has."""
        return Status(
            epoch=self.epoch,
            sources=[self._status(source) for (source,) in self._run("sources")],
            refused=[
                Refused(source=source, reason=reason, count=n, last_at=instant_of(at))
                for source, reason, n, at in self._run("refused")
            ],
            file_bytes=self._file_bytes(),
            free_bytes=self._free_bytes(),
            refusal=self.room(),
        )

    def _status(self, source: str) -> SourceStatus:
        row = self._run("source_status", source=source)[0]
        consumers, events, size, purged, first, last, oldest = row
        offsets = dict(self._run("acknowledged", source=source, at=FOR_EVER))
        acknowledged = {name: offsets.get(name, 0) for name in _consumers(consumers)}
        waiting = self._run("waiting", source=source, after=min(acknowledged.values()))
        return SourceStatus(
            source=source,
            events=events,
            bytes=size,
            first_offset=first,
            last_offset=last,
            oldest_received_at=None if oldest is None else instant_of(oldest),
            waiting_since=instant_of(waiting[0][0]) if waiting else None,
            acknowledged=acknowledged,
            purged_offset=purged,
        )

    def room(self) -> str | None:
        """None, or why nothing more is accepted now; accepts again only with some distance."""
        share = 1.0 if self._refusal is None else RESUME_SHARE
        ((events, size),) = self._run("totals")
        free, least = self._free_bytes(), self._least_free_bytes()
        refusal = None
        if events >= self.limits.max_events * share:
            refusal = f"the queue is full ({events} events)"
        elif size >= self.limits.max_bytes * share:
            refusal = f"the queue is full ({size} bytes)"
        elif free is not None and free < least / share:
            refusal = f"the disk is nearly full ({free} bytes left for the queue)"
        self._refusal = refusal
        return refusal


def _consumers(text: str | None) -> tuple[str, ...]:
    return DEFAULT_CONSUMERS if text is None else tuple(msgspec.json.decode(text))
