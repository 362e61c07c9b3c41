"""How a list is walked: `pagination:` of a stream, one class a `type`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urljoin

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector import ties
from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.connector.formats import InstantFormat, read_instant
from tap_saas.connector.jsonpath import Paths
from tap_saas.connector.links import links
from tap_saas.connector.place import Condition, SentTo, TakenFrom
from tap_saas.errors import ApiError, PageTokenExpiredError

Count = Annotated[int, Meta(ge=1)]


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{send: param:limit, value: 500}`: how many records a page is asked to have.

    send: where the size is sent
    value: the size
    """

    send: SentTo
    value: Count


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
    """

    size: Count | Size | None = None
    more: Condition | None = None
    total: TakenFrom | None = None
    pages: TakenFrom | None = None
    stop: list[Literal["empty", "short"]] = msgspec.field(default_factory=lambda: ["empty"])
    incomplete: Condition | None = None

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
        if self.incomplete is not None and self.incomplete.holds(page.response):
            raise ApiError(
                "the API says that this list is incomplete",
                do="narrow the request, with incremental.window for one",
            )
        if self.is_over(page, first):
            return None
        at, records, pages = self._counted(page.token)
        following = self._following(msgspec.structs.replace(page, token=at))
        if following is None:
            if self.more is not None:
                raise ApiError("the API says that there is more, but gives no next page")
            return None
        if not self._counts:
            return following
        return [following, records + page.received, pages + 1]

    def is_over(self, page: Page, first: FirstPage) -> bool:
        """True where the page itself says that it is the last, whatever next page it names."""
        if page.received == 0 and "empty" in self.stop:
            return True
        if page.received < first.received and "short" in self.stop:
            return True
        if self.more is not None and not self.more.holds(page.response):
            return True
        if not self._counts:
            return False
        _, records, pages = self._counted(page.token)
        return _reached(self.total, page.response, records + page.received) or _reached(
            self.pages, page.response, pages + 1
        )

    def own(self, token: PageToken | None) -> PageToken | None:
        """The member's own token, without the counts: the same one means the same page."""
        return self._counted(token)[0]

    def says_end(self, response: Response) -> bool:
        """True where the place of a next page is in the response, with nothing in it."""
        return False

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        raise NotImplementedError

    def _following(self, page: Page) -> PageToken | None:
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
            raise _stale(token) from None


def _reached(place: TakenFrom | None, response: Response, count: int) -> bool:
    """True where there is a number at the place and the count has come to it."""
    told = UNSET if place is None else place.read(response)
    if told is UNSET or told is None or told == "":
        return False
    try:
        return 0 <= int(told) <= count
    except (TypeError, ValueError):
        raise ApiError(f"{place} is {told!r}, not a number") from None


def _stale(token: PageToken) -> PageTokenExpiredError:
    return PageTokenExpiredError(f"the page token {token!r} is of another kind of pagination")


def _whole(token: PageToken | None, first: int) -> int:
    if token is None:
        return first
    if not isinstance(token, int) or isinstance(token, bool):
        raise _stale(token)
    return token


def _needs_an_end(paginator: Paginator, ends: tuple[Any, ...], words: str) -> None:
    if not paginator.stop and all(end is None for end in ends):
        raise ValueError(f"nothing ends this list; leave out `stop`, or say {words}")


class Single(Paginator, frozen=True, kw_only=True, tag="single"):
    """`{type: single}`: one page holds all."""

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return request

    def _following(self, page: Page) -> PageToken | None:
        return None


class PageNumber(Paginator, frozen=True, kw_only=True, tag="page"):
    """`{type: page, send: param:page, size: {send: param:per_page, value: 100}}`: `?page=3`.

    send: where the page's number is sent
    first: the number of the first page
    """

    send: SentTo = SentTo.parse("param:page")
    first: int = 1

    def __post_init__(self) -> None:
        _needs_an_end(self, (self.more, self.total, self.pages), "`more`, `total` or `pages`")

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return self.send.put(request, _whole(token, self.first))

    def _following(self, page: Page) -> PageToken | None:
        return _whole(page.token, self.first) + 1


class Offset(Paginator, frozen=True, kw_only=True, tag="offset"):
    """`{type: offset, send: param:offset, size: {send: param:limit, value: 100}}`: `?offset=200`.

    send: where the number of records to leave out is sent
    first: the offset of the first record
    """

    send: SentTo = SentTo.parse("param:offset")
    first: int = 0

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return self.send.put(request, _whole(token, self.first))

    def _following(self, page: Page) -> PageToken | None:
        # After an empty page the offset would be the same: it is the last whatever `stop` says.
        return _whole(page.token, self.first) + page.received if page.received else None


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

    def _following(self, page: Page) -> PageToken | None:
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

    def _following(self, page: Page) -> PageToken | None:
        link = self.next.there(page.response)
        if link is not None and not isinstance(link, str):
            raise ApiError(f"the next link at {self.next} is {link!r}, not a URL")
        return None if link is None else urljoin(page.response.url, link)


class LinkHeader(Paginator, frozen=True, kw_only=True, tag="link_header"):
    """`{type: link_header}`: the header `Link: <...>; rel="next"` (RFC 8288).

    rel: the relation of the next page
    """

    rel: str = "next"

    def _ask(self, request: Request, token: PageToken | None) -> Request:
        return _to_link(request, token)

    def _following(self, page: Page) -> PageToken | None:
        header = page.response.headers.get("Link", "")
        wanted = self.rel.lower()
        link = next((target for target, relations in links(header) if wanted in relations), None)
        return None if link is None else urljoin(page.response.url, link)


def _to_link(request: Request, token: PageToken | None) -> Request:
    if token is None:
        return request
    if not isinstance(token, str):
        raise _stale(token)
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

    def _following(self, page: Page) -> PageToken | None:
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
        raise _stale(token)
    return token


Pagination: TypeAlias = Single | PageNumber | Offset | Cursor | NextUrl | LinkHeader | Seek
