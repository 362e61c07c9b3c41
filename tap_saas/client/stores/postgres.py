"""Budgets of many machines, kept in PostgreSQL, by the clock of the database.

A change is a transaction of two round trips under an advisory lock for each bucket; no session is
needed, so a pooler may hand out connections by the transaction. What several threads want at the
same time is one transaction. Commits do not wait for the disk: a crash of the server can forget
the requests of its last 0.6 s (PostgreSQL, "Asynchronous Commit").
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
from psycopg import conninfo

from tap_saas.client.stores import Store, StoreLostError, T
from tap_saas.client.stores.bucket import Bucket
from tap_saas.errors import ConfigError
from tap_saas.queues.log import statements

LOCK_SPACE = 0x7461_7042
LOCK_MS, STALL_MS = 20_000, 5_000
CONNECT_S = 5
CLEAN_EVERY = 1000
CLOCK_STEP_S = 1.0

_SQL = statements(Path(__file__).with_suffix(".sql"))
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Bucket).decode


class _Call:
    """A change that a thread wants, and what came of it."""

    def __init__(self, names: Sequence[str], change: Callable[[list[Bucket]], Any]) -> None:
        self.names = names
        self.change = change
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None


class PostgresStore(Store):
    """Shared by all processes that name the same database, and by their threads.

    The table is made where there is none. A connection that broke is made anew once; what was in
    doubt is spent again, so that it counts twice rather than not at all. `clock` is for tests.

    Raises:
        ConfigError: The URL cannot be read.
        StoreLostError: The database cannot be reached or used.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        self._url = url
        self._where = _shown(url)
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: deque[_Call] = deque()
        self._uses = 0
        self._ahead_s = -inf
        self._lost: str | None = None
        try:
            self._db = self._connect()
            self._make_table()
            self._clean()
        except psycopg.Error as error:
            raise self._lose(error) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def _passed_s(self, at: float) -> float:
        return self._clock() - at if self._clock else time.monotonic() + self._ahead_s - at

    def _change(self, names: Sequence[str], change: Callable[[list[Bucket]], T]) -> T:
        call = _Call(names, change)
        self._wanted.append(call)
        with self._lock:
            if not call.is_done:
                self._serve([self._wanted.popleft() for _ in range(len(self._wanted))])
        if call.error is not None:
            raise call.error
        return cast(T, call.result)

    def _serve(self, calls: Sequence[_Call]) -> None:
        """Do what all these threads want; the first that came does it for the others."""
        error: BaseException | None = None
        try:
            self._change_safely(calls)
        except BaseException as caught:  # noqa: BLE001 - each of the threads raises it
            error = caught
        for call in calls:
            call.error = error
            call.is_done = True

    def _change_safely(self, calls: Sequence[_Call]) -> None:
        """Do it, once more over a new connection where this one broke."""
        if self._lost:
            raise StoreLostError(self._lost)
        try:
            try:
                self._transact(calls)
            except psycopg.Error:
                if not self._db.closed:
                    raise
                self._db = self._connect()
                self._transact(calls)
            self._uses += 1
            if self._uses % CLEAN_EVERY == 0:
                self._clean()
        except (psycopg.Error, msgspec.DecodeError) as error:
            raise self._lose(error) from error

    def _transact(self, calls: Sequence[_Call]) -> None:
        names = sorted({name for call in calls for name in call.names})
        try:
            buckets, now = self._open(names)
            for call in calls:
                call.result = call.change([buckets[name] for name in call.names])
            self._keep(buckets, now)
            self._compare(now)
        finally:
            if self._db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                with contextlib.suppress(psycopg.Error):
                    self._db.execute("ROLLBACK")

    def _open(self, names: Sequence[str]) -> tuple[dict[str, Bucket], float]:
        """The buckets, advanced to now; nobody else has them until they are kept."""
        values = {"names": list(names), "lock_ms": LOCK_MS, "stall_ms": STALL_MS}
        rows = self._run("open", values)
        now = self._clock() if self._clock else max(at for _, _, at in rows)
        buckets = {
            name: Bucket(now) if state is None else _decode(state) for name, state, _ in rows
        }
        for bucket in buckets.values():
            bucket.advance(now)
        return buckets, now

    def _compare(self, now: float) -> None:
        """Learn how far the database's clock is ahead of ours when a transaction has ended.

        The quickest one knows: what all of them take does no harm, only what some take longer.
        """
        ahead_s = now - time.monotonic()
        if ahead_s > self._ahead_s or ahead_s < self._ahead_s - CLOCK_STEP_S:
            self._ahead_s = ahead_s

    def _keep(self, buckets: Mapping[str, Bucket], now: float) -> None:
        used = {name: bucket for name, bucket in buckets.items() if bucket.idle_at > now}
        values = {
            "names": list(used),
            "states": [_encode(bucket) for bucket in used.values()],
            "idle_ats": [bucket.idle_at for bucket in used.values()],
            "idle": list(buckets.keys() - used.keys()),
        }
        self._run("keep", values)

    def _clean(self) -> None:
        self._run("clean", {"now": self._clock and self._clock()})

    def _run(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run some statements in one round trip; the rows of the last of them."""
        cursor = self._db.execute(_SQL[name].encode(), {"space": LOCK_SPACE, **values})
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        # Parameters are put in here: only so several statements are one round trip.
        return psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.ClientCursor,
            connect_timeout=CONNECT_S,
            application_name="tap-saas budgets",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )

    def _make_table(self) -> None:
        # Who may not make tables can use one that an administrator has made.
        if self._run("known", {}) == [(False,)]:
            self._run("tables", {})

    def _lose(self, error: Exception) -> StoreLostError:
        if isinstance(error, msgspec.DecodeError):
            reason = "the table budget_bucket is damaged"
            advice = "drop it while nothing runs; it holds only which requests were just made"
        else:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            advice = "check `budget_store` and the database, and run again"
        what = f"the budgets cannot be kept: {reason}"
        lost = StoreLostError(what, where=self._where, do=advice)
        self._lost = str(lost)
        return lost


def _shown(url: str) -> str:
    """Which database it is, without user and password."""
    try:
        known = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Its text holds the URL, and so the password.
        raise ConfigError(
            "budget_store is no URL of PostgreSQL", do="write postgresql://host/database"
        ) from None
    return f"postgresql://{known.get('host') or 'localhost'}/{known.get('dbname') or ''}"
