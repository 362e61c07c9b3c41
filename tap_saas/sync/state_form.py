"""What a state must look like before anything is asked of it: one clear line instead of a crash."""

from __future__ import annotations

from typing import Any

import msgspec

from tap_saas.connector import formats
from tap_saas.errors import StateError
from tap_saas.sync.bookmark import Walk
from tap_saas.sync.columns import Kind, bad_name

_DO = "mend the state, or pass one that this tap has written"


class _Bookmark(msgspec.Struct):
    """The members of a bookmark that the code takes for granted; others are left alone."""

    replication_key: str | None = None
    replication_key_value: str | int | float | None = None
    last_success_ts: str | None = None
    resume: list[Walk] = []
    windows_done: list[tuple[Any, Any]] = []
    unfinished: list[Any] = []
    schema: list[tuple[str, Kind]] = []
    pending: list[Any] = []
    queue: list[Any] = []
    parents: list[Any] = []
    due: list[Any] = []
    sweep: list[Any] = []
    activate: list[Any] = []
    swept: list[Any] = []


class _Part(_Bookmark, kw_only=True):
    """The bookmark of one partition."""

    context: dict[str, Any]


class _Whole(_Bookmark):
    """The bookmark of a stream."""

    partitions: list[_Part] = []


def check(state: dict[str, Any]) -> None:
    """Refuse what is no state of this tap; `{}` is one that says nothing.

    Raises:
        StateError: naming the stream and the member that is wrong.
    """
    bookmarks = state.get("bookmarks")
    if not state:
        return
    if not isinstance(bookmarks, dict):
        raise StateError("the state has no bookmarks of streams", do=_DO)
    for stream, bookmark in bookmarks.items():
        try:
            whole = msgspec.convert(bookmark, _Whole)
            for part in (whole, *whole.partitions):
                _check_instants(part)
                _check_names(part)
        except (msgspec.ValidationError, ValueError) as error:
            raise StateError(
                f"its bookmark in the state cannot be read ({error})", stream=stream, do=_DO
            ) from error


def _check_names(bookmark: _Bookmark) -> None:
    for name, _ in bookmark.schema:
        if bad_name(name):
            raise ValueError(f"{name!r} names no column - at `$.schema`")


def _check_instants(bookmark: _Bookmark) -> None:
    for walk in bookmark.resume:
        formats.read_instant(walk.started_at)
        if walk.token_at is not None:
            formats.read_instant(walk.token_at)
    if bookmark.last_success_ts is not None:
        formats.read_instant(bookmark.last_success_ts)
