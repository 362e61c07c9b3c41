"""What all ways to walk a list have in common: how a page is asked for, and where a list ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.connector.place import Condition, SentTo, TakenFrom
from tap_saas.connector.units import Duration
from tap_saas.errors import ApiError, PageTokenExpiredError

Count = Annotated[int, Meta(ge=1)]
LONGEST_SHOWN = 200


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{send: param:limit, value: 500}`: how many records a page is asked to have.

    send: where the size is sent
    value: the size
    """

    send: SentTo
    value: Count


class Cap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{records: 10000, then: split}`: an API that shows no more of a list than its beginning.

    records: how many records a list shows at most; as many or more in `total` mean that it has more
    then: split asks for smaller windows of time until each is below it, down to `window.min`; seek
      asks again from the replication key of the last record on, which needs `order: asc`
    """

    records: Count
    then: Literal["split", "seek"]


class FirstPage(msgspec.Struct, frozen=True):
    """What the first page of a walk showed: how many records the API really gives."""

    received: int


class Paginator(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True
):
    """How a list is walked. Holds no state: what changes is the page token, a JSON value.

    A member says `_ask`, how a page is asked for, and `_following`, where the next one is. The
    options here are common to all; the ends that they mean are found here, in `is_over`. With
    `total` or `pages` a token is `[member's token, records before it, pages before it]`.

    size: how many records a page has, a number, or {send, value} where it is asked for
    more: what holds on each page but the last
    total: where a page says how many records the list has; a list that names its next page is read
      on until an empty one, unless `stop` leaves that out
    pages: where a page says how many pages the list has
    stop: which pages are the last: empty ones, short ones (fewer records than the first had)
    incomplete: what holds on a page of a list that the API itself says is not whole: it has too
      many records where there is a `cap`, else a failure
    token_lives: how long the API knows a page token; an older one is not asked for, the walk begins
      again
    cap: how many records of a list the API shows, and what helps
    """

    size: Count | Size | None = None
    more: Condition | None = None
    total: TakenFrom | None = None
    pages: TakenFrom | None = None
    stop: list[Literal["empty", "short"]] = msgspec.field(default_factory=lambda: ["empty"])
    incomplete: Condition | None = None
    token_lives: Duration | None = None
    cap: Cap | None = None

    @property
    def expected(self) -> int | None:
        """How many records a full page has, None where the connector does not say."""
        return self.size.value if isinstance(self.size, Size) else self.size

    @property
    def is_consuming(self) -> bool:
        """True where a page can be asked for only once: no token may be kept or asked for again."""
        return False

    def apply(self, request: Request, token: PageToken | None) -> Request:
        """The request for the page of a token, None for the first.

        Raises:
            PageTokenExpiredError: the token was made by another kind of pagination.
        """
        if isinstance(self.size, Size):
            request = self.size.send.put(request, self.size.value)
        return self._ask(request, self.own(token))

    def next_token(self, page: Page, first: FirstPage) -> PageToken | None:
        """The token of the page after this one, None after the last.

        Raises:
            ApiError: the walk cannot go on, or the API says that its list is not whole.
        """
        if self.cap is None and self.is_incomplete(page.response):
            raise ApiError(
                "the API says that this list is incomplete",
                do="narrow the request, with incremental.window for one",
            )
        if self._ends(page, first):
            return None
        at, records, pages = self._counted(page.token)
        following = self._following(msgspec.structs.replace(page, token=at), first)
        if self._has_all(page, first) and (following is None or not self._goes_on_after_all):
            return None
        if following is None:
            if self.more is not None:
                raise ApiError("the API says that there is more, but gives no next page")
            return None
        if not _is_text(following):
            raise ApiError(
                f"the token of the next page, {shown(following)}, can neither be sent nor kept"
            )
        if not self._counts:
            return following
        return [following, records + page.received, pages + 1]

    def is_over(self, page: Page, first: FirstPage) -> bool:
        """True where the page itself says that it is the last, whatever next page it names."""
        return self._ends(page, first) or self._has_all(page, first)

    def is_incomplete(self, response: Response) -> bool:
        """True where the API says that its list is not whole."""
        return self.incomplete is not None and self.incomplete.holds(response)

    def total_in(self, response: Response) -> int | None:
        """How many records the list has, `None` where the page does not say; raises ApiError."""
        return _number(self.total, response)

    def pages_in(self, response: Response) -> int | None:
        """How many pages the list has, `None` where the page does not say; raises ApiError."""
        return _number(self.pages, response)

    @property
    def is_counted(self) -> bool:
        """True where pages are found by counting: what is added or removed before them moves
        records from page to page.
        """
        return False

    @property
    def overlapping(self) -> int:
        """How many records of the page before a page begins with, by which a move is noticed."""
        return 0

    def position(self, token: PageToken | None) -> int:
        """How far a counted list has come where this token asks: pages, or records."""
        raise NotImplementedError

    def back(self, token: PageToken, records: int) -> PageToken | None:
        """The token of a counted list so many records (or a page) before, None for the first."""
        raise NotImplementedError

    def ahead(self, page: Page, first: FirstPage, following: PageToken) -> Iterator[PageToken]:
        """`following` and the tokens after it that can be told now, if all pages are full."""
        yield following

    def _ends(self, page: Page, first: FirstPage) -> bool:
        if page.received == 0 and "empty" in self.stop:
            return True
        if page.received < max(first.received, 1) and "short" in self.stop:
            return True
        return self.more is not None and not self.more.holds(page.response)

    def _has_all(self, page: Page, first: FirstPage) -> bool:
        """True where so much has been read as `total` or `pages` says."""
        if not self._counts:
            return False
        _, records, pages = self._counted(page.token)
        return _reached(self.total, page.response, records + page.received) or _reached(
            self.pages, page.response, pages + 1
        )

    @property
    def _goes_on_after_all(self) -> bool:
        """True where the next page is read though all have been counted: records that were read and
        then removed, and others that came twice, make the count reach `total` too early.
        """
        return not self.is_counted and "empty" in self.stop

    def own(self, token: PageToken | None) -> PageToken | None:
        """The member's own token, without the counts: the same one means the same page."""
        return self._counted(token)[0]

    def says_end(self, response: Response) -> bool:
        """True where the place of a next page is in the response, with nothing in it."""
        return False

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        raise NotImplementedError

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        raise NotImplementedError

    @property
    def _counts(self) -> bool:
        return self.total is not None or self.pages is not None

    def _counted(self, token: PageToken | None) -> tuple[PageToken | None, int, int]:
        """The member's own token, and how many records and pages were before it."""
        if token is None or not self._counts:
            return token, 0, 0
        try:
            inner, records, pages = token
            return inner, int(records), int(pages)
        except (TypeError, ValueError):
            raise stale(token) from None


def _reached(place: TakenFrom | None, response: Response, count: int) -> bool:
    """True where there is a number at the place and the count has come to it."""
    told = _number(place, response)
    return told is not None and told <= count


def _number(place: TakenFrom | None, response: Response) -> int | None:
    """The number at a place, None for nothing and for -1, which some APIs say instead."""
    told = UNSET if place is None else place.read(response)
    if told is UNSET or told is None or told == "":
        return None
    try:
        number = int(told)
    except (TypeError, ValueError, OverflowError):
        raise ApiError(f"{place} is {shown(told)}, not a number") from None
    return number if number >= 0 else None


def stale(token: PageToken) -> PageTokenExpiredError:
    """The error for a token that another kind of pagination made."""
    return PageTokenExpiredError(f"the page token {shown(token)} is of another kind of pagination")


def shown(value: PageToken) -> str:
    """What an API or a state says instead, as far as a line has room for it."""
    try:
        text = repr(value)
    except RecursionError:
        text = "..."
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def whole(token: PageToken | None, first: int) -> int:
    """A token that is a whole number, `first` for the first page; raises PageTokenExpiredError."""
    if token is None:
        return first
    if not isinstance(token, int) or isinstance(token, bool):
        raise stale(token)
    return token


def _is_text(token: PageToken) -> bool:
    """False for a token with a lone surrogate, or as deep as a well: STATE cannot hold it."""
    try:
        json.dumps(token, ensure_ascii=False, default=str).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
