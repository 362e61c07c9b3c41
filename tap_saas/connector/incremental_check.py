"""What a schema cannot say about reading changes: `incremental`, and `pagination` beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tap_saas.connector.incremental import GRAINS, Incremental, Window, instant_format
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.mistake import Findings, Where
from tap_saas.connector.pagination import Offset, PageNumber, Pagination

# What has no meaning where the API's own sync token is the watermark.
_NOT_WITH_TOKEN = ("start", "end", "window", "first", "lookback", "lag", "precision", "retention")


def check_column(path: Path, where: Where, findings: Findings) -> None:
    """Tell where a path is not the way to one field."""
    if path.keys is None or not path.keys:
        findings.tell(where, f"{path} is not one field", "name it as in id or $.a.id")


def check_incremental(
    incremental: Incremental,
    where: Where,
    findings: Findings,
    *,
    names: frozenset[str],
    pagination: Pagination,
) -> None:
    """Tell every mistake of one `incremental`; `names` are the placeholders of its request."""
    _Incremental(incremental, where, findings, names, pagination).check()


def check_pagination(
    pagination: Pagination, incremental: Incremental | None, where: Where, findings: Findings
) -> None:
    """Tell what helps against a cap that this list cannot do."""
    cap = pagination.cap
    if cap is None or findings.is_touched(where):
        return
    at = (*where, "cap", "then")
    if cap.then == "split" and (incremental is None or incremental.window is None):
        what = "a list is split by time, and this one has no windows"
        findings.tell(at, what, "add `incremental.window`, with `start` and `end`")
    elif cap.then == "seek" and (incremental is None or incremental.order != "asc"):
        what = "to go on from the last record, the list must come in order of its replication key"
        findings.tell(at, what, "add `incremental` with `order: asc` and a `start`")
    elif cap.then == "seek" and incremental is not None and incremental.window is not None:
        what = "each window is a list of its own, which cannot be asked for from its last record"
        findings.tell(at, what, "write split, or take the windows away")


class _Incremental:
    """The mistakes of one `incremental`."""

    def __init__(
        self,
        incremental: Incremental,
        where: Where,
        findings: Findings,
        names: frozenset[str],
        pagination: Pagination,
    ) -> None:
        self._incremental = incremental
        self._where = where
        self._findings = findings
        self._names = names
        self._pagination = pagination

    def check(self) -> None:
        if self._incremental.sync_token is not None:
            self._check_token()
            return
        self._check_formats()
        self._check_distances()
        self._check_bounds()
        if self._incremental.window is not None:
            self._check_window(self._incremental.window)
        self._check_order()

    def _tell(self, place: Iterable[str], what: str, do: str | None, level: Any = "error") -> None:
        self._findings.tell((*self._where, *place), what, do, level)

    def _check_token(self) -> None:
        """The API's own token says all; nothing is compared with anything."""
        told = [name for name in _NOT_WITH_TOKEN if getattr(self._incremental, name) is not None]
        if self._incremental.filter is not None:
            told.append("filter")
        if self._incremental.order != "none":
            told.append("order")
        for name in told:
            self._tell([name], f"`{name}` has no meaning with a sync token", "take it away")

    def _check_formats(self) -> None:
        incremental = self._incremental
        if incremental.field is not None:
            check_column(incremental.field, (*self._where, "key"), self._findings)
        if not self._zone_is_known():
            return
        formats: list[tuple[tuple[str, ...], str]] = []
        if incremental.kind == "instant":
            formats.append((("format",), incremental.format))
        for name in ("start", "end"):
            bound = getattr(incremental, name)
            if bound is not None and bound.format is not None:
                formats.append(((name, "format"), bound.format))
        for place, text in formats:
            try:
                instant_format(text, incremental.zone)
            except ValueError as error:
                what, _, do = str(error).partition("; ")
                self._tell(place, what, do or None)
        self._check_first()

    def _zone_is_known(self) -> bool:
        zone = self._incremental.zone
        try:
            return zone is None or bool(ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._tell(["zone"], f'unknown time zone "{zone}"', "write one such as Europe/Berlin")
            return False

    def _check_first(self) -> None:
        first = self._incremental.first
        if first is None or self._findings.is_touched((*self._where, "format")):
            return
        try:
            self._incremental.restore(first)
        except ValueError as error:
            what, _, do = str(error).partition("; ")
            self._tell(["first"], what, do or "write one such as 2020-01-01")

    def _check_distances(self) -> None:
        kind = self._incremental.kind
        for name in ("lookback", "lag", "precision"):
            distance = getattr(self._incremental, name)
            if distance is None or not distance.value:
                continue
            is_duration = isinstance(distance.value, timedelta)
            if kind == "text":
                self._tell([name], f"texts have no {name}", "take it away")
            elif kind == "counter" and is_duration:
                self._tell([name], f"a counter's {name} is a number", "write one such as 100")
            elif kind == "instant" and not is_duration:
                self._tell([name], f"{distance} is not a duration", "write one such as 5m")
        if kind != "instant" and self._incremental.retention is not None:
            self._tell(["retention"], "only instants have a retention", "take it away")
        start = self._incremental.start
        if kind == "text" and start is not None and start.exclusive:
            self._tell(["start", "exclusive"], "no text comes just before another", "take it away")

    def _check_bounds(self) -> None:
        incremental = self._incremental
        has_start, has_end = self._has_bounds()
        if self._findings.is_touched(self._where):
            return
        if incremental.key is None and (incremental.window is None or not (has_start and has_end)):
            what = "without a key there must be a window, a start and an end"
            self._tell([], what, "add `key:`, the field that grows with each change")
        elif incremental.window is not None and not (has_start and has_end):
            what = "windows need requests that say from where and up to where"
            self._tell(["window"], what, "add `start: {send: ...}` and `end: {send: ...}`")
        elif not has_start and incremental.filter is None and incremental.order != "desc":
            what = "nothing tells the API where to start, so every run reads everything"
            do = "add `start: {send: param:updated_after}`, or `filter: client`"
            self._tell([], what, do)

    def _has_bounds(self) -> tuple[bool, bool]:
        start = self._incremental.start
        names = self._names
        has_start = "start" in names or (start is not None and start.send is not None)
        return has_start, "end" in names or self._incremental.end is not None

    def _check_window(self, window: Window) -> None:
        if self._incremental.kind != "instant":
            self._tell(["window"], "only instants have windows", "take it away")
        elif not window.size:
            self._tell(["window", "size"], "a window has a length", "write one such as 30d")
        elif window.align is not None and window.size % GRAINS[window.align]:
            what = f"windows that end at a full {window.align} are whole {window.align}s long"
            self._tell(["window", "size"], what, "make `size` a multiple of `align`")
        if window.min is not None and not timedelta(0) < window.min <= window.size:
            what = "the shortest window is longer than nothing and no longer than `size`"
            self._tell(["window", "min"], what, "write one such as 1m")

    def _check_order(self) -> None:
        if self._incremental.order == "asc" and isinstance(self._pagination, PageNumber | Offset):
            what = (
                "a record that changes while it is read moves to the end and others move up unseen"
            )
            do = "use cursor or seek if the API has them, or `order: desc`"
            self._tell(["order"], what, do, "warning")
        elif (
            isinstance(self._pagination, PageNumber)
            and self._pagination.parallel
            and self._incremental.window is None
        ):
            what = (
                "with `parallel` a record that changes can move others to a page that has been read"
            )
            do = "take `parallel` away, or use offset, cursor or seek if the API has them"
            self._tell([], what, do, "warning")
