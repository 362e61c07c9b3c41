"""Where a sorted list goes on when several of its records have the same value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Self

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import PageToken, field
from tap_saas.connector.jsonpath import Path
from tap_saas.errors import ApiError, PageTokenExpiredError

LARGEST = 16  # times the usual page


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """How a page is asked for: after (or from) which value, and how to get past many of one value.

    The page is `grow` times as large as usual; `skip` records are left out.
    """

    value: str | int | float | None = None
    grow: int = 1
    skip: int = 0

    @classmethod
    def of(cls, token: PageToken | None) -> Self:
        """The mark of a page token; raises PageTokenExpiredError for one of another list."""
        try:
            return cls() if token is None else msgspec.convert(token, cls)
        except msgspec.ValidationError:
            raise PageTokenExpiredError(
                f"the page token {token!r} is of another kind of pagination"
            ) from None

    @property
    def token(self) -> PageToken:
        """The mark as a page token."""
        return [self.value, self.grow, self.skip]


def value(record: Any, path: Path) -> Any:
    """A record's value as page tokens hold it: a text or a number; raises ApiError."""
    found = field(record, path)
    if isinstance(found, Decimal):
        number = float(found)
        if Decimal(repr(number)) != found:
            return str(found)
        return int(number) if number.is_integer() else number
    if isinstance(found, (str, int, float)) and not isinstance(found, bool):
        return found
    what = "nothing" if found is UNSET or found is None else f"a {type(found).__name__}"
    raise ApiError(
        f"the last record has {what} at {path}, so the next page cannot be asked for",
        do="name a field that each record has in pagination.field",
    )


class Ties(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one list: what is sent of a record, how large a full page is, what helps."""

    sent: Callable[[Any], Any]
    inclusive: bool
    size: int
    can_skip: bool
    can_grow: bool

    def following(self, mark: Mark, records: Sequence[Any]) -> Mark | None:
        """The mark of the page after these records, None where they are the list's end.

        Raises:
            ApiError: all have one value, and nothing gets past it.
        """
        following = self.sent(records[-1]) if self.inclusive else self._before(records)
        if following is not None and following != mark.value:
            return Mark(following)
        # All records of the page have one value: there is no other to send.
        if self.can_skip:
            return Mark(mark.value, 1, mark.skip + len(records))
        if len(records) < self.size:
            return None
        if len(records) < self.size * mark.grow or not self.can_grow or mark.grow >= LARGEST:
            raise self._stuck(records)
        return Mark(mark.value, mark.grow * 2)

    def _before(self, records: Sequence[Any]) -> Any:
        """The value before that of the last records: after it they come again, all of them."""
        final = self.sent(records[-1])
        values = map(self.sent, reversed(records))
        return next((one for one in values if one != final), None)

    def _stuck(self, records: Sequence[Any]) -> ApiError:
        return ApiError(
            f"{len(records):,} records and maybe more have the value {self.sent(records[-1])!r}, "
            f"more than a page holds",
            do="say pagination.offset, or a larger size",
        )
