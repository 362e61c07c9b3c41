"""The fourth answer: what a request says so that only changes come, and how far a run has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.volume import asks_for_changes
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.model import Stream
from tap_saas.sync.partitions import parent_stream


def incremental(stream: Stream, start_date: datetime | None) -> list[str]:
    """The sentences about one stream's replication key."""
    found = stream.incremental
    due = []
    if stream.every is not None:
        due = [f"read every {words.duration(stream.every)}; runs in between leave it out"]
    if found is None:
        return [*_whole(stream), *due]
    lines = [
        *due,
        *_parents(stream),
        *_sent(stream, found),
        f"first run: {_first(found, start_date)}",
    ]
    if found.sync_token is not None:
        expired = f"where the API has forgotten it ({found.sync_token.expired}), from everything"
        return [*lines, f"later runs: from the API's own sync token; {expired}"]
    back = f" less {found.lookback} (lookback)" if found.lookback and found.lookback.value else ""
    lines.append(f"later runs: from the watermark{back}")
    lines.append(f"the watermark, the largest {found.column or 'end of a window'}, {moved(found)}")
    lines += _distance(found)
    if found.window is not None:
        lines.append(f"a long time is read in windows of {words.duration(found.window.size)}")
    if found.retention is not None:
        kept = words.duration(found.retention)
        lines.append(f"a watermark older than {kept} (retention): from everything")
    return lines


def _whole(stream: Stream) -> list[str]:
    """The sentences about a stream that knows no changes of its own."""
    return _parents(stream) or ["none: each run reads everything"]


def _parents(stream: Stream) -> list[str]:
    """Which lists a run asks for, where not those of all parents."""
    parent = parent_stream(stream)
    if parent is None or parent.changed is None:
        return []
    every = words.duration(parent.changed.full_every)
    return [
        f"only the lists of {parent.stream} that changed since the last pass (parents.changed)",
        f"those of all {parent.stream} every {every}: what changes without its parent comes then",
    ]


def moved(found: Incremental) -> str:
    """When the watermark moves."""
    if found.window is not None:
        return "moves after each complete window"
    return "moves with each page" if found.order == "asc" else "moves when the pass is complete"


def lag(found: Incremental) -> timedelta:
    """How far the watermark stays before the start of a pass."""
    start = datetime(2025, 1, 2, tzinfo=UTC)
    capped = found.cap(start + timedelta(days=1), start)
    return start - capped if isinstance(capped, datetime) else timedelta()


def _sent(stream: Stream, found: Incremental) -> list[str]:
    key = f"{found.column or 'windows of time, no field of the record'}"
    if found.sync_token is not None:
        token = found.sync_token
        return [f"a sync token, taken from the last page at {token.token}, sent in {token.send}"]
    lines = [f"{key} ({found.format}), in order: {found.order}"]
    if found.start is not None and found.start.send is not None:
        grain = ", one `precision` earlier" if found.start.exclusive else ""
        lines.append(f"{found.start.send} says from where on{grain}")
    elif "start" in stream.names:
        lines.append("{start} in the request says from where on")
    if found.end is not None:
        lines.append(f"{found.end.send} says up to where")
    if not asks_for_changes(stream):
        lines.append(
            "the list is read until the watermark"
            if found.order == "desc"
            else "the API cannot filter: each run reads everything, older records are left out"
        )
    return lines


def _first(found: Incremental, start_date: datetime | None) -> str:
    since = found.since(None, start_date)
    if since is None:
        return "everything (set start_date for less)"
    by = "start_date" if start_date is not None and found.kind == "instant" else "first"
    return f"from {found.store(since)} ({by})"


def _distance(found: Incremental) -> list[str]:
    if found.kind == "instant":
        stays = f"{words.duration(lag(found))} (lag) before the pass's start"
    elif found.lag is not None and found.lag.value:
        stays = f"{found.lag} (lag) before the largest"
    else:
        return []
    return [f"it stays {stays}: what the API shows late is not missed"]
