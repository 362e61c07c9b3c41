"""How long requests take in the budgets: the limiter's own algorithm, on a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tap_saas.client.limiter import WAKE_LATE_S, Buckets, Limiter
from tap_saas.client.sender import below
from tap_saas.client.stores.bucket import Claim, Rate
from tap_saas.client.stores.memory import MemoryStore
from tap_saas.connector.exchange import Request
from tap_saas.connector.request_form import RequestForm

MOST = 8_000
"""So many requests are tried one by one. Of more, a part is tried, with that part of each limit."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests that spend of the same buckets, `at_once` of them at a time."""

    claims: Buckets
    requests: int
    at_once: int = 1

    def answer_s(self, one_s: float) -> float:
        """Seconds from one answer to the next, each of which takes `one_s`."""
        allowed = [claim.concurrent for claim in self.claims if claim.concurrent is not None]
        return one_s / max(1, min([self.at_once, *allowed]))


class Pace:
    """Requests, each answered in `answer_s`; `now_s` is how long it took.

    Nothing else spends of the budgets, and nothing was spent before.
    """

    def __init__(self, answer_s: float) -> None:
        self.now_s = 0.0
        self.waited_s = 0.0
        self._answer_s = answer_s
        self._store = MemoryStore(lambda: self.now_s - self._skipped_s)
        self._skipped_s = 0.0

    def run(self, segments: Sequence[Segment]) -> float:
        """Make these requests; returns how many seconds that takes."""
        begun = self.now_s
        tried = (min(one.requests, 3 * self._slowest(one)[0]) for one in segments)
        part = max(1.0, sum(tried) / MOST)
        for segment in segments:
            self._spend(segment, part)
        return self.now_s - begun

    def rest(self, seconds: float) -> None:
        """Let time pass without a request."""
        self.now_s += max(0.0, seconds)

    def _spend(self, segment: Segment, part: float) -> None:
        if part > 1:
            segment = msgspec.structs.replace(
                segment,
                claims=tuple(_part_of(claim, part) for claim in segment.claims),
                requests=max(1, round(segment.requests / part)),
            )
        claims, requests = segment.claims, segment.requests
        answer_s = segment.answer_s(self._answer_s * part)
        period = self._slowest(segment, part)[0]
        if requests <= 3 * period:
            self._try(claims, requests, answer_s)
            return
        # Once the slowest limit is reached, everything repeats itself with its window.
        self._try(claims, period, answer_s)
        begun, waited = self.now_s, self.waited_s
        self._try(claims, period, answer_s)
        times, left = divmod(requests - 2 * period, period)
        self.waited_s += times * (self.waited_s - waited)
        self._skip(times * (self.now_s - begun))
        self._try(claims, left, answer_s)

    def _try(self, claims: Buckets, requests: int, answer_s: float) -> None:
        for _ in range(requests):
            grant = self._store.try_("explain", claims)
            while not grant.go:
                self.now_s += grant.wait_s + WAKE_LATE_S
                self.waited_s += grant.wait_s + WAKE_LATE_S
                grant = self._store.try_("explain", claims, grant.since)
            self.now_s += answer_s
            if any(claim.is_leased for claim in claims):
                self._store.release("explain", claims)

    def _skip(self, seconds: float) -> None:
        """Let time pass that the buckets do not see: they are as they were a period before."""
        self.now_s += seconds
        self._skipped_s += seconds

    def _slowest(self, segment: Segment, part: float = 1.0) -> tuple[int, float]:
        """The limit that decides in the long run: so many requests in so many seconds."""
        limits = [(rate.requests, rate.span_s) for _, rate in rates(segment.claims)]
        limits += [(1, claim.gap_s) for claim in segment.claims if claim.gap_s]
        limits.append((1, max(segment.answer_s(self._answer_s * part), 1e-6)))
        return min(limits, key=lambda limit: limit[0] / limit[1])


def _part_of(claim: Claim, part: float) -> Claim:
    """A part of each limit: whole requests, in as much time as keeps their pace."""
    parts = []
    for rate in claim.rates:
        requests = max(1, round(rate.requests / part))
        longer = requests * part / rate.requests
        parts.append(
            msgspec.structs.replace(
                rate, requests=requests, per_s=rate.per_s * longer, span_s=rate.span_s * longer
            )
        )
    return msgspec.structs.replace(claim, rates=tuple(parts), gap_s=claim.gap_s * part)


def claims_of(
    limiter: Limiter, form: RequestForm, request: Request, values: Mapping[str, Any]
) -> Buckets:
    """What a request of this form spends, as the sender asks the limiter."""
    base = "" if form.base_url is None else str(form.base_url.fill(values))
    return limiter.buckets(form.budgets, request.method, below(request.url, base), values)


def rates(claims: Sequence[Claim]) -> list[tuple[Claim, Rate]]:
    """All limits of requests in a time, each with its budget."""
    return [(claim, rate) for claim in claims for rate in claim.rates]


def used(rate: Rate, requests: int, interval_s: float) -> float:
    """The part of a limit that runs of so many requests at this interval need, 1.0 for all.

    Of its fullest window, as long as a run fits into one; else in the long run.
    """
    if requests > rate.requests:
        return requests * rate.per_s / (interval_s * rate.requests)
    return requests * max(1, math.ceil(rate.per_s / interval_s)) / rate.requests
