"""When requests arrived and how they were answered: the server's own count for checking budgets."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

KEPT = 200_000


class Arrivals:
    """Counts by path and status, and the last 200,000 arrivals as [seconds, path, status].

    Seconds are of the monotonic clock; status 0 means no answer: reset, or not answered yet.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ring: deque[list[float | str | int]] = deque(maxlen=KEPT)
        self._arrived: Counter[str] = Counter()
        self._answered: dict[str, Counter[int]] = {}

    def note(self, path: str) -> list[float | str | int]:
        """A request arrived; give the entry to `answer` when its status is known."""
        entry: list[float | str | int] = [self._clock(), path, 0]
        self._ring.append(entry)
        self._arrived[path] += 1
        return entry

    def answer(self, entry: list[float | str | int], status: int) -> None:
        """The request of this entry is answered."""
        entry[2] = status
        self._answered.setdefault(str(entry[1]), Counter())[status] += 1

    def show(self, *, times: bool) -> dict[str, object]:
        """All counts since the last reset, with the arrivals when asked for."""
        shown: dict[str, object] = {
            "total": self._arrived.total(),
            "by_path": {path: self._statuses(path) for path in sorted(self._arrived)},
        }
        if times:
            shown["times"] = list(self._ring)
        return shown

    def reset(self) -> None:
        """Forget everything."""
        self._ring.clear()
        self._arrived.clear()
        self._answered.clear()

    def _statuses(self, path: str) -> dict[str, int]:
        counts = self._answered.get(path, Counter())
        silent = self._arrived[path] - counts.total()
        shown = {str(status): counts[status] for status in sorted(counts)}
        return {**shown, "0": silent} if silent > 0 else shown
