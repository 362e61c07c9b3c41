"""Spend the budgets of a connector, together with all threads and processes that share them."""

from __future__ import annotations

import itertools
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, TypeAlias

import msgspec

from tap_saas.client.stores import Store, StoreLostError
from tap_saas.client.stores.bucket import LONGEST_NAP_S, Cause, Claim, Grant, Rate
from tap_saas.connector.budget import Budget
from tap_saas.connector.exchange import Response
from tap_saas.errors import TapSaasError

RENEW_EVERY_S = 10.0
STOP_CHECK_S = 0.25
WAKE_LATE_S = 0.0005

MARGIN_SHARE = 0.03
LONGEST_MARGIN_S = 1.0

ENTRY_GAP_S = 0.1
LONGEST_ENTRY_GAP_S = 0.25
LONGEST_ENTRY_S = 10.0

Buckets: TypeAlias = tuple[Claim, ...]


class BudgetSpentError(TapSaasError):
    """The wait for a budget is longer than the run may last: a planned end, no failure."""

    exit_code: ClassVar[int] = 0

    def __init__(self, budget: str, seconds: float) -> None:
        self.budget = budget
        self.seconds = seconds
        super().__init__(
            f"budget {budget} is spent, the next request is allowed in {_told(seconds)}",
            do="run again then, it goes on where it stopped",
        )


class RequestsSpentError(BudgetSpentError):
    """The run has made all the requests that it may: a planned end, no failure."""

    def __init__(self, most: int) -> None:
        TapSaasError.__init__(self, f"max_requests is reached ({most})")


class StoppedError(TapSaasError):
    """The run was told to stop while it waited for a budget."""

    def __init__(self) -> None:
        super().__init__("the run was asked to stop")


class Wait(msgspec.Struct, frozen=True):
    """A wait that begins: how long it will be as far as is known, why, and for which budget."""

    seconds: float
    cause: Cause
    budget: str


class Slot(msgspec.Struct):
    """The right to send one request now; `waited` says how long that took, by cause."""

    ticket: str
    buckets: Buckets
    waited: dict[Cause, float]

    @property
    def waited_s(self) -> float:
        """Seconds from asking to having it."""
        return sum(self.waited.values())

    @property
    def is_leased(self) -> bool:
        """Whether somebody waits for the end of this request."""
        return any(claim.is_leased for claim in self.buckets)


