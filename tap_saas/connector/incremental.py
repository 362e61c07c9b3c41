"""The replication key: where a pass begins, what it reads, how far the watermark may move."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, cast
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.exchange import Request
from tap_saas.connector.formats import InstantFormat, normalise_instant, read_instant
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.place import Condition, SentTo, TakenFrom
from tap_saas.connector.units import Duration, format_duration, parse_duration
from tap_saas.connector.written import Written

Number = int | Decimal
Key = datetime | int | Decimal | str
Interval = tuple[Key, Key]
"""A half-open range `[start, end)` of replication keys, both of one kind."""

_NUMBER = re.compile(r"[-+]?[0-9]{1,300}(\.[0-9]{1,300})?")
GRAINS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


class Distance(Written):
    """`5m` between instants, `100` between counters."""

    __slots__ = ("value",)

    def __init__(self, value: timedelta | int) -> None:
        super().__init__(format_duration(value) if isinstance(value, timedelta) else str(value))
        self.value = value

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Raises: `ValueError` when it is neither a duration nor a whole number."""
        if isinstance(raw, int) and not isinstance(raw, bool):
            if raw < 0:
                raise ValueError(f"{raw} is negative; write 0 or more")
            return cls(raw)
        return cls(parse_duration(raw))

    def back(self, key: Key) -> Key:
        """The key this far before `key`; texts have no distance, and time begins in year 1."""
        if isinstance(key, str) or not self.value:
            return key
        try:
            return cast(Key, key - self.value)  # type: ignore[operator]
        except OverflowError:
            return datetime.min.replace(tzinfo=cast(datetime, key).tzinfo)


class StartBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{send: param:updated_after}`: how a request says from where on.

    send: where the start is sent, `param:name`, `header:Name` or `body:$.a.b`
    format: how the API wants it, as the key's format unless said
    exclusive: the API leaves out what equals the start, so it is sent one `precision` earlier
    """

    send: SentTo | None = None
    format: str | None = None
    exclusive: bool = False


class EndBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{send: param:updated_before}`: how a request says up to where.

    send: where the end is sent, `param:name`, `header:Name` or `body:$.a.b`
    format: how the API wants it, as the key's format unless said
    """

    send: SentTo
    format: str | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{size: 30d, align: day}`: a long time is read in pieces, one after the other.

    size: how long a window is
    min: how short a window may become where `pagination.cap` splits it, `precision` unless said
    align: windows end at full minutes, hours or days of the key's zone
    """

    size: Duration
    min: Duration | None = None
    align: Literal["minute", "hour", "day"] | None = None

    def end(self, begin: datetime, zone: ZoneInfo | None) -> datetime:
        """Where the window that begins at `begin` ends; raises `OverflowError` after year 9999."""
        if self.align is None:
            return begin + self.size
        if self.align == "day" and zone is not None:
            local = begin.astimezone(zone)
            midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
            end = (midnight + self.size).astimezone(begin.tzinfo)
        else:
            epoch = datetime(1970, 1, 1, tzinfo=begin.tzinfo)
            end = begin - (begin - epoch) % GRAINS[self.align] + self.size
        # Zones have left out whole days (Samoa, 30 December 2011).
        return end if end > begin else begin + self.size


class SyncToken(msgspec.Struct, frozen=True, kw_only=True):
    """An API's own mark of how far a client has read: taken from a pass's last page, sent in the
    first request of the next; `expired` holds for the answer that says it is no longer known.
    """

    token: TakenFrom
    send: SentTo
    expired: Condition


class ReplicationKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`updated_at`, or `{token: $.sync_token, send: param:token, expired: status == 410}`.

    field: a field of the record that grows with each change
    token: where the last page gives the API's own sync token, which is then the watermark
    send: where the next pass sends that token
    expired: what holds where the API no longer knows the token: a full pass follows
    """

    field: Path | None = None
    token: TakenFrom | None = None
    send: SentTo | None = None
    expired: Condition | None = None

    def __post_init__(self) -> None:
        of_token = (self.token, self.send, self.expired)
        if self.field is not None:
            if any(part is not None for part in of_token):
                raise ValueError("a key is a field of the record or a sync token, not both")
        elif any(part is None for part in of_token):
            raise ValueError("a sync token needs `token`, `send` and `expired`")


class Incremental(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{key: updated_at, start: {send: param:updated_after}}`: only what changed since a run.

    key: the replication key, a field of the record that grows with each change; or the API's own
        sync token, {token, send, expired}
    format: how records write it: iso8601, date, epoch_s, epoch_ms, epoch_us, a strftime text,
        counter, text
    zone: the zone of times that name none, UTC unless said
    start: where a request says from where on
    end: where a request says up to where
    first: where the first run begins; the tap's start_date wins over it
    window: read a long time in pieces
    order: how the API sorts by the key: asc, desc or none
    precision: the grain of the API's filter, 1s unless said
    lookback: how far before the watermark every run begins
    lag: how far the watermark stays before the pass's start, 1m unless said
    filter: client where the API cannot filter
    missing: what a record without the key is: emit or reject
    retention: how long the API keeps changes; an older watermark means a full pass
    """

    key: Annotated[ReplicationKey | None, Meta(extra={"short": "field"})] = None
    format: str = "iso8601"
    zone: str | None = None
    start: StartBound | None = None
    end: EndBound | None = None
    first: str | int | None = None
    window: Window | None = None
    order: Literal["asc", "desc", "none"] = "none"
    precision: Distance | None = None
    lookback: Distance | None = None
    lag: Distance | None = None
    filter: Literal["client"] | None = None
    missing: Literal["emit", "reject"] = "emit"
    retention: Duration | None = None

    @property
    def kind(self) -> Literal["instant", "counter", "text"]:
        """What keys are: instants, numbers that grow, or texts."""
        if self.format == "counter":
            return "counter"
        return "text" if self.format == "text" else "instant"

    @property
    def column(self) -> str | None:
        """The record's column that holds the key."""
        return self.field.keys[-1] if self.field and self.field.keys else None

    @property
    def field(self) -> Path | None:
        """The record's field that grows with each change, `None` for rows without a date."""
        return self.key.field if self.key else None

    @property
    def sync_token(self) -> SyncToken | None:
        """The API's own mark, where that is the watermark: an opaque JSON value."""
        key = self.key
        if key is None or key.token is None or key.send is None or key.expired is None:
            return None
        return SyncToken(token=key.token, send=key.send, expired=key.expired)

    def reader(self) -> Callable[[Any], Key]:
        """The function that reads a record's key; it raises `ValueError` for what is none."""
        if self.kind == "counter":
            return _read_counter
        if self.kind == "text":
            return _read_text
        return instant_format(self.format, self.zone).read

    def read(self, value: Any) -> Key:
        """A record's key as something that can be compared; raises `ValueError`."""
        return self.reader()(value)

    def store(self, key: Key) -> str | int:
        """A key as STATE holds it: RFC 3339 in UTC, a whole number, or a text."""
        if self.sync_token is not None:
            return cast("str | int", key)
        if isinstance(key, datetime):
            return normalise_instant(key.isoformat())
        return str(key) if isinstance(key, Decimal) else key

    def restore(self, stored: Any) -> Key:
        """A key out of STATE; raises `ValueError` for what is none."""
        if self.sync_token is not None:
            return cast(Key, stored)
        if self.kind == "instant":
            return read_instant(stored) if isinstance(stored, str) else self.read(stored)
        return self.read(stored)

    def once_parsed(self) -> Incremental:
        """The same for records whose key `fields.parse` has read already."""
        start, end = self.start, self.end
        if start is not None:
            start = msgspec.structs.replace(start, format=start.format or self.format)
        if end is not None:
            end = msgspec.structs.replace(end, format=end.format or self.format)
        return msgspec.structs.replace(self, format="iso8601", start=start, end=end)

    def since(self, watermark: Key | None, start_date: datetime | None) -> Key | None:
        """Where a pass begins; `None` means with everything."""
        if watermark is not None:
            return self.lookback.back(watermark) if self.lookback else watermark
        if self.sync_token is not None:
            return None
        if start_date is not None and self.kind == "instant":
            return start_date
        return None if self.first is None else self.restore(self.first)

    def expired(self, watermark: Key, now: datetime) -> bool:
        """Whether the API has forgotten changes since the watermark, so that a full pass is due."""
        if self.retention is None or not isinstance(watermark, datetime):
            return False
        return now - watermark > self.retention

    def cap(self, max_seen: Key, pass_start: datetime) -> Key:
        """The furthest that the watermark may move: the safety lag before the pass's start."""
        if isinstance(max_seen, datetime):
            lag = self.lag or Distance(timedelta(minutes=1))
            return min(max_seen, cast(datetime, lag.back(pass_start)))
        return self.lag.back(max_seen) if self.lag else max_seen

    def values(self, since: Key | None, until: Key | None) -> dict[str, Any]:
        """The placeholders `{start}` and `{end}`."""
        if self.sync_token is not None:
            return {"start": UNSET, "end": UNSET}
        start = UNSET if since is None else self._first_sent(since)
        return {"start": start, "end": UNSET if until is None else until}

    def bound(self, request: Request, since: Key | None, until: Key | None) -> Request:
        """The request for `[since, until)`, where `start` and `end` say so; with the sync token."""
        if self.sync_token is not None:
            return request if since is None else self.sync_token.send.put(request, since)
        if self.start and self.start.send and since is not None:
            value = self._write(self.start.format, self._first_sent(since))
            request = self.start.send.put(request, value)
        if self.end and until is not None:
            request = self.end.send.put(request, self._write(self.end.format, until))
        return request

    def windows(self, since: Key, until: Key) -> Iterator[Interval]:
        """Half-open windows that cover `[since, until)` once, in order."""
        if self.window is None or not isinstance(since, datetime):
            if since < until:  # type: ignore[operator]
                yield since, until
            return
        last = cast(datetime, until)
        zone = ZoneInfo(self.zone) if self.zone else None
        begin = since
        while begin < last:
            end = self._window_end(self.window, begin, last, zone)
            yield begin, end
            begin = end

    @property
    def _precision(self) -> Distance:
        if self.precision is not None:
            return self.precision
        return Distance(1) if self.kind == "counter" else Distance(timedelta(seconds=1))

    def _first_sent(self, since: Key) -> Key:
        return self._precision.back(since) if self.start and self.start.exclusive else since

    def _write(self, format: str | None, key: Key) -> Any:
        if isinstance(key, datetime):
            return instant_format(format or self.format, self.zone).write(key)
        return str(key) if isinstance(key, Decimal) else key

    @staticmethod
    def _window_end(
        window: Window, begin: datetime, last: datetime, zone: ZoneInfo | None
    ) -> datetime:
        try:
            return min(window.end(begin, zone), last)
        except OverflowError:
            return last


@functools.lru_cache(maxsize=256)
def instant_format(text: str, zone: str | None) -> InstantFormat:
    """The format that a text names, in `zone` unless it names its own; raises `ValueError`."""
    return InstantFormat.parse(f"{text}@{zone}" if zone and "@" not in text else text)


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same set as the fewest intervals, in order; touching ones become one."""
    merged: list[Any] = []
    for start, end in sorted(cast("list[tuple[Any, Any]]", list(intervals))):
        if not start < end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def prefix(since: Key, done: Iterable[Interval]) -> Key:
    """Up to where everything from `since` on is done; `since` itself when nothing is."""
    for start, end in cast("list[tuple[Any, Any]]", merge(done)):
        if start <= since < end:
            return cast(Key, end)
    return since


def _read_counter(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{type(value).__name__} is not a counter")
    if isinstance(value, int):
        return value
    text = f"{value:f}" if isinstance(value, float | Decimal) else value
    if not _NUMBER.fullmatch(text):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{shown!r} is not a counter")
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} is not a text")
    return value
