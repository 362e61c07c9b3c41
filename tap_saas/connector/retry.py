"""How often and how late a request is asked again: numbers, not the waiting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated

import msgspec

from tap_saas.connector.units import Duration

ZERO = timedelta(0)
# A hundred years, the longest duration, is less than 2**42 milliseconds, the shortest.
DOUBLINGS = 42


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`retry: {attempts: 8, first: 1s, max: 60s, total: 15m}`.

    attempts: how often a request may fail; a wait that the API asks for (429) is no failure
    first: the longest wait after the first failure, twice as long after each further one
    max: the longest of these waits
    total: how long one request may take with all its failures and the API's waits
    """

    attempts: Annotated[int, msgspec.Meta(ge=1)] = 8
    first: Duration = Duration(seconds=1)
    max: Duration = Duration(seconds=60)
    total: Duration = Duration(minutes=15)

    def wait(self, count: int, chance: float, asked: timedelta | None = None) -> timedelta:
        """How long to wait after the `count`-th failure (from 1); `chance` is in [0, 1].

        Exponential with full jitter, never earlier than `asked` (the API's Retry-After).
        """
        longest = min(self.max, self.first * (1 << min(count - 1, DOUBLINGS)))
        return max(longest * chance, asked or ZERO)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """What `Retry-After` asks for, as seconds or as HTTP date (RFC 9110 section 10.2.3).

    A date is measured against the answer's own `Date`, against `now` where it has none. Never
    negative; None where the header is missing or says nothing.
    """
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        return max(ZERO, timedelta(seconds=float(text)))
    except (ValueError, OverflowError):
        until = read_http_date(text)
    if until is None:
        return None
    return max(ZERO, until - (read_http_date(headers.get("Date")) or now))


def read_http_date(text: str | None) -> datetime | None:
    """An HTTP date in UTC (RFC 9110 section 5.6.7); None where there is none."""
    if text is None:
        return None
    try:
        instant = parsedate_to_datetime(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        return None
