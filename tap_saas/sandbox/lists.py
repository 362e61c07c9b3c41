"""How a list is walked: cursor, page number, offset, seek by id, next URL and Link header.

| asked for | answer |
| --- | --- |
| `limit`, `cursor` | `{"data", "next_cursor", "has_more", "total"}` |
| `page`, `per_page` | `{"data", "page", "per_page", "pages", "total"}` |
| `offset`, `limit` | `{"data", "offset", "limit", "total"}` |
| `after`, `limit` | `{"data", "has_more"}`, sorted by id |
| `/next/...` | `{"items", "next"}`, an absolute URL or null |
| `/link/...` | an array, and a header `Link: <...>; rel="next"` |

A cursor is a place in the sort order (sort value, id), so a walk by cursor, next URL or Link meets
every record that is not touched meanwhile exactly once. Page numbers and offsets count records:
where records move, they skip and repeat, as such lists do. Filters are sent with every page.
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import urlencode

from tap_saas.sandbox.instants import first_ms_at_or_after
from tap_saas.sandbox.refusal import bad
from tap_saas.sandbox.table import SLOT_BITS, SLOT_MASK, Listing

Sort = Literal["updated_at", "-updated_at", "id"]
Style = Literal["cursor", "page", "offset", "after"]
DEFAULT_LIMIT = 100
MAX_LIMIT = 500
FORMS = ("iso", "epoch_s", "epoch_ms")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a list: `since` included, `until` not, both in milliseconds."""

    style: Style
    sort: Sort
    limit: int
    since: int | None = None
    until: int | None = None
    place: int | None = None
    number: int = 0
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A page of a list: the records' JSON texts, what stands beside them, the next cursor."""

    texts: list[bytes]
    beside: dict[str, object]
    next_cursor: str | None = None

    def body(self, name: str = "data") -> bytes:
        """A JSON object with the records under `name`."""
        rest = json.dumps(self.beside, separators=(",", ":"))[1:].encode()
        return b'{"%s":[%s]%s%s' % (
            name.encode(),
            b",".join(self.texts),
            b"," if self.beside else b"",
            rest,
        )

    def array(self) -> bytes:
        """A JSON array of the records alone."""
        return b"[" + b",".join(self.texts) + b"]"


class View:
    """The entries of a list between two instants in one sort order, counted from 0."""

    def __init__(self, listing: Listing, query: Query) -> None:
        keys = listing.keys
        self._keys = keys
        self._sort = query.sort
        self._start = 0 if query.since is None else bisect_left(keys, query.since << SLOT_BITS)
        stop = len(keys)
        if query.until is not None:
            stop = bisect_left(keys, query.until << SLOT_BITS)
        self._stop = max(stop, self._start)
        self._ids: Sequence[int] = ()
        if query.sort == "id":
            self._ids = listing.by_id(self._start, self._stop)

    def __len__(self) -> int:
        return len(self._ids) if self._sort == "id" else self._stop - self._start

    def places(self, first: int, limit: int) -> Sequence[int]:
        """Places of the entries from `first` on: keys, or slots where sorted by id."""
        last = min(first + limit, len(self))
        if self._sort == "id":
            return self._ids[first:last]
        if self._sort == "updated_at":
            return self._keys[self._start + first : self._start + last]
        return self._keys[self._stop - last : max(self._stop - first, 0)][::-1]

    def index_after(self, place: int) -> int:
        """How many entries stand at or before a place."""
        if self._sort == "id":
            return bisect_right(self._ids, place)
        if self._sort == "updated_at":
            return bisect_right(self._keys, place, self._start, self._stop) - self._start
        return self._stop - bisect_left(self._keys, place, self._start, self._stop)


def read_query(params: Mapping[str, str]) -> Query:
    """What the query string asks for; unknown parameters are ignored, as most APIs do.

    Raises: RefusalError 400 where a known one cannot be read.
    """
    asked = [style for style in get_args(Style) if style in params]
    if len(asked) > 1:
        raise bad(f"{' and '.join(asked)} exclude each other")
    style: Style = asked[0] if asked else "page" if "per_page" in params else "cursor"
    limit_name = "per_page" if "per_page" in params else "limit"
    limit = min(_whole(params, limit_name, DEFAULT_LIMIT, least=1), MAX_LIMIT)
    sort = params.get("sort", "id" if style == "after" else "updated_at")
    if sort not in get_args(Sort) or (style == "after" and sort != "id"):
        raise bad("sort is not one of id, updated_at, -updated_at; after goes with id only")
    number = 0
    if style == "page":
        number = (_whole(params, "page", 1, least=1) - 1) * limit
    elif style == "offset":
        number = _whole(params, "offset", 0, least=0)
    form = params.get("format", "iso")
    if form not in FORMS:
        raise bad(f"format is not one of {', '.join(FORMS)}")
    return Query(
        style=style,
        sort=cast("Sort", sort),
        limit=limit,
        since=_instant(params, "updated_after", form),
        until=_instant(params, "updated_before", form),
        place=_read_cursor(params["cursor"], sort) if params.get("cursor") else None,
        number=number,
        after=params.get("after"),
    )


def take(listing: Listing, query: Query) -> Part:
    """The page that a query asks for."""
    view = View(listing, query)
    first = _first(listing, view, query)
    places = view.places(first, query.limit)
    texts = [listing.render(place & SLOT_MASK) for place in places]
    total, has_more = len(view), first + len(places) < len(view)
    if query.style == "page":
        pages = -(-total // query.limit)
        number = query.number // query.limit + 1
        shown = {"page": number, "per_page": query.limit, "pages": pages, "total": total}
        return Part(texts, dict(shown))
    if query.style == "offset":
        return Part(texts, {"offset": query.number, "limit": query.limit, "total": total})
    if query.style == "after":
        return Part(texts, {"has_more": has_more})
    cursor = _write_cursor(query.sort, places[-1]) if has_more and places else None
    return Part(texts, {"next_cursor": cursor, "has_more": has_more, "total": total}, cursor)


def next_url(base: str, params: Mapping[str, str], cursor: str) -> str:
    """The address of the next page: the same question, never with a credential in it."""
    kept = {name: value for name, value in params.items() if name not in {"api_key", "cursor"}}
    return f"{base}?{urlencode({**kept, 'cursor': cursor})}"


def _first(listing: Listing, view: View, query: Query) -> int:
    if query.style in {"page", "offset"}:
        return min(query.number, len(view))
    if query.style == "cursor":
        return 0 if query.place is None else view.index_after(query.place)
    try:
        return view.index_after(listing.slot_of(query.after or ""))
    except ValueError as error:
        raise bad("after is not an id of this list") from error


def _whole(params: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise bad(f"{name} is not a whole number from {least} on")
    return int(text)


def _instant(params: Mapping[str, str], name: str, form: str) -> int | None:
    text = params.get(name)
    if not text:
        return None
    try:
        return first_ms_at_or_after(text, form)
    except (ValueError, OverflowError) as error:
        raise bad(f"{name} is not an instant in the format {form}") from error


def _write_cursor(sort: str, place: int) -> str:
    return base64.urlsafe_b64encode(f"{sort}:{place}".encode()).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        written_for, place = raw.split(":")
        number = int(place)
    except (binascii.Error, ValueError) as error:
        raise bad("the cursor is not one of ours", "invalid_cursor") from error
    if written_for != sort:
        raise bad(f"the cursor belongs to sort={written_for}", "invalid_cursor")
    return number
