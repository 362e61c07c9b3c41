"""Budgets of one process, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tap_saas.client.stores import Store, T, boot_clock
from tap_saas.client.stores.bucket import Bucket

CLEAN_EVERY = 1000


class MemoryStore(Store):
    """Shared by the threads of one process, gone with it."""

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._uses = 0

    def _passed_s(self, at: float) -> float:
        return self._clock() - at

    def _change(self, names: Sequence[str], change: Callable[[list[Bucket]], T]) -> T:
        with self._lock:
            now = self._clock()
            self._uses += 1
            if self._uses % CLEAN_EVERY == 0:
                self._clean(now)
            buckets = []
            for name in names:
                bucket = self._buckets.get(name)
                if bucket is None:
                    bucket = self._buckets[name] = Bucket(now)
                bucket.advance(now)
                buckets.append(bucket)
            return change(buckets)

    def _clean(self, now: float) -> None:
        idle = [name for name, bucket in self._buckets.items() if bucket.idle_at < now]
        for name in idle:
            del self._buckets[name]

    def close(self) -> None:
        """Nothing to let go of."""
