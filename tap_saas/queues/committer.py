"""One thread that appends to a queue whatever waits for it: a commit for many requests."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from tap_saas.errors import QueueError
from tap_saas.queues.base import MEBIBYTE, Arrival, Queue, utc_now

log = logging.getLogger(__name__)

Outcome = Literal["stored", "duplicate", "failed"]

MAX_BATCH = 512
MAX_BATCH_BYTES = 8 * MEBIBYTE
SLOW_S = 2.0
RETRY_S = 1.0
ROOM_S = 1.0
PURGE_S = 10.0
# Commits wait no longer than for this many, and have half of the time while more are left.
PURGED_AT_ONCE = 2000
MAX_PAIRS = 1000


class _Waiting(NamedTuple):
    arrival: Arrival
    done: Callable[[Outcome], object]


class Committer:
    """The writer of a receiver: group commit, no linger; between commits it purges.

    `deliver` is called once a batch with a function that calls every `done` of the batch; an event
    loop gives its `call_soon_threadsafe`, without it they are called in the writer's thread.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        max_pending: int = 10_000,
        max_pending_bytes: int = 64 * MEBIBYTE,
        deliver: Callable[[Callable[[], None]], object] = lambda call: call(),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._queue = queue
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        self._deliver = deliver
        self._now = now
        self._changed = threading.Condition()
        self._pending: deque[_Waiting] = deque()
        self._batch: list[_Waiting] = []
        self._pending_bytes = 0
        self._refused: Counter[tuple[str, str]] = Counter()
        self._writing_since: float | None = None
        self._closing = False
        self._ended = False
        self._full = queue.room()
        self._failure = ""
        self._failed_until = 0.0
        self._room_at = self._purge_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="queue writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """How many arrivals wait for their commit, those in the commit apart."""
        return len(self._pending)

    def submit(self, arrival: Arrival, done: Callable[[Outcome], object]) -> None:
        """Keep an arrival; `done` is told once. Thread-safe; never blocks for a commit."""
        with self._changed:
            is_open = not (self._closing or self._ended or self._crowd())
            if is_open:
                self._pending.append(_Waiting(arrival, done))
                self._pending_bytes += len(arrival.body)
                self._changed.notify_all()
        if not is_open:
            self._tell([(done, "failed")])

    def count_refused(self, source: str, reason: str) -> None:
        """Count a refused request; the queue is told within seconds. Thread-safe."""
        pair = source, reason
        with self._changed:
            if pair in self._refused or len(self._refused) < MAX_PAIRS:
                self._refused[pair] += 1

    def refusal(self) -> str | None:
        """None, or why arrivals are to be answered with 503 now; never blocks for a commit."""
        if self._closing:
            return "the receiver stops"
        if self._ended:
            return "the queue's writer has ended"
        since, now = self._writing_since, time.monotonic()
        if since is not None and now - since > SLOW_S:
            return f"a commit takes longer than {SLOW_S:g} s"
        if now < self._failed_until:
            return self._failure
        return self._crowd() or self._full

    def _crowd(self) -> str | None:
        if len(self._pending) >= self._max_pending:
            return f"{len(self._pending)} events wait to be stored"
        if self._pending_bytes >= self._max_pending_bytes:
            return f"{self._pending_bytes} bytes wait to be stored"
        return None

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits to be stored; False where that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._pending and self._writing_since is None, timeout_s
            )

    def close(self, timeout_s: float = 10.0) -> bool:
        """Take nothing more, store what waits, end the thread; False where that took too long.

        The queue stays open.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            while self._take():
                if self._batch:
                    self._commit()
                self._tend()
            self._flush_refused()
        except Exception:
            log.exception("the queue's writer has ended")
        finally:
            with self._changed:
                self._ended = True
                left = [*self._batch, *self._pending]
                self._pending.clear()
                self._pending_bytes, self._writing_since = 0, None
                self._changed.notify_all()
            self._tell([(waiting.done, "failed") for waiting in left])

    def _take(self) -> bool:
        """Take what waits, at most a batch; nothing after a while; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing, ROOM_S)
            if not self._pending:
                return not self._closing
            batch = self._batch
            size = 0
            while self._pending and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                waiting = self._pending.popleft()
                size += len(waiting.arrival.body)
                batch.append(waiting)
            self._pending_bytes -= size
            self._writing_since = time.monotonic()
            return True

    def _commit(self) -> None:
        batch = self._batch
        outcomes: list[Outcome]
        try:
            stored = self._queue.append([waiting.arrival for waiting in batch])
            outcomes = ["stored" if is_new else "duplicate" for is_new in stored]
        except QueueError as error:
            log.error("events are not stored, their senders are told so: why=%s", error)
            self._failure = error.what
            self._failed_until = time.monotonic() + RETRY_S
            outcomes = ["failed"] * len(batch)
        self._batch = []
        # Told first: who waits for `drain` may end the event loop that they are told in.
        self._tell(list(zip([waiting.done for waiting in batch], outcomes, strict=True)))
        with self._changed:
            self._writing_since = None
            self._changed.notify_all()

    def _tell(self, outcomes: list[tuple[Callable[[Outcome], Any], Outcome]]) -> None:
        def call() -> None:
            for done, outcome in outcomes:
                done(outcome)

        if outcomes:
            # An event loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._deliver(call)

    def _tend(self) -> None:
        """Look after the queue: room each second, what is due to go some seconds later."""
        now = time.monotonic()
        try:
            if now >= self._room_at:
                self._room_at = now + ROOM_S
                self._full = self._queue.room()
            if now >= self._purge_at:
                self._purge_at = now + PURGE_S
                self._flush_refused()
                if self._queue.purge(self._now(), max_events=PURGED_AT_ONCE) >= PURGED_AT_ONCE:
                    end = time.monotonic()
                    self._purge_at = end + (end - now)
        except QueueError as error:
            log.warning("the queue cannot be looked after: why=%s", error)
            self._full = error.what

    def _flush_refused(self) -> None:
        with self._changed:
            counts, self._refused = self._refused, Counter()
        if counts:
            self._queue.count_refused(counts, self._now())
