"""Ends what takes too long, at next to no cost for what does not: one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_S = 0.1


class Deadlines:
    """What is waited for, and what to do when it is late, `TICK_S` later at most.

    For one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[float, Callable[[], object]]] = {}
        self._last = 0
        self._ticks = False

    def watch(self, seconds: float, late: Callable[[], object]) -> int:
        """Call `late` unless the number that this gives is forgotten in time."""
        loop = asyncio.get_running_loop()
        self._last += 1
        self._waiting[self._last] = loop.time() + seconds, late
        if not self._ticks:
            self._ticks = True
            loop.call_later(TICK_S, self._tick, loop)
        return self._last

    def forget(self, number: int) -> None:
        """It came, or is not waited for any more."""
        self._waiting.pop(number, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for number, (due, late) in list(self._waiting.items()):
            if due <= now:
                del self._waiting[number]
                late()
        self._ticks = bool(self._waiting)
        if self._ticks:
            loop.call_later(TICK_S, self._tick, loop)
