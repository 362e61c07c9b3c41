"""The first answer: how a list is walked, what ends it, what happens where it moves meanwhile."""

from __future__ import annotations

from tap_saas.authoring.explain import words
from tap_saas.client.pager import width
from tap_saas.connector.model import Stream
from tap_saas.connector.pagination import (
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    PageNumber,
    Pagination,
    Seek,
    Single,
)
from tap_saas.connector.paginator import Size

GUARD = "a page or a page token that comes twice is a failure, not an endless list"


def pagination(stream: Stream, page_size: int, repeated: int) -> list[str]:
    """The sentences about one stream's list; `repeated` records of a page come in the next too."""
    paginator = stream.pagination
    lines = [_walk(paginator)]
    if not isinstance(paginator, Single):
        lines += [_size(paginator, page_size), f"the list ends with {_end(paginator)}"]
        lines += [_moves(stream, repeated), GUARD]
    if paginator.incomplete is not None:
        lines.append(f"{paginator.incomplete} is a failure: the API does not give the whole list")
    if paginator.token_lives is not None:
        lives = words.duration(paginator.token_lives)
        lines.append(f"a page token older than {lives} is not asked for: the walk begins again")
    if paginator.cap is not None:
        shown = words.number(paginator.cap.records)
        lines.append(f"the API shows at most {shown} records of a list; then: {paginator.cap.then}")
    return lines


def at_once(stream: Stream, parallel: int) -> list[str]:
    """What is asked for at the same time, within the budgets."""
    found, pages = [], pages_at_once(stream.pagination)
    if pages > 1:
        found.append(f"up to {pages} pages at once (pagination.parallel), within the budgets")
    incremental = stream.incremental
    has_windows = incremental is not None and incremental.window is not None
    if parallel > 1 and (stream.parents or stream.for_each is not None or has_windows):
        what = "windows" if has_windows and not stream.parents else "lists"
        found.append(f"up to {parallel} {what} at once (the setting parallel), within the budgets")
    return found


def pages_at_once(paginator: Pagination) -> int:
    """How many pages of one list are asked for at once, where it says how many there are."""
    is_known = paginator.total is not None or paginator.pages is not None
    return width(paginator) if is_known and paginator.cap is None else 1


def ends(paginator: Pagination) -> list[str]:
    """What ends the list, each by itself."""
    if isinstance(paginator, Single):
        return ["the one page"]
    found = []
    if isinstance(paginator, Cursor):
        found.append(f"no cursor at {paginator.next}")
    elif isinstance(paginator, NextUrl):
        found.append(f"no URL at {paginator.next}")
    elif isinstance(paginator, LinkHeader):
        found.append(f'no Link header with rel="{paginator.rel}"')
    if paginator.more is not None:
        found.append(f"a page for which {paginator.more} does not hold")
    if paginator.total is not None:
        found.append(f"as many records as {paginator.total} says")
    if paginator.pages is not None:
        found.append(f"as many pages as {paginator.pages} says")
    if "short" in paginator.stop:
        found.append("a page with fewer records than the first")
    if "empty" in paginator.stop or not found:
        found.append("an empty page")
    return found


def _end(paginator: Pagination) -> str:
    found = ends(paginator)
    return words.listed(found, "or") + (", whichever comes first" if found[1:] else "")


def _walk(paginator: Pagination) -> str:
    match paginator:
        case Single():
            return "single: one request brings the whole list"
        case PageNumber():
            return f"page: its number, from {paginator.first} on, in {paginator.send}"
        case Offset():
            first = paginator.first
            return f"offset: how many records to leave out, from {first} on, in {paginator.send}"
        case Cursor():
            return f"cursor: each page has the next one's at {paginator.next}, for {paginator.send}"
        case NextUrl():
            return f"next URL: each page has the address of the next one at {paginator.next}"
        case LinkHeader():
            return f'Link header: the address with rel="{paginator.rel}" (RFC 8288)'
        case Seek():
            where = "begins with" if paginator.inclusive else "comes after"
            last = f"the last record's {paginator.field}, sent in {paginator.send}"
            return f"seek: the next page {where} {last}"


def _size(paginator: Pagination, page_size: int) -> str:
    size = paginator.size
    if isinstance(size, Size):
        return f"{words.number(size.value)} records a page, asked for in {size.send}"
    if size is not None:
        return f"{words.number(size)} records a page"
    return f"how many records a page has is not said (pagination.size): {page_size} are assumed"


def _moves(stream: Stream, repeated: int) -> str:
    """What happens where records come, go or change while the list is read."""
    match paginator := stream.pagination:
        case Cursor() if paginator.is_consuming:
            return "a cursor works once: after a failure the pass begins again"
        case Cursor() | NextUrl() | LinkHeader():
            return "a list that moves while it is read: the API's own token keeps the place"
        case Seek():
            return "a list that moves while it is read: a record's value keeps the place"
        case Offset() if repeated:
            shared = words.counted(repeated, "record")
            return (
                f"a list that moves while it is read: each page begins with the last {shared} of "
                "the page before; if they are others, it goes on one page back"
            )
        case _:
            return (
                "a list that moves while it is read: rows that come twice are upserted, but one "
                "that moves to a page already read is missed until it changes again"
            )
