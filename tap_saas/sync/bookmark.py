"""A stream's entry in STATE: where a pass goes on, and when the watermark may move.

Meltano merges the state of a run over the one before: lists are replaced whole, objects are merged,
a null where an object was is an error, a key that is gone comes back. So every structured value
here is a LIST, `[]` when there is none; only scalars become null; no key is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from tap_saas.client.spot import is_kept
from tap_saas.connector import formats
from tap_saas.connector.exchange import Response
from tap_saas.connector.incremental import Incremental, Interval, merge, prefix
from tap_saas.connector.responses import server_date
from tap_saas.errors import StateError

SCALARS = ("replication_key", "replication_key_value", "last_success_ts", "last_cursor")
SHOWN = 200
_ARTICLES = {"instant": "an instant", "counter": "a number", "text": "a text"}
LISTS = (
    "resume", "windows_done", "unfinished", "schema", "pending", "queue",
    "parents", "due", "sweep", "activate", "swept",
)  # fmt: skip


class Walk(msgspec.Struct, kw_only=True):
    """One walk in flight, an entry of `resume`.

    `since: null` marks a full pass. `page_token` is the page to ask for next, told by the API at
    `token_at`. `started_at` is the earlier of our clock and the API's at the start of the pass.
    Bounds, window and keys are in the form of STATE. With `order: asc`, `before` is the watermark
    at the start and `moved` the one that this walk set; `demoted` says that the order was a lie.
    """

    since: Any = None
    until: Any = None
    window: list[Any] = msgspec.field(default_factory=list)
    page_token: Any = None
    token_at: str | None = None
    max_seen: Any = None
    before: Any = None
    moved: Any = None
    demoted: bool = False
    started_at: str
    keys: list[Any] = msgspec.field(default_factory=list)

    def begun_by(self, response: Response) -> None:
        """Let it start at the earlier of our clock and the API's, which may be behind ours."""
        date = server_date(response)
        if date is not None:
            started = formats.read_instant(self.started_at)
            asked = date - (response.received_at - started)
            self.started_at = instant_text(min(started, asked))


class Bookmark:
    """The bookmark of a stream, or of one of its partitions; `data` is the live part of STATE.

    Change it only after the rows that it speaks of are on their way: any STATE may follow at once.

    Raises:
        StateError: the state is not one of ours.
    """

    def __init__(self, data: dict[str, Any], stream: str) -> None:
        self.data = data
        for name in SCALARS:
            data.setdefault(name, None)
        for name in LISTS:
            if not isinstance(data.setdefault(name, []), list):
                raise StateError(
                    f"{name} is not a list",
                    stream=stream,
                    do="start from a state that this tap wrote",
                )
        self._stream = stream

    @property
    def walk(self) -> Walk | None:
        """The walk that an earlier run left in flight."""
        walks = self.walks
        return walks[0] if walks else None

    @property
    def walks(self) -> list[Walk]:
        """All walks in flight."""
        try:
            return msgspec.convert(self.data["resume"], list[Walk])
        except msgspec.ValidationError as error:
            raise StateError(
                f"resume cannot be read ({error})",
                stream=self._stream,
                do="run with a full refresh, or start from an older state",
            ) from error

    def keep_walk(self, walk: Walk | None) -> None:
        """Note the walk in flight; `None` ends it."""
        self.keep_walks([] if walk is None else [walk])

    def keep_walks(self, walks: list[Walk]) -> None:
        """Note all walks in flight; the first one has the pass's bounds."""
        self.data["resume"] = msgspec.to_builtins(walks)
        if walks:
            self.data["last_cursor"] = _shown(walks[-1].page_token)

    def watermark(self, incremental: Incremental) -> Any:
        """The watermark as a comparable; `None` where there is none for this replication key."""
        value = self.data["replication_key_value"]
        if value is None or self.data["replication_key"] != key_name(incremental):
            return None
        try:
            return incremental.restore(value)
        except (ValueError, TypeError) as error:
            raise StateError(
                f"the watermark {value!r} is not {_ARTICLES[incremental.kind]}",
                stream=self._stream,
                do="mend the state, or run with a full refresh",
            ) from error

    def move(self, incremental: Incremental, watermark: Any) -> None:
        """Set the watermark; it is the caller who knows that all before it is written."""
        self.data["replication_key"] = key_name(incremental)
        self.data["replication_key_value"] = (
            None if watermark is None else incremental.store(watermark)
        )

    def windows_done(self, incremental: Incremental) -> list[Interval]:
        """The windows that are complete, merged."""
        return [
            (incremental.restore(start), incremental.restore(end))
            for start, end in self.data["windows_done"]
        ]

    def window_done(self, incremental: Incremental, since: Any, window: Interval) -> Any:
        """Note a complete window; returns the end of what is done without a gap from `since`."""
        done = merge([*self.windows_done(incremental), window])
        self.keep_windows(incremental, done)
        return prefix(since, done)

    def keep_windows(self, incremental: Incremental, done: list[Interval]) -> None:
        """Note which windows are complete."""
        self.data["windows_done"] = [[incremental.store(a), incremental.store(b)] for a, b in done]

    def succeed(self, at: datetime) -> None:
        """The pass is complete."""
        self.data["resume"] = []
        self.data["windows_done"] = []
        self.data["last_cursor"] = None
        self.data["last_success_ts"] = instant_text(at)

    def succeeded_since(self, since: str) -> bool:
        """True where a pass was completed at `since` (RFC 3339) or later."""
        last = self.data["last_success_ts"]
        return last is not None and formats.read_instant(last) >= formats.read_instant(since)

    def restart(self) -> None:
        """Forget how far the pass came: it begins again, with its frozen bounds forgotten too."""
        self.data["resume"] = []
        self.data["windows_done"] = []


def _shown(token: Any) -> str | int | float | None:
    """A page token as `last_cursor` tells it: a scalar, or a short JSON text."""
    if is_kept(token):
        token = token[0]  # the list's own: what a person knows
    if token is None or isinstance(token, str | int | float):
        return token
    text = msgspec.json.encode(token).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def key_name(incremental: Incremental) -> str:
    """What `replication_key` says in STATE; rows without a date have a window alone."""
    return incremental.column or ("token" if incremental.sync_token is not None else "window")


def learnt_schema(data: dict[str, Any]) -> Iterable[list[str]]:
    """The learnt columns that a bookmark keeps: `[[name, kind], ...]`."""
    return [
        entry for entry in data.get("schema") or [] if isinstance(entry, list) and len(entry) == 2
    ]


def instant_text(instant: datetime) -> str:
    """An instant as STATE holds it: RFC 3339, UTC."""
    return str(_ISO.write(instant))


_ISO = formats.InstantFormat.parse("iso8601")
