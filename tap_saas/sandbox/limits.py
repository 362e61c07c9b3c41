"""Rate limits that count admitted requests in a sliding window, as the API enforces them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase

from tap_saas.sandbox.refusal import RefusalError

EVENTS = ("/events", 1_000, 3_600.0)


def matches(pattern: str, path: str) -> bool:
    """Whether a path is meant: `/orders` also means `/next/orders` and `/link/orders`."""
    plain = path.removeprefix("/next").removeprefix("/link")
    return fnmatchcase(path, pattern) or fnmatchcase(plain, pattern)


class Limit:
    """At most `requests` in any `per_s` seconds; memory grows with `requests` at most."""

    def __init__(self, path: str, requests: int, per_s: float) -> None:
        self.path = path
        self.requests = requests
        self.per_s = per_s
        self.admitted: deque[float] = deque()

    def wait_s(self, now: float) -> float:
        """Seconds until a request would be admitted, 0 for at once."""
        while self.admitted and self.admitted[0] <= now - self.per_s:
            self.admitted.popleft()
        if len(self.admitted) < self.requests:
            return 0.0
        return self.admitted[0] + self.per_s - now if self.admitted else self.per_s


class Limits:
    """All limits; a request counts when every limit that matches its path admits it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.limits: dict[str, Limit] = {}
        self.reset()

    def reset(self) -> None:
        """Back to 1,000 requests an hour on /events, nothing counted."""
        self.limits = {EVENTS[0]: Limit(*EVENTS)}

    def set(self, path: str, requests: int | None, per_s: float) -> None:
        """Replace the limit of a path pattern; None takes it away."""
        self.limits.pop(path, None)
        if requests is not None:
            self.limits[path] = Limit(path, requests, per_s)

    def admit(self, path: str) -> None:
        """Count a request, or refuse it with 429 and Retry-After in seconds."""
        now = self._clock()
        due = [limit for limit in self.limits.values() if matches(limit.path, path)]
        wait_s = max((limit.wait_s(now) for limit in due), default=0.0)
        if wait_s > 0:
            headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
            raise RefusalError(429, "rate_limited", f"too many requests for {path}", headers)
        for limit in due:
            limit.admitted.append(now)

    def show(self) -> list[dict[str, object]]:
        """Every limit and how many requests its window holds now."""
        now = self._clock()
        for limit in self.limits.values():
            limit.wait_s(now)
        return [
            {
                "path": limit.path,
                "requests": limit.requests,
                "per_s": limit.per_s,
                "used": len(limit.admitted),
            }
            for limit in self.limits.values()
        ]
