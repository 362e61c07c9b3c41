"""What a queue keeps and promises: a durable log of events, read by offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Protocol

import msgspec

DEFAULT_CONSUMERS = ("main",)
DIGEST_BYTES = 12
MEBIBYTE = 1 << 20


_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _ZERO) // _MICROSECOND


def instant_of(value: int) -> datetime:
    """The instant of such a number."""
    return _ZERO + value * _MICROSECOND


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was verified and is to be kept.

    `source` is `<connector>/<source>`; `received_at` is UTC; header names are in lower case.
    Without an `event_id` it is never taken for a duplicate.
    """

    source: str
    event_id: str | None = None
    received_at: datetime
    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes

    @property
    def mark(self) -> str:
        """A short text that names this very event: a digest of source, time, id and body."""
        return self.digest().hex()

    def digest(self) -> bytes:
        """The mark as bytes."""
        at = micros(self.received_at)
        head = f"{self.source}\0{at}\0{self.event_id}\0".encode("utf-8", "replace")
        return blake2b(head + self.body, digest_size=DIGEST_BYTES).digest()


class Event(Arrival, frozen=True, kw_only=True):
    """An arrival that is kept: `offset` grows for ever within an epoch."""

    offset: int


class Place(msgspec.Struct, frozen=True, array_like=True):
    """How far a consumer is: the last event it has, in a STATE `[epoch, offset, mark]`."""

    epoch: str
    offset: int
    mark: str


class Start(msgspec.Struct, frozen=True):
    """Where a reader begins: behind the offset `after`.

    Not `known`: no place, or one of another history; all that is kept is read, nothing may be
    acknowledged. `gap`: events that the reader may not have are gone, so that the streams need a
    full pass. `why` says so in words.
    """

    after: int
    known: bool
    gap: bool
    why: str | None = None


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue has of one source; `bytes` are those of requests and bodies.

    `acknowledged` has an offset (0: nothing yet) for each consumer that must acknowledge.
    `waiting_since` is when the oldest event came that not all of them have.
    """

    source: str
    events: int
    bytes: int
    first_offset: int | None
    last_offset: int | None
    oldest_received_at: datetime | None
    waiting_since: datetime | None
    acknowledged: dict[str, int]
    purged_offset: int | None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests of a source were refused for this reason, and when the last one came."""

    source: str
    reason: str
    count: int
    last_at: datetime


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A queue at a glance; sizes in bytes, `free_bytes` None where they are not known."""

    epoch: str
    sources: list[SourceStatus]
    refused: list[Refused]
    file_bytes: int
    free_bytes: int | None
    refusal: str | None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much a queue keeps.

    `keep`: how long events stay after all consumers acknowledged them, to the minute. `remember`:
    how long an event's id is known. Nothing more is accepted above `max_events` or `max_bytes`, or
    with less free disk than the larger of `min_free_bytes` and `min_free_share`.
    """

    keep: timedelta = timedelta(hours=24)
    remember: timedelta = timedelta(days=7)
    max_events: int = 10_000_000
    max_bytes: int = 10 * 1024 * MEBIBYTE
    min_free_bytes: int = 256 * MEBIBYTE
    min_free_share: float = 0.05


def utc_now() -> datetime:
    """Now, aware, UTC."""
    return datetime.now(UTC)


class Queue(Protocol):
    """A durable log of events, one order of offsets over all sources. Thread-safe.

    Every method raises QueueError where the queue cannot be read or written.
    """

    @property
    def epoch(self) -> str:
        """The identity of this history: a new one when the queue begins anew."""

    def append(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Keep all of them durably in one transaction; False for each that is a duplicate."""

    def put_back(self, events: Sequence[Event]) -> list[bool]:
        """Keep events of a queue's damaged file once more, under new offsets.

        As `append`, while a receiver runs too. An event without an id is known by its mark.
        """

    def read(
        self, source: str, after: int, *, max_events: int = 1000, max_bytes: int = 8 * MEBIBYTE
    ) -> list[Event]:
        """The next events behind an offset, in order; at least one if there is one."""

    def newest(self, source: str, count: int) -> int:
        """The offset from which so many events are left, or 1 where there is none."""

    def start(self, source: str, place: Place | None) -> Start:
        """Where a reader with this place goes on."""

    def acknowledge(
        self,
        source: str,
        consumer: str,
        place: Place,
        *,
        below: int | None = None,
        now: datetime | None = None,
    ) -> bool:
        """This consumer has proven to have all up to the place (and `below` this offset).

        Ignored with a warning where the place is of another history, or nobody declared the
        consumer. True where the queue knows more than before.
        """

    def declare(self, source: str, consumers: Sequence[str]) -> None:
        """Who must acknowledge the events of a source before they are purged."""

    def purge(
        self,
        now: datetime | None = None,
        *,
        keep: timedelta | None = None,
        max_events: int = 20_000,
    ) -> int:
        """Delete what all declared consumers acknowledged longer than `keep` ago; how many events.

        Ids that are older than `remember` are forgotten. Works in short transactions.
        """

    def drop(self, source: str, up_to: int) -> int:
        """Delete the events of a source up to an offset, acknowledged or not; how many."""

    def replay(
        self,
        source: str,
        first: int,
        last: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Copy kept events to the tail, so that every consumer reads them again; how many.

        From offset `first` to `last`, and received in `[since, until)`.
        """

    def count_refused(
        self, counts: Mapping[tuple[str, str], int], now: datetime | None = None
    ) -> None:
        """Add to the counts of refused requests by (source, reason)."""

    def status(self) -> Status:
        """What the queue has."""

    def room(self) -> str | None:
        """None, or why nothing more is accepted now; accepts again only with some distance."""

    def close(self) -> None:
        """Let go of files, locks and connections."""
