"""By which parameter a list takes the size of a page, found by asking for smaller pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, urlsplit

from tap_saas.authoring import vocabulary
from tap_saas.authoring.lists import Listing, outside
from tap_saas.authoring.naming import words
from tap_saas.authoring.paging import Told
from tap_saas.connector.exchange import Page, Request

FIRST = {"page": "per_page", "link_header": "per_page"}
SIZES = frozenset("".join(words(name)) for name in vocabulary.SIZE_PARAMS)
TRIED = (1_000, 100)  # the largest that many APIs take, and the commonest
SMALLEST_K = 20
ONE_BY_ONE = 3

Ask = Callable[[Sequence[tuple[str, int]]], Page | None]
"""Asks for the first page with these parameters; `None` where it is not the list's beginning."""


def names(request: Request, first: Page, listing: Listing, told: Told, kind: str) -> list[str]:
    """The parameters to try: what the URL, the answer and its links show before what is common."""
    given = [name for name, value in request.params if _is_size(name) and value.isdigit()]
    linked = [
        name
        for link in [told.linked or "", *(link for _, link in told.links)]
        for name, value in parse_qsl(urlsplit(link).query)
        if _is_size(name) and value == str(first.received)
    ]
    shown = [
        str(path.steps[-1])
        for path, value in outside(first.response.document.value, listing)
        if value == first.received and _is_size(str(path.steps[-1]))
    ]
    common = [name for name in (FIRST.get(kind), *vocabulary.SIZE_PARAMS) if name is not None]
    return list(dict.fromkeys([*given, *linked, *shown, *common]))


def smaller(received: int) -> int:
    """A size at which two pages are in what was received."""
    return max(1, min(received // 2, SMALLEST_K))


def search(
    ask: Ask, wanted: Sequence[str], received: int, is_refused: Callable[[], bool]
) -> tuple[str, Page] | None:
    """The parameter that made the page smaller, and that page; `None` where none does.

    The likeliest is asked for alone, then all others at once, each with a size of its own, so that
    the number of records tells which one was heeded.
    """
    k = smaller(received)
    likeliest, *others = wanted
    page = ask([(likeliest, k)])
    if page is not None and page.received == k:
        return likeliest, page
    sizes = [size for size in range(1, received) if size != k][: len(others)]
    together = list(zip(others, sizes, strict=False))
    page = ask(together) if len(together) > 1 else None
    if page is not None:
        heeded = [name for name, size in together if size == page.received]
        return _alone(ask, heeded, k)
    return _alone(ask, others[:ONE_BY_ONE], k) if is_refused() else None


def _alone(ask: Ask, wanted: Sequence[str], k: int) -> tuple[str, Page] | None:
    for name in wanted:
        page = ask([(name, k)])
        if page is not None and page.received == k:
            return name, page
    return None


def _is_size(name: str) -> bool:
    return "".join(words(name)) in SIZES
