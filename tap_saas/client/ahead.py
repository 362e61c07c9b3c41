"""Pages fetched ahead of their reader: in threads, given in order, bounded in number and bytes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from queue import SimpleQueue
from typing import TypeAlias

from tap_saas.connector.exchange import Page, PageToken

CLOSE_S = 5.0
Fetch: TypeAlias = Callable[[PageToken, int], Page | None]
"""(page token, number of the page in its walk) -> the page, None where the API says there is
none."""


class Ahead:
    """The pages of one walk; at most `width` are asked for ahead of the one that is read.

    A page that waits is counted with its size, one that is under way with the size of the largest
    so far; together they stay below `most_bytes`. Whoever does not take pages stops the fetching.
    For one reader.
    """

    def __init__(self, fetch: Fetch, width: int, most_bytes: int) -> None:
        self._fetch, self._width, self._most_bytes = fetch, width, most_bytes
        self._asked: SimpleQueue[_Slot | None] = SimpleQueue()
        self._slots: deque[_Slot] = deque()
        self._threads: list[threading.Thread] = []
        self._largest = 0

    def expect(self, tokens: Iterator[PageToken], number: int) -> None:
        """Begin to fetch these pages, `number` is the first one's; others are given up.

        What is asked for already and comes in the same order is not asked for again.
        """
        wanted = list(islice(tokens, self._width))
        known = 0
        while known < min(len(wanted), len(self._slots)) and (
            self._slots[known].token == wanted[known]
        ):
            known += 1
        while len(self._slots) > known:
            self._slots.pop().is_dropped = True
        for at in range(known, len(wanted)):
            if not self._has_room():
                return
            self._start(_Slot(wanted[at], number + at))

    def take(self, token: PageToken, number: int) -> Page | None:
        """The page of a token, fetched now if it was not expected; raises what fetching raised."""
        slot = self._slots.popleft() if self._slots else None
        if slot is None or slot.token != token:
            self.drop()
            page = self._fetch(token, number)
        else:
            page = slot.result()
        if page is not None:
            self._largest = max(self._largest, len(page.response.body))
        return page

    def drop(self) -> None:
        """Give up all that is under way: what it brings is thrown away."""
        while self._slots:
            self._slots.pop().is_dropped = True

    def close(self) -> None:
        """End the threads after the requests in flight; one that takes long is not waited for."""
        self.drop()
        for _ in self._threads:
            self._asked.put(None)
        deadline = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _has_room(self) -> bool:
        waiting = [slot.n_bytes for slot in self._slots]
        held = sum(self._largest if one is None else one for one in waiting)
        return held + self._largest <= self._most_bytes

    def _start(self, slot: _Slot) -> None:
        self._slots.append(slot)
        if len(self._threads) < min(len(self._slots), self._width):
            thread = threading.Thread(target=self._run, name="pager", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._asked.put(slot)

    def _run(self) -> None:
        while (slot := self._asked.get()) is not None:
            if not slot.is_dropped:
                slot.fill(self._fetch)


class _Slot:
    """A page that was asked for; what came of it is there when `came` is set."""

    def __init__(self, token: PageToken, number: int) -> None:
        self.token, self.number = token, number
        self.is_dropped = False
        self.n_bytes: int | None = None
        self._came = threading.Event()
        self._answer: Page | BaseException | None = None

    def fill(self, fetch: Fetch) -> None:
        try:
            page = fetch(self.token, self.number)
            self.n_bytes = 0 if page is None else len(page.response.body)
            self._answer = page
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self.n_bytes = 0
            self._answer = error
        if self.is_dropped:
            self._answer = None
        self._came.set()

    def result(self) -> Page | None:
        self._came.wait()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer
