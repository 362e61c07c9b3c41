"""The reservation log: whether a request may go now, and else when to ask again; pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import inf
from typing import Literal, TypeAlias

import msgspec

Cause: TypeAlias = Literal["budget", "api"]

LONGEST_NAP_S = 60.0
LEASE_S = 30.0
GRACE_S = 1.0
"""How late a waiter may come back before its place is given to others."""

EXACT = 1000
"""So many requests are logged one by one; a larger limit in so many parts of its window."""

RESET_MARGIN_S = 0.1
RESET_JITTER_S = 2.0
"""Two resets this near are one: APIs round them to seconds, each answer anew."""

SHORTEST_POLL_S, LONGEST_POLL_S = 0.005, 0.25


class Rate(msgspec.Struct, frozen=True):
    """At most `requests` in any `span_s` seconds: the limit's own window `per_s` and a margin.

    `stops`: whoever would have to wait long for it ends instead.
    """

    requests: int
    per_s: float
    span_s: float
    stops: bool = False

    @property
    def grain_s(self) -> float:
        """Requests of one part of the window of this length share an entry; 0: each has its own."""
        return 0.0 if self.requests <= EXACT else self.per_s / EXACT


class Claim(msgspec.Struct, frozen=True):
    """What one request takes from one bucket.

    `budget` is its name for people. `gap_s`: at least so long between two requests (0: bursts are
    fine). `entry_gap_s`: the same for the first `entry_s` seconds after a pause. `learns`: the API
    tells what remains.
    """

    bucket: str
    budget: str
    rates: tuple[Rate, ...] = ()
    concurrent: int | None = None
    gap_s: float = 0.0
    entry_gap_s: float = 0.1
    entry_s: float = 1.0
    learns: bool = False

    @property
    def is_leased(self) -> bool:
        """Whether the bucket must know when the request has ended."""
        return self.concurrent is not None or self.learns


class Grant(msgspec.Struct, frozen=True):
    """The answer to a try: go, noted as of the instant `at`, or ask again in `wait_s` seconds.

    `since` is the instant of the first try (it keeps the place), `budget` the one that makes it
    wait; `stops`: a limit that says `spent: stop` does.
    """

    go: bool
    since: float
    wait_s: float = 0.0
    cause: Cause = "budget"
    budget: str = ""
    stops: bool = False
    at: float = 0.0


class Log(msgspec.Struct, array_like=True):
    """The requests of the last `span_s` seconds: instants, oldest first, and how many at each.

    Requests that share an entry all have the instant of the last of them, so that they leave the
    window late, never early.
    """

    span_s: float
    times: list[float] = []
    counts: list[int] = []
    used: int = 0

    def forget(self, now: float) -> None:
        """Drop what has left the window."""
        gone = bisect_right(self.times, now - self.span_s)
        if gone:
            self.used -= sum(self.counts[:gone])
            del self.times[:gone], self.counts[:gone]

    def add(self, now: float, grain_s: float) -> None:
        """Note one request."""
        self.used += 1
        if grain_s and self.times and self.times[-1] // grain_s == now // grain_s:
            self.times[-1] = now
            self.counts[-1] += 1
        else:
            self.times.append(now)
            self.counts.append(1)

    def move(self, at: float, now: float, grain_s: float) -> None:
        """Note a request of the instant `at` as one of now; what shares an entry leaves late."""
        index = bisect_left(self.times, at)
        if index == len(self.times) or self.times[index] != at:
            return
        self.used -= 1
        self.counts[index] -= 1
        if not self.counts[index]:
            del self.times[index], self.counts[index]
        self.add(now, grain_s)

    def free_at(self, requests: int, ahead: int, now: float) -> float:
        """When one more request fits, if `ahead` others go first, each as soon as it can."""
        rounds = ahead // requests + 1
        leaves = self.used + ahead + 1 - rounds * requests
        if leaves <= 0:
            return now + (rounds - 1) * self.span_s
        index, passed = 0, self.counts[0]
        while passed < leaves:
            index += 1
            passed += self.counts[index]
        return self.times[index] + rounds * self.span_s


class Lease(msgspec.Struct, array_like=True):
    """A request in flight: since when, and until when it counts unless it is renewed."""

    since: float
    until: float


class Waiter(msgspec.Struct, array_like=True):
    """Who waits: since when, from when on it claims a place, and when it counts as dead."""

    ticket: str
    since: float
    due: float
    gone_at: float


class Turn(msgspec.Struct, frozen=True):
    """When a request's turn in one bucket is; `is_held`: not before somebody else is done."""

    at: float
    cause: Cause
    stops: bool
    is_held: bool