class Limiter:
    """All requests of one connector in one process ask here first; its methods are thread-safe.

    `scope` (the connector's name) keeps connectors apart in the store, `holder` the processes.
    A limit's window is made longer by a margin, since requests arrive at the server later than
    they leave, and not all equally late: 3 % of the window, at least `margin_s`, at most 1 s.
    """

    def __init__(
        self, store: Store, *, scope: str, holder: str | None = None, margin_s: float = 0.04
    ) -> None:
        self._store = store
        self._scope = scope
        self._holder = holder or f"{os.getpid()}.{secrets.token_hex(3)}"
        self._margin_s = margin_s
        self._numbers = itertools.count()
        self._keeper = _Keeper(store)
        self._known: dict[str, tuple[Budget, Claim]] = {}

    def __enter__(self) -> Limiter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the limiter's thread; the store stays open."""
        self._keeper.close()

    def buckets(
        self, budgets: Mapping[str, Budget], method: str, path: str, values: Mapping[str, Any]
    ) -> Buckets:
        """The buckets that a request spends from.

        Without a budget of its own it is in one bucket without limits, for a pause to hold it.
        """
        claims = []
        for name, budget in budgets.items():
            if budget.applies(method, path) and (bucket := budget.bucket(name, values)):
                if name not in self._known:
                    self._known[name] = budget, claim_of(name, budget, self._margin_s)
                claim = self._known[name][1]
                claims.append(msgspec.structs.replace(claim, bucket=f"{self._scope}/{bucket}"))
        return tuple(claims) or (Claim(f"{self._scope}/", "of the API"),)

    @contextmanager
    def slot(
        self,
        buckets: Buckets,
        *,
        stop: threading.Event,
        deadline: float | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> Iterator[Slot]:
        """Hold the right to one request, from here until its body is read; see `acquire`."""
        slot = self.acquire(buckets, stop=stop, deadline=deadline, on_wait=on_wait)
        try:
            yield slot
        finally:
            self.release(slot)

    def acquire(
        self,
        buckets: Buckets,
        *,
        stop: threading.Event,
        deadline: float | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> Slot:
        """Wait until all buckets allow one request, and spend it in all of them.

        `deadline` is when the run ends (`time.monotonic`). `on_wait` is told of a wait when it
        begins, and again when it grows.

        Raises:
            BudgetSpentError: The wait is beyond the deadline, or over 60 s with `spent: stop`.
            StoppedError: `stop` was set.
            StoreLostError: Nothing is known of the budgets any more.
        """
        slot = Slot(f"{self._holder}.{next(self._numbers)}", buckets, {})
        grant = self._store.try_(slot.ticket, buckets)
        if not grant.go:
            self._wait(slot, grant, stop, deadline, on_wait)
        if slot.is_leased:
            self._keeper.hold(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """End a request; without leases nobody waits for that."""
        if slot.is_leased:
            self._keeper.release(slot)

    def pause(self, buckets: Buckets, seconds: float) -> None:
        """Hold everybody back who spends of these buckets: a 429, or a Retry-After."""
        self._store.pause(buckets, seconds)
        self._keeper.wake()

    def learn(self, slot: Slot, response: Response) -> None:
        """Take over what the answer says of the API's own count, before the slot is released."""
        for claim in slot.buckets:
            if claim.learns and (learnt := self._known[claim.budget][0].learn(response)):
                self._store.learn(slot.ticket, claim, learnt.remaining, learnt.reset_s)

    def _wait(
        self,
        slot: Slot,
        grant: Grant,
        stop: threading.Event,
        deadline: float | None,
        on_wait: Callable[[Wait], None] | None,
    ) -> None:
        """Ask again and again until the slot is granted; whoever gives up leaves its place."""
        nap = self._keeper.naps[slot.ticket] = _Nap(stop)
        self._keeper.start()
        told: tuple[Cause | None, float] = (None, 0.0)
        try:
            while not grant.go:
                _refuse_spent(grant, deadline)
                until = time.monotonic() + grant.wait_s
                if on_wait and (grant.cause != told[0] or until > told[1] + 1):
                    told = (grant.cause, until)
                    on_wait(Wait(grant.wait_s, grant.cause, grant.budget))
                slept = nap.sleep(min(grant.wait_s, LONGEST_NAP_S))
                slot.waited[grant.cause] = slot.waited.get(grant.cause, 0.0) + slept
                grant = self._store.try_(slot.ticket, slot.buckets, grant.since)
        except BaseException:
            with suppress(StoreLostError):
                self._store.release(slot.ticket, slot.buckets)
            raise
        finally:
            del self._keeper.naps[slot.ticket]


class _Nap:
    """The sleep of one waiter, which `wake` ends early."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def sleep(self, seconds: float) -> float:
        """Sleep, at most so long; returns how long it was. Raises StoppedError."""
        start = time.monotonic()
        if not self.stop.is_set() and self._woken.wait(seconds + WAKE_LATE_S):
            self._woken.clear()
        if self.stop.is_set():
            raise StoppedError
        return time.monotonic() - start


class _Keeper:
    """One thread for all of a process: it wakes who is to stop, and renews leases."""

    def __init__(self, store: Store) -> None:
        self.naps: dict[str, _Nap] = {}
        self._held: dict[str, Buckets] = {}
        self._store = store
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="limiter", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Let all waiters ask again now."""
        for nap in list(self.naps.values()):
            nap.wake()

    def hold(self, slot: Slot) -> None:
        """Renew the leases of a request from now on."""
        with self._lock:
            self._held[slot.ticket] = slot.buckets
        self.start()

    def release(self, slot: Slot) -> None:
        """End a request, and let the first of the waiters ask again now."""
        # Not while leases are renewed: that would bring this one back.
        with self._lock:
            if self._held.pop(slot.ticket, None) is None:
                return
            self._store.release(slot.ticket, slot.buckets)
        for nap in list(self.naps.values())[:1]:
            nap.wake()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        renewed = time.monotonic()
        while not self._closed.wait(STOP_CHECK_S):
            for nap in list(self.naps.values()):
                if nap.stop.is_set():
                    nap.wake()
            if time.monotonic() - renewed > RENEW_EVERY_S:
                renewed = time.monotonic()
                try:
                    self._renew()
                except StoreLostError:
                    # The store tells everybody who asks from now on.
                    self.wake()
                    return

    def _renew(self) -> None:
        with self._lock:
            if self._held:
                self._store.renew(self._held)


def claim_of(name: str, budget: Budget, margin_s: float) -> Claim:
    """What one request takes of a budget's bucket (its name is put in later)."""
    rates: dict[float, Rate] = {}
    for requests, per_s, stops in sorted(budget.allowances, reverse=True):
        margin = max(margin_s, min(MARGIN_SHARE * per_s, LONGEST_MARGIN_S))
        rates[per_s] = Rate(requests, per_s, per_s + margin, stops)
    gaps = [rate.span_s / rate.requests for rate in rates.values()]
    return Claim(
        bucket=name,
        budget=name,
        rates=tuple(rates.values()),
        concurrent=budget.concurrent,
        gap_s=max(gaps) if budget.spread else 0.0,
        entry_gap_s=min([*gaps, LONGEST_ENTRY_GAP_S]) if gaps else ENTRY_GAP_S,
        entry_s=min([*rates, LONGEST_ENTRY_S]),
        learns=budget.remaining is not None,
    )


def _told(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds)} s"


def _refuse_spent(grant: Grant, deadline: float | None) -> None:
    """Raises BudgetSpentError for a wait that goes beyond the run."""
    is_late = deadline is not None and time.monotonic() + grant.wait_s > deadline
    is_long = deadline is None and grant.stops and grant.wait_s > LONGEST_NAP_S
    if is_late or is_long:
        raise BudgetSpentError(grant.budget, grant.wait_s)
