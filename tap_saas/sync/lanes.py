"""Walks side by side: several threads fetch, one consumer writes, pages come as they are ready.

A thread goes on with its walk when its page has been written: so a slow target stops the fetching,
and no more pages are in memory than twice the number of threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import TypeAlias

from tap_saas.client.limiter import RequestsSpentError
from tap_saas.sync.feeds import Fed

CLOSE_S = 5.0
Lane: TypeAlias = Callable[[], Generator[Fed]]
"""One walk: a partition, a window, a parent's children."""


def side_by_side(lanes: Iterator[Lane], width: int) -> Generator[Fed]:
    """The pages of all lanes, at most `width` of them at a time, begun in their order.

    `lanes` is drawn from under a lock, by any thread. What one raises is raised here, and ends the
    others; a RequestsSpentError when all have ended, each has none left then.
    """
    if width == 1:
        for lane in lanes:
            yield from lane()
        return
    yield from _Lanes(lanes, width).pages()


class _Handed:
    """A page on its way to the consumer; `taken` is set when it has been written."""

    def __init__(self, fed: Fed) -> None:
        self.fed = fed
        self.taken = threading.Event()


class _Lanes:
    def __init__(self, lanes: Iterator[Lane], width: int) -> None:
        self._lanes = lanes
        self._drawing = threading.Lock()
        self._out: SimpleQueue[_Handed | BaseException | None] = SimpleQueue()
        self._closed = threading.Event()
        self._waiting: set[_Handed] = set()
        self._threads = [
            threading.Thread(target=self._run, name=f"lane-{n}", daemon=True) for n in range(width)
        ]

    def pages(self) -> Generator[Fed]:
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        spent: RequestsSpentError | None = None
        try:
            while running:
                came = self._out.get()
                if came is None:
                    running -= 1
                elif isinstance(came, RequestsSpentError):
                    # The last requests of the others are not thrown away: their pages come yet.
                    spent, running = came, running - 1
                elif isinstance(came, BaseException):
                    raise came
                else:
                    yield came.fed
                    came.taken.set()
            if spent is not None:
                raise spent
        finally:
            self._close()

    def _close(self) -> None:
        """End the threads after the requests in flight; one that waits long is not waited for."""
        self._closed.set()
        for handed in list(self._waiting):
            handed.taken.set()
        for thread in self._threads:
            thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while not self._closed.is_set() and (lane := self._draw()) is not None:
                with contextlib.closing(lane()) as pages:
                    for fed in pages:
                        if not self._hand(fed):
                            return
        except BaseException as error:  # noqa: BLE001 - raised again by `pages`
            self._out.put(error)
        else:
            self._out.put(None)

    def _draw(self) -> Lane | None:
        with self._drawing:
            return None if self._closed.is_set() else next(self._lanes, None)

    def _hand(self, fed: Fed) -> bool:
        """Give a page away and wait until it is written; False where nobody wants more."""
        handed = _Handed(fed)
        self._waiting.add(handed)
        self._out.put(handed)
        if not self._closed.is_set():
            handed.taken.wait()
        self._waiting.discard(handed)
        return not self._closed.is_set()
