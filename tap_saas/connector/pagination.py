"""How a list is walked: `pagination:` of a stream, one class a `type`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urljoin

from msgspec import Meta

from tap_saas.connector import ties
from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.connector.formats import InstantFormat, read_instant
from tap_saas.connector.jsonpath import Paths
from tap_saas.connector.links import links
from tap_saas.connector.paginator import Count, FirstPage, Paginator, Size, shown, stale, whole
from tap_saas.connector.place import SentTo, TakenFrom
from tap_saas.errors import ApiError


def _needs_an_end(paginator: Paginator, ends: tuple[Any, ...], words: str) -> None:
    if not paginator.stop and all(end is None for end in ends):
        raise ValueError(f"nothing ends this list; leave out `stop`, or say {words}")


Parallel: TypeAlias = bool | Count
"""How many pages are asked for at once: a number, or true for as many as the budget allows."""


def _check_parallel(paginator: PageNumber | Offset) -> None:
    """Pages can be asked for at once where the first one says how many there are."""
    if not paginator.parallel:
        return
    if paginator.total is None and paginator.pages is None:
        raise ValueError("`parallel` needs `total` or `pages`, which say what to ask for")
    if paginator.expected is None and (paginator.pages is None or isinstance(paginator, Offset)):
        raise ValueError("`parallel` needs `size`, by which it is known where each page begins")


class Single(Paginator, frozen=True, kw_only=True, tag="single"):
    """`{type: single}`: one page holds all."""

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return request

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        return None


class PageNumber(Paginator, frozen=True, kw_only=True, tag="page"):
    """`{type: page, send: param:page, size: {send: param:per_page, value: 100}}`: `?page=3`.

    send: where the page's number is sent
    first: the number of the first page
    parallel: how many pages are asked for at once where `total` or `pages` is known; true for as
      many as the budget allows
    """

    send: SentTo = SentTo.parse("param:page")
    first: int = 1
    parallel: Parallel = False

    def __post_init__(self) -> None:
        _needs_an_end(self, (self.more, self.total, self.pages), "`more`, `total` or `pages`")
        _check_parallel(self)

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return self.send.put(request, whole(token, self.first))

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        return whole(page.token, self.first) + 1

    @property
    def is_counted(self) -> bool:
        """True."""
        return True

    def position(self, token: PageToken | None) -> int:
        """How many pages are before it."""
        return whole(self.own(token), self.first) - self.first

    def back(self, token: PageToken, records: int) -> PageToken | None:
        """The page before."""
        number, counted, pages = self._counted(token)
        number = whole(number, self.first) - 1
        if number <= self.first:
            return None
        return [number, max(counted - records, 0), max(pages - 1, 0)] if self._counts else number

    def ahead(self, page: Page, first: FirstPage, following: PageToken) -> Iterator[PageToken]:
        """Page after page, up to `total` or `pages`."""
        yield following
        number, records, pages = self._counted(following)
        number = whole(number, self.first)
        total, most = self.total_in(page.response), self.pages_in(page.response)
        if total is None and most is None:
            return
        while True:
            number, records, pages = number + 1, records + first.received, pages + 1
            if (total is not None and records >= total) or (most is not None and pages >= most):
                return
            yield [number, records, pages]


class Offset(Paginator, frozen=True, kw_only=True, tag="offset"):
    """`{type: offset, send: param:offset, size: {send: param:limit, value: 100}}`: `?offset=200`.

    send: where the number of records to leave out is sent
    first: the offset of the first record
    overlap: how many records of the page before a page begins with: each must be in that page, or
      the list has moved and is read again from one page back; 1 unless said, 0 for an API that
      wants multiples of the size
    parallel: how many pages are asked for at once where `total` or `pages` is known; true for as
      many as the budget allows
    """

    send: SentTo = SentTo.parse("param:offset")
    first: int = 0
    overlap: Annotated[int, Meta(ge=0)] | None = None
    parallel: Parallel = False

    def __post_init__(self) -> None:
        if self.overlap and self.expected is not None and self.overlap >= self.expected:
            raise ValueError("`overlap` must be less than `size`, or no page brings a new record")
        _check_parallel(self)

    @property
    def overlapping(self) -> int:
        """How many records of the page before a page begins with.

        1 unless said: a record that was added or removed while the list is read is then seen. 0
        where pages of one record would never go on.
        """
        if self.overlap is not None:
            return self.overlap
        return 0 if self.expected == 1 else 1

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return self.send.put(request, whole(token, self.first))

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        # After an empty page the offset would be the same: it is the last whatever `stop` says.
        if not page.received:
            return None
        end = whole(page.token, self.first) + page.received
        overlap = min(self.overlapping, first.received - 1)
        if page.received > overlap or page.token is None:
            return max(end - overlap, whole(page.token, self.first) + 1)
        # Nothing but what the page before had: the list's end, unless the API says how long it is.
        goes_on = self.more is not None or self._length(page, first) is not None
        return end if goes_on else None

    @property
    def is_counted(self) -> bool:
        """True."""
        return True

    def position(self, token: PageToken | None) -> int:
        """How many records are before it."""
        return whole(token, self.first) - self.first

    def back(self, token: PageToken, records: int) -> PageToken | None:
        """So many records before."""
        at = whole(token, self.first) - records
        return at if at > self.first else None

    def ahead(self, page: Page, first: FirstPage, following: PageToken) -> Iterator[PageToken]:
        """Offset after offset, as far apart as the first two, up to the end of the list."""
        yield following
        length = self._length(page, first)
        at = whole(following, self.first)
        step = at - whole(page.token, self.first)
        while length is not None and at - self.first + first.received < length:
            at += step
            yield at

    @property
    def _counts(self) -> bool:
        # The offset itself says how many records are before it.
        return False

    def _has_all(self, page: Page, first: FirstPage) -> bool:
        length = self._length(page, first)
        return length is not None and self.position(page.token) + page.received >= length

    def _length(self, page: Page, first: FirstPage) -> int | None:
        """How many records the list has, or at most has, where the page says that."""
        total, pages = self.total_in(page.response), self.pages_in(page.response)
        return total if pages is None or total is not None else pages * max(first.received, 1)


class Cursor(Paginator, frozen=True, kw_only=True, tag="cursor"):
    """`{type: cursor, next: $.next_cursor, send: param:cursor}`: each page names the next.

    next: where a page gives the cursor of the next one
    send: where the cursor is sent
    first: the cursor of the first page, where that needs one
    once: a cursor works once: a failed request is not repeated, the pass begins again
    """

    next: TakenFrom
    send: SentTo
    first: Any = None
    once: bool = False

    def __post_init__(self) -> None:
        if self.once and self.token_lives is not None:
            raise ValueError("a cursor that works once is never kept; take `token_lives` away")

    @property
    def is_consuming(self) -> bool:
        """True for `once`."""
        return self.once

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        cursor = self.first if token is None else token
        return request if cursor is None else self.send.put(request, cursor)

    def says_end(self, response: Response) -> bool:
        """True for a cursor that is null or empty."""
        return self.next.is_blank(response)

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        return self.next.there(page.response)


class NextUrl(Paginator, frozen=True, kw_only=True, tag="next_url"):
    """`{type: next_url, next: $.links.next}`: each page has the URL of the next one.

    next: where the URL is, used as it is; parameters are not added again
    """

    next: TakenFrom

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return _to_link(request, token)

    def says_end(self, response: Response) -> bool:
        """True for a URL that is null or empty."""
        return self.next.is_blank(response)

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        link = self.next.there(page.response)
        if link is not None and not isinstance(link, str):
            raise ApiError(f"the next link at {self.next} is {shown(link)}, not a URL")
        return None if link is None else _absolute(page.response.url, link)


class LinkHeader(Paginator, frozen=True, kw_only=True, tag="link_header"):
    """`{type: link_header}`: the header `Link: <...>; rel="next"` (RFC 8288).

    rel: the relation of the next page
    """

    rel: str = "next"

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return _to_link(request, token)

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        header = page.response.headers.get("Link", "")
        wanted = self.rel.lower()
        link = next((target for target, relations in links(header) if wanted in relations), None)
        return None if link is None else _absolute(page.response.url, link)


def _absolute(url: str, link: str) -> str:
    """The address that a link in the answer of `url` means (RFC 3986 section 5)."""
    try:
        return urljoin(url, link)
    except ValueError as error:
        raise ApiError(f"the next link {shown(link)} is not a URL") from error


def _to_link(request: Request, token: PageToken | None) -> Request:
    if token is None:
        return request
    if not isinstance(token, str):
        raise stale(token)
    return request.with_url(token)


class Seek(Paginator, frozen=True, kw_only=True, tag="seek"):
    """`{type: seek, field: id, send: param:after}`: the next page is after the last record's value.

    field: the field by which the list is sorted; unique, or [field, unique], and then records of
      one value are read again where a page ends among them
    send: where the value of the last record is sent
    format: how it is sent, where it is an instant; as the record has it unless said
    order: asc or desc, how the list is sorted
    inclusive: the page begins with the record whose value is sent
    offset: where to send how many records to leave out, for a page of one value only
    """

    field: Paths
    send: SentTo
    format: InstantFormat | None = None
    order: Literal["asc", "desc"] = "asc"
    inclusive: bool = False
    offset: SentTo | None = None

    def __post_init__(self) -> None:
        if len(self.field.paths) > 2:
            raise ValueError("`field` is one field, or [field, unique]")
        if self._has_ties and self.expected is None and self.offset is None:
            raise ValueError("this list needs `offset`, or `size`, by which a full page is known")

    @property
    def _has_ties(self) -> bool:
        """True where a page may begin with records that the page before had."""
        return self.inclusive or len(self.field.paths) > 1

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        if not self._has_ties:
            return request if token is None else self.send.put(request, _scalar(token))
        mark = ties.Mark.of(token)
        if mark.value is not None:
            request = self.send.put(request, mark.value)
        if mark.grow > 1 and isinstance(self.size, Size):
            request = self.size.send.put(request, self.size.value * mark.grow)
        if mark.skip and self.offset is not None:
            request = self.offset.put(request, mark.skip)
        return request

    def _following(self, page: Page, first: FirstPage) -> PageToken | None:
        if not page.records:
            return None
        if not self._has_ties:
            return self._sent(page.records[-1])
        mark = self._ties().following(ties.Mark.of(page.token), page.records)
        return None if mark is None else mark.token

    def _ties(self) -> ties.Ties:
        return ties.Ties(
            sent=self._sent,
            inclusive=self.inclusive,
            size=self.expected or 1,
            can_skip=self.offset is not None,
            can_grow=isinstance(self.size, Size),
        )

    def _sent(self, record: Any) -> Any:
        """A record's value as it is sent."""
        path = self.field.paths[0]
        value = ties.value(record, path)
        if self.format is None:
            return value
        try:
            instant = self._read(value)
            written = self.format.write(instant)
            if self.order == "asc":
                return written
            # Backwards, a coarse format must not round to before the record.
            later = (self.format.write(instant + grain) for grain in _GRAINS)
            return next(
                (one for one in (written, *later) if self.format.read(one) >= instant), written
            )
        except (ValueError, OverflowError) as error:
            raise ApiError(
                f"the last record's {path} cannot be sent as {self.format}: {error}"
            ) from error

    def _read(self, value: Any) -> datetime:
        """The instant of a record, as RFC 3339 or in the format that is sent."""
        assert self.format is not None
        try:
            return read_instant(str(value), self.format.zone)
        except ValueError:
            return self.format.read(value)


_GRAINS = tuple(
    timedelta(**{unit: 1}) for unit in ("milliseconds", "seconds", "minutes", "hours", "days")
)


def _scalar(token: PageToken) -> PageToken:
    if not isinstance(token, (str, int, float)):
        raise stale(token)
    return token


Pagination: TypeAlias = Single | PageNumber | Offset | Cursor | NextUrl | LinkHeader | Seek
