"""Sends events to subscribers from a thread, again and again until one answers 2xx.

Knobs make it as bad as real senders are: events sent twice, late, in another order, not at all, and
forged copies between them. The thread lives while there is something to send.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import random
import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from tap_saas.sandbox import signing
from tap_saas.sandbox.log import Entry
from tap_saas.sandbox.subscriptions import Subscription, Subscriptions

KEPT = 20_000
TIMEOUT_S = 10.0
LONGEST_WAIT_S = 30.0
FORGED = b'{"forged":true,'
Connections = dict[str, http.client.HTTPConnection]


@dataclass(frozen=True, slots=True)
class Knobs:
    """How badly it is sent; `..._every` n: each n-th event, 0: none.

    Each delivery waits `delay_ms`, and any time up to `disorder_ms` besides. It is tried again
    after `retry_ms`, then twice that and so on, `attempts` times in all.
    """

    double_every: int = 0
    lose_every: int = 0
    forge_every: int = 0
    delay_ms: int = 0
    disorder_ms: int = 0
    retry_ms: int = 200
    attempts: int = 12


@dataclass(slots=True)
class Delivery:
    """An event on its way to a subscriber; a status of 0 is no answer."""

    entry: Entry
    subscription: str
    is_forged: bool = False
    statuses: list[int] = field(default_factory=list)
    end: str | None = None

    def show(self) -> dict[str, object]:
        """What became of it: `end` is null while it is tried."""
        return {
            "event": self.entry.id,
            "type": self.entry.type,
            "subscription": self.subscription,
            "forged": self.is_forged,
            "statuses": self.statuses,
            "end": self.end,
        }


class Sender:
    """All deliveries; the latest 20,000 are told. Thread-safe."""

    def __init__(self, subscriptions: Subscriptions, seed: int = 7) -> None:
        self._subscriptions = subscriptions
        self._random = random.Random(seed)  # noqa: S311 - a repeatable disorder, no secret
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count(1)
        self._offered = 0
        self._thread: threading.Thread | None = None
        self._ended = False
        self._told: deque[Delivery] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self.knobs = Knobs()

    def offer(self, entry: Entry) -> None:
        """An event has happened: send it to all who want it."""
        for one in self._subscriptions.all():
            if one.wants(entry.type):
                with self._changed:
                    self._accept(Delivery(entry, one.id))

    def _accept(self, delivery: Delivery) -> None:
        self._offered += 1
        self._told.append(delivery)
        knobs, n = self.knobs, self._offered
        self._counts["events"] += 1
        if knobs.lose_every and n % knobs.lose_every == 0:
            delivery.end = "lost"
            self._counts["lost"] += 1
            return
        self._plan(delivery)
        for every, is_forged in ((knobs.double_every, False), (knobs.forge_every, True)):
            if every and n % every == 0:
                copy = Delivery(delivery.entry, delivery.subscription, is_forged=is_forged)
                self._told.append(copy)
                self._counts["forged" if is_forged else "doubled"] += 1
                self._plan(copy)

    def _plan(self, delivery: Delivery, wait_s: float = 0.0) -> None:
        knobs = self.knobs
        wait_s += (knobs.delay_ms + self._random.uniform(0, knobs.disorder_ms)) / 1_000
        heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._numbers), delivery))
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        connections: Connections = {}
        while (delivery := self._next()) is not None:
            self._send(delivery, connections)
        for connection in connections.values():
            connection.close()

    def _next(self) -> Delivery | None:
        """The next delivery when it is due, None when nothing waits: the thread ends then."""
        with self._changed:
            while self._due and not self._ended:
                wait_s = self._due[0][0] - time.monotonic()
                if wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait_s)
            self._thread = None
            return None

    def _send(self, delivery: Delivery, connections: Connections) -> None:
        subscription = self._subscriptions.find(delivery.subscription)
        status = 0
        if subscription is not None:
            status = _post(subscription, delivery, connections)
        with self._changed:
            if subscription is None:
                delivery.end = "unsubscribed"
            else:
                delivery.statuses.append(status)
                self._counts[f"status {status}"] += 1
                if 200 <= status < 300:
                    delivery.end = "accepted"
                elif delivery.is_forged or len(delivery.statuses) >= self.knobs.attempts:
                    delivery.end = "refused" if status else "unanswered"
            if delivery.end is None:
                wait_s = self.knobs.retry_ms / 1_000 * 2 ** (len(delivery.statuses) - 1)
                self._plan(delivery, min(wait_s, LONGEST_WAIT_S))
            elif not delivery.is_forged:
                self._counts[delivery.end] += 1

    def show(self, *, deliveries: bool) -> dict[str, object]:
        """Counts since the last reset, the knobs, and each delivery when asked for."""
        with self._changed:
            shown: dict[str, object] = {
                "waiting": sum(one.end is None for one in self._told),
                "counts": dict(sorted(self._counts.items())),
                "knobs": asdict(self.knobs),
            }
            if deliveries:
                shown["deliveries"] = [one.show() for one in self._told]
        return shown

    def reset(self) -> None:
        """Forget what was sent and send nothing that waits; all goes well from now on."""
        with self._changed:
            self._due.clear()
            self._told.clear()
            self._counts.clear()
            self._offered = 0
            self.knobs = Knobs()
            self._changed.notify_all()

    def stop(self) -> None:
        """Send nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(TIMEOUT_S)


def _post(subscription: Subscription, delivery: Delivery, connections: Connections) -> int:
    """The status of the answer, 0 where there is none."""
    body, secret = delivery.entry.text(), subscription.secret
    if delivery.is_forged:
        body, secret = FORGED + body[1:], signing.new_secret()
    headers = signing.sign(subscription.scheme, secret, delivery.entry.id, int(time.time()), body)
    parts = urlsplit(subscription.url)
    connection = connections.get(parts.netloc)
    if connection is None:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        connections[parts.netloc] = connection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return answer.status
