"""How a list is walked, tried out: the second page is asked for and must hold other records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tap_saas.authoring import paging, sizes
from tap_saas.authoring.asking import Asker
from tap_saas.authoring.keys import Key
from tap_saas.authoring.lists import Listing
from tap_saas.authoring.paging import Hint
from tap_saas.connector.exchange import Page, Request
from tap_saas.connector.paginator import FirstPage
from tap_saas.errors import TapSaasError

MOSTLY = 0.7  # a list may change between two requests
NOTHING_SEEN = "nothing in the answer, it was tried"


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: `form` is the value of `pagination:`, `seen` and `doubts` say why.

    `pages` are what was read of the list from its beginning.
    """

    form: dict[str, Any]
    seen: list[str] = []
    doubts: list[str] = []
    pages: list[Page]

    @property
    def model(self) -> Any:
        """What walks so."""
        return paging.paginator(self.form)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records that were seen, each once, in their order."""
        records = [record for page in self.pages for record in page.records]
        return list({msgspec.json.encode(record): record for record in records}.values())


class Walker:
    """Tries the ways to walk one list, which `first` is the first page of."""

    def __init__(
        self, asker: Asker, request: Request, listing: Listing, first: Page, key: Key
    ) -> None:
        self._asker = asker
        self._request = request
        self._listing = listing
        self._first = first
        self._key = key
        self._told = paging.read(first.response, listing)
        self._ignored: set[str] = set()
        self._has_no_size = False

    def find(self) -> Walk:
        """The way that holds; where none does, what the answer speaks for, else `single`."""
        ways = list(paging.hints(self._told, self._first.received, self._key))
        found = self._first_good(ways, self._first, {})
        if found is not None:
            return found
        small = self._size("", {"type": "single"})
        if small is not None:
            page, size = small
            told = paging.read(page.response, self._listing)
            ways = list(paging.hints(told, page.received, self._key)) or self._blind()
            found = self._first_good(ways, page, size)
        elif not ways and not paging.is_last(self._told):
            found = self._first_good(self._blind(), self._first, {})
        return found or self._untried()

    def _blind(self) -> list[Hint]:
        return [*paging.blind(NOTHING_SEEN), *paging.seeks(self._key, {}, NOTHING_SEEN)]

    def _first_good(self, ways: Iterable[Hint], page: Page, size: dict[str, Any]) -> Walk | None:
        for hint in ways:
            if hint.asks_by in self._ignored:
                continue
            second = self._second(hint, page, size)
            walk = None if second is None else self._checked(hint, page, second, size)
            if walk is not None:
                return walk
        return None

    def _second(self, hint: Hint, page: Page, size: dict[str, Any]) -> Page | None:
        """The page after this one, `None` where it is none or has other records than it should."""
        form = {**hint.form, **size}
        token = self._token(form, page)
        if token is None:
            return None
        second = self._ask(form, token, f"page 2 by {hint.described}")
        if second is None:
            return None
        if hint.asks_by and self._are_alike(second.records, page.records):
            self._ignored.add(hint.asks_by)
        return second if self._goes_on(page, second) else None

    def _checked(self, hint: Hint, page: Page, second: Page, size: dict[str, Any]) -> Walk | None:
        """The walk by this hint, the size of its pages found as well."""
        if size:
            return self._finished(hint, size, page)
        sized = self._size(hint.kind, hint.form)
        if sized is not None and self._second(hint, *sized) is not None:
            return self._finished(hint, sized[1], sized[0])
        if hint.kind in {"page", "offset"}:
            again = self._ask(hint.form, None, f"page 1 by {hint.described}")
            if again is None or not self._are_alike(again.records, self._first.records):
                return None
        return Walk(
            form=hint.form,
            seen=[f"{hint.seen}; page 2 by {hint.described} has other records"],
            doubts=["no parameter for the size of a page was found"],
            pages=[self._first, second],
        )

    def _size(self, kind: str, form: dict[str, Any]) -> tuple[Page, dict[str, Any]] | None:
        """A smaller first page and the `size` that made it."""
        if self._first.received < 2 or self._has_no_size:
            return None

        def ask(params: Sequence[tuple[str, int]]) -> Page | None:
            request = paging.paginator(form).apply(self._request, None)
            for name, value in params:
                request = request.with_param(name, value)
            page = self._asker.page(request, self._listing, "a smaller page")
            if page is None:
                return None
            start = self._first.records[: page.received]
            return page if self._are_alike(page.records, start) else None

        names = sizes.names(self._request, self._first, self._listing, self._told, kind)
        found = sizes.search(ask, names, self._first.received, lambda: self._asker.is_refused)
        if found is None:
            self._has_no_size = form["type"] == "single"
            return None
        name, page = found
        return page, {"size": {"send": f"param:{name}", "value": page.received}}

    def _finished(self, hint: Hint, size: dict[str, Any], small: Page) -> Walk:
        """The walk with the largest page that the API gives, and its total if that is one."""
        send = size["size"]["send"]
        form = dict(hint.form)
        total = paging.total(self._told, self._first.received)
        small_total = paging.total(paging.read(small.response, self._listing), small.received)
        if hint.kind in {"page", "offset"} and total is not None and total == small_total:
            form["total"] = total[0]
        if hint.kind == "offset" and not self._overlaps(hint, size, small):
            form["overlap"] = 0
        value, page = self._largest(form, send)
        return Walk(
            form={**form, "size": {"send": send, "value": value}},
            seen=[
                f"{hint.seen}; with {small.received} records a page, page 2 goes on where page 1"
                f" ends; a page of {page.received} was given"
            ],
            pages=[page],
        )

    def _overlaps(self, hint: Hint, size: dict[str, Any], small: Page) -> bool:
        """True where an offset need be no multiple of the size."""
        token = hint.form.get("first", 0) + small.received - 1
        page = self._ask({**hint.form, **size}, token, "the last record of page 1 again")
        return page is not None and self._are_alike(page.records[:1], small.records[-1:])

    def _largest(self, form: dict[str, Any], send: str) -> tuple[int, Page]:
        """The largest size that is worth asking for, and a first page of it."""
        for value in (size for size in sizes.TRIED if size > self._first.received):
            sized = {**form, "size": {"send": send, "value": value}}
            page = self._ask(sized, None, f"a page of {value}")
            if page is None or page.received < self._first.received:
                continue
            if self._token(sized, page) is None:
                return value, page
            if page.received > self._first.received:
                return page.received, page
        return self._first.received, self._first

    def _token(self, form: dict[str, Any], page: Page) -> Any:
        """What asks for the page after this one, `None` where there is none."""
        try:
            return paging.paginator(form).next_token(page, FirstPage(page.received))
        except TapSaasError:
            return None

    def _untried(self) -> Walk:
        """What the answer speaks for though no second page was seen."""
        form: dict[str, Any] = {"type": "single"}
        doubts = ["the answer says nothing of a next page: other pages, if any, would be missed"]
        expected = next(paging.expected(self._told, self._key), None)
        if expected is not None:
            form = expected.form
            doubts = [f"{expected.seen}, but there was no second page to try it on"]
        return Walk(form=form, doubts=doubts, pages=[self._first])

    def _ask(self, form: dict[str, Any], token: Any, why: str) -> Page | None:
        request = paging.paginator(form).apply(self._request, token)
        return self._asker.page(request, self._listing, why, token)

    def _goes_on(self, page: Page, second: Page) -> bool:
        """True for other records, and for those that should follow where that is known."""
        mine, others = self._ids(page.records), self._ids(second.records)
        if not others or len(mine & others) > (1 - MOSTLY) * len(others):
            return False
        end = page.received + second.received
        following = self._first.records[page.received : end]
        if len(following) < second.received:
            return True
        return self._are_alike(second.records, following)

    def _are_alike(self, some: Sequence[Any], others: Sequence[Any]) -> bool:
        mine, theirs = self._ids(some), self._ids(others)
        return len(mine & theirs) >= MOSTLY * max(len(mine), len(theirs))

    def _ids(self, records: Iterable[Any]) -> set[tuple[str, ...]]:
        return {self._key.of(record) for record in records}