class Bucket(msgspec.Struct, array_like=True):
    """All that is known of one bucket. Instants are seconds of one clock that never goes back."""

    at: float
    logs: dict[float, Log] = {}
    leases: dict[str, Lease] = {}
    waiters: list[Waiter] = []
    not_before: float = 0.0
    paced_until: float = 0.0
    next_at: float = 0.0
    held_s: float = 0.1
    remaining: int | None = None
    lowest: int = 0
    reset_at: float = 0.0

    def advance(self, now: float) -> None:
        """Move to `now`: forget what is over. A clock that went back takes its instants along."""
        if now < self.at:
            self.shift(now - self.at)
        self.at = now
        for log in self.logs.values():
            log.forget(now)
        if self.leases:
            self.leases = {key: lease for key, lease in self.leases.items() if lease.until > now}
        if self.waiters:
            self.waiters = [waiter for waiter in self.waiters if waiter.gone_at > now]
        if self.remaining is not None and now >= self.reset_at + RESET_MARGIN_S:
            self.remaining = None

    def shift(self, seconds: float) -> None:
        """Move every instant, for a clock that began anew."""
        for log in self.logs.values():
            log.times = [time + seconds for time in log.times]
        for lease in self.leases.values():
            lease.since, lease.until = lease.since + seconds, lease.until + seconds
        for waiter in self.waiters:
            waiter.since, waiter.due = waiter.since + seconds, waiter.due + seconds
            waiter.gone_at += seconds
        self.at += seconds
        self.not_before += seconds
        self.paced_until += seconds
        self.next_at += seconds
        self.reset_at += seconds

    def turn(self, claim: Claim, ticket: str, since: float) -> Turn:
        """When it is this ticket's turn, after those that have waited longer and claim a place."""
        if not self.waiters:
            return self._free(claim, 0)
        older = [w.due for w in self.waiters if (w.since, w.ticket) < (since, ticket)]
        ahead = sum(due <= self.at for due in older)
        while True:
            turn = self._free(claim, ahead)
            counted = sum(due <= turn.at for due in older)
            if counted <= ahead:
                return turn
            ahead = counted

    def take(self, claim: Claim, ticket: str) -> None:
        """Spend one request."""
        now = self.at
        for rate in claim.rates:
            log = self.logs.get(rate.per_s)
            if log is None:
                log = self.logs[rate.per_s] = Log(rate.span_s)
            log.span_s = rate.span_s
            log.add(now, rate.grain_s)
        if claim.is_leased:
            self.leases[ticket] = Lease(now, now + LEASE_S)
        gap_s = self._gap_s(claim, now)
        if gap_s:
            self.next_at = max(self.next_at, now - gap_s) + gap_s
        if self.remaining is not None:
            self.remaining -= 1
        self.leave(ticket)

    def move(self, claim: Claim, at: float) -> None:
        """Note what was spent at the instant `at` as spent now: it leaves only now."""
        for rate in claim.rates:
            if rate.per_s in self.logs:
                self.logs[rate.per_s].move(at, self.at, rate.grain_s)
        gap_s = self._gap_s(claim, self.at)
        if gap_s:
            self.next_at = max(self.next_at, self.at + gap_s)

    def wait(self, waiter: Waiter) -> None:
        """Note who waits, in the place of what was noted of it before."""
        self.leave(waiter.ticket)
        self.waiters.append(waiter)

    def leave(self, ticket: str) -> None:
        """Forget a waiter."""
        if self.waiters:
            self.waiters = [waiter for waiter in self.waiters if waiter.ticket != ticket]

    def release(self, ticket: str) -> None:
        """End a request, or a waiter that gives up."""
        self.leave(ticket)
        lease = self.leases.pop(ticket, None)
        if lease is not None:
            self.held_s += 0.2 * (self.at - lease.since - self.held_s)

    def renew(self, ticket: str) -> None:
        """Let a request in flight count for `LEASE_S` seconds more, even one that had expired."""
        lease = self.leases.setdefault(ticket, Lease(self.at, self.at))
        lease.until = self.at + LEASE_S

    def pause(self, claim: Claim, seconds: float) -> None:
        """Let nobody go for so long, and then one by one for a while."""
        until = self.at + seconds
        if until > self.not_before:
            self.not_before = until
            self.next_at = max(self.next_at, until)
            self.paced_until = until + claim.entry_s

    def learn(self, ticket: str, remaining: int, reset_s: float) -> None:
        """Believe what an answer says of the API's own count.

        An answer may be overtaken by a newer one: within a window only a lower figure counts. The
        requests still in flight are taken off, for the API may not have seen them.
        """
        reset_at = self.at + reset_s
        is_new = self.remaining is None or reset_at > self.reset_at + RESET_JITTER_S
        if not is_new and (reset_at < self.reset_at - RESET_JITTER_S or remaining > self.lowest):
            return
        self.lowest = remaining
        self.remaining = remaining - sum(other != ticket for other in self.leases)
        self.reset_at = reset_at

    @property
    def idle_at(self) -> float:
        """From when on the bucket is as good as one that was never used."""
        end = max(self.not_before, self.paced_until, self.next_at)
        for log in self.logs.values():
            if log.times:
                end = max(end, log.times[-1] + log.span_s)
        for lease in self.leases.values():
            end = max(end, lease.until)
        for waiter in self.waiters:
            end = max(end, waiter.gone_at)
        return end if self.remaining is None else max(end, self.reset_at + RESET_MARGIN_S)

    def _gap_s(self, claim: Claim, at: float) -> float:
        return max(claim.gap_s, claim.entry_gap_s if at < self.paced_until else 0.0)

    def _free(self, claim: Claim, ahead: int) -> Turn:
        at, stops, is_held = self.at, False, False
        cause: Cause = "budget"
        if self.not_before > at:
            at, cause = self.not_before, "api"
        gap_s = self._gap_s(claim, at)
        if gap_s:
            at = max(at, self.next_at + ahead * gap_s)
        for rate in claim.rates:
            log = self.logs.get(rate.per_s) or Log(rate.span_s)
            free_at = log.free_at(rate.requests, ahead, self.at)
            if free_at > at:
                at, cause, stops = free_at, "budget", rate.stops
        if self.remaining is not None and self.remaining <= ahead:
            free_at = self.reset_at + RESET_MARGIN_S
            if free_at > at:
                at, cause, stops = free_at, "budget", False
        if claim.concurrent is not None and len(self.leases) + ahead >= claim.concurrent:
            is_held = True
            at = max(at, self.at + self._poll_s(ahead))
        return Turn(at, cause, stops, is_held)

    def _poll_s(self, ahead: int) -> float:
        """When to look again for a lease that somebody gave back: often when that is likely.

        Only the threads of the same process are woken by a release.
        """
        begun = sorted(lease.since for lease in self.leases.values())
        if not begun:
            return SHORTEST_POLL_S
        held_s = max(self.held_s, self.at - begun[0])
        rounds, index = divmod(ahead, len(begun))
        left = begun[index] + (1 + rounds) * held_s - self.at
        likely = min(max(0.8 * left, 0.05 * held_s), 0.2 * held_s * (1 + ahead))
        return min(max(likely, SHORTEST_POLL_S), LONGEST_POLL_S)


def try_claims(
    buckets: Sequence[Bucket], claims: Sequence[Claim], ticket: str, since: float | None
) -> Grant:
    """Spend one request in every bucket, or in none; the buckets have been advanced to now."""
    now = buckets[0].at
    first = now if since is None else since
    turns = [b.turn(c, ticket, first) for b, c in zip(buckets, claims, strict=True)]
    if all(turn.at <= now and not turn.is_held for turn in turns):
        for bucket, claim in zip(buckets, claims, strict=True):
            bucket.take(claim, ticket)
        return Grant(True, first, at=now)
    index = max(range(len(turns)), key=lambda i: turns[i].at)
    last = turns[index]
    gone_at = now + min(last.at - now, LONGEST_NAP_S) + GRACE_S
    for i, bucket in enumerate(buckets):
        others = [turn for j, turn in enumerate(turns) if j != i]
        due = max((inf if turn.is_held else turn.at for turn in others), default=now)
        bucket.wait(Waiter(ticket, first, due, gone_at))
    return Grant(False, first, last.at - now, last.cause, claims[index].budget, last.stops)
