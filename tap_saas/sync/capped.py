"""What helps where the API shows only a part of a list: smaller windows, or a later beginning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tap_saas.client.capped import OverCapError
from tap_saas.connector.incremental import Incremental, Interval
from tap_saas.errors import ApiError
from tap_saas.sync.bookmark import Walk, instant_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALLEST = timedelta(microseconds=1)


def halves(incremental: Incremental, window: Interval, over: OverCapError) -> list[Interval]:
    """The window in two that meet at a full `precision`.

    Raises:
        OverCapError: lists of it are not to be split.
        ApiError: it is as short as a window may be.
    """
    if over.cap.then != "split" or incremental.window is None:
        raise over
    start, end = cast("tuple[datetime, datetime]", window)
    grain = _grain(incremental)
    shortest = max(incremental.window.min or grain, grain)
    middle = start + (end - start) / 2
    middle -= (middle - _EPOCH) % grain
    if end - start < 2 * shortest or not start < middle < end:
        raise ApiError(
            f"{over.cap.records:,} records or more between {instant_text(start)} and "
            f"{instant_text(end)}, and the API shows no more of a list",
            stream=over.stream,
            partition=over.partition,
            do="narrow the request, or say a smaller incremental.window.min; the watermark stays "
            "before this window",
        ) from over
    return [(start, middle), (middle, end)]


def _grain(incremental: Incremental) -> timedelta:
    """How exact the API's filter is."""
    told = None if incremental.precision is None else incremental.precision.value
    return max(told, _SMALLEST) if isinstance(told, timedelta) else timedelta(seconds=1)


def behind(incremental: Incremental | None, walk: Walk, since: Any, over: OverCapError) -> Any:
    """From where on the list is asked for again: the largest replication key that was seen.

    Raises:
        OverCapError: it is not read in that order.
        ApiError: all that the API shows has one replication key.
    """
    if over.cap.then != "seek" or incremental is None or incremental.order != "asc":
        raise over
    if walk.demoted or walk.max_seen is None:
        raise over
    seen: Any = incremental.restore(walk.max_seen)
    if since is not None and seen <= since:
        raise ApiError(
            f"{over.cap.records:,} records or more have the {incremental.column} {walk.max_seen}, "
            "and the API shows no more of a list",
            stream=over.stream,
            partition=over.partition,
            do="narrow the request, with for_each or parents for one",
        ) from over
    walk.since, walk.page_token = walk.max_seen, None
    return seen
