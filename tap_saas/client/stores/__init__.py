"""Where budgets are kept: one atomic call for all buckets of a request."""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from tap_saas.client.stores.bucket import Bucket, Claim, Grant, try_claims
from tap_saas.errors import ConfigError, TapSaasError

LATE_S = 0.02

T = TypeVar("T")


class StoreLostError(TapSaasError):
    """The budgets cannot be kept any more: the run must stop, it never goes on without them."""

    exit_code: ClassVar[int] = 2


class Store(ABC):
    """The reservation log of all buckets, shared by threads, and by processes where it is a file.

    A member says only how some buckets are read, changed and kept as one step (`_change`).
    """

    @abstractmethod
    def _change(self, names: Sequence[str], change: Callable[[list[Bucket]], T]) -> T:
        """Let `change` work on these buckets, advanced to now, while nobody else can; keep them.

        Raises:
            StoreLostError: They cannot be read or kept, now or at an earlier call.
        """

    @abstractmethod
    def _passed_s(self, at: float) -> float:
        """How many seconds ago the instant `at` of some buckets was."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def try_(self, ticket: str, claims: Sequence[Claim], since: float | None = None) -> Grant:
        """Spend one request in every bucket, or in none and say when to ask again.

        A waiter asks with the ticket and the `since` of its first answer, so it keeps its place.
        Where the answer comes late, as on a busy machine, the request is noted again: else the
        window would end too early for it.
        """
        names = [claim.bucket for claim in claims]
        grant = self._change(names, lambda buckets: try_claims(buckets, claims, ticket, since))
        if grant.go and self._passed_s(grant.at) > LATE_S:
            self._change(names, partial(_move, claims, grant.at))
        return grant

    def release(self, ticket: str, claims: Sequence[Claim]) -> None:
        """End a request that held leases, or give up waiting."""

        def change(buckets: list[Bucket]) -> None:
            for bucket in buckets:
                bucket.release(ticket)

        self._change([claim.bucket for claim in claims], change)

    def renew(self, held: Mapping[str, Sequence[Claim]]) -> None:
        """Keep the leases of these tickets alive for another 30 seconds."""
        tickets: dict[str, list[str]] = {}
        for ticket, claims in held.items():
            for claim in claims:
                if claim.is_leased:
                    tickets.setdefault(claim.bucket, []).append(ticket)

        def change(buckets: list[Bucket]) -> None:
            for bucket, holders in zip(buckets, tickets.values(), strict=True):
                for ticket in holders:
                    bucket.renew(ticket)

        self._change(list(tickets), change)

    def pause(self, claims: Sequence[Claim], seconds: float) -> None:
        """Let nobody go for so long; then one by one, so that not all come back at once."""

        def change(buckets: list[Bucket]) -> None:
            for bucket, claim in zip(buckets, claims, strict=True):
                bucket.pause(claim, seconds)

        self._change([claim.bucket for claim in claims], change)

    def learn(self, ticket: str, claim: Claim, remaining: int, reset_s: float) -> None:
        """Take over what the API says is left, and in how many seconds it counts anew."""
        self._change([claim.bucket], lambda buckets: buckets[0].learn(ticket, remaining, reset_s))


def _move(claims: Sequence[Claim], at: float, buckets: Sequence[Bucket]) -> None:
    """Note what was spent at the instant `at` as spent now."""
    for bucket, claim in zip(buckets, claims, strict=True):
        bucket.move(claim, at)


def open_store(url: str | None, home: Path | None) -> Store:
    """The store that a URL names, else a file in `home`, else one of this process alone.

    Raises:
        ConfigError: The URL is of no store, or an extra is not installed.
        StoreLostError: The store cannot be used.
    """
    if url is None:
        from tap_saas.client.stores.memory import MemoryStore
        from tap_saas.client.stores.sqlite import SqliteStore

        return MemoryStore() if home is None else SqliteStore(home / "budgets.db")
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            "budget_store is no URL of PostgreSQL",
            do="write postgresql://host/database, or leave it out for a file in `home`",
        )
    try:
        module = importlib.import_module("tap_saas.client.stores.postgres")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ConfigError(
            "budget_store needs psycopg", do='install it: pip install "tap-saas[postgres]"'
        ) from error
    store: Store = module.PostgresStore(url)
    return store


def boot_clock() -> float:
    """Seconds since the machine started, the same for all processes; it runs on in a suspend."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
