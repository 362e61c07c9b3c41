"""Budgets of one machine, kept in a SQLite file for all its processes and runs.

The journal stays a rollback journal: in WAL mode a SQLite before 3.51.3 can damage a file when two
connections write and checkpoint at the same instant (its release notes). PERSIST is the fastest
mode that survives a killed process: 70 µs a transaction, TRUNCATE 92, DELETE 131. Nothing is
synced: only a crash of the machine can lose a write, and each start of the machine has its own
file. A lock around each transaction lets processes in by turns: SQLite's own waiting sleeps longer
and longer, and those who are unlucky once starve.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tap_saas.client.stores import Store, StoreLostError, T, boot_clock
from tap_saas.client.stores.bucket import Bucket

logger = logging.getLogger(__name__)

BOOT_DIGITS = 8
BUSY_S = 60
CLEAN_EVERY = 1000

_SELECT = "SELECT state FROM bucket WHERE name = ?"
_INSERT = "INSERT INTO bucket (state, at, wall, idle_at, name) VALUES (?, ?, ?, ?, ?)"
_UPDATE = "UPDATE bucket SET state = ?, at = ?, wall = ?, idle_at = ? WHERE name = ?"
_DELETE = "DELETE FROM bucket WHERE name = ?"
_CLEAN = "DELETE FROM bucket WHERE idle_at < ?"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Bucket).decode


def boot_id() -> str:
    """A name of this start of the machine; zeros where the system tells none.

    Without one a restart shows as a clock that went back, or makes requests look younger than they
    are: both wait longer, never shorter.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:BOOT_DIGITS]
    except OSError:
        return "0" * BOOT_DIGITS


class SqliteStore(Store):
    """Shared by the processes of one machine (not over a network folder), and by their threads.

    `path` names the file, but for the start of the machine, which is put before the suffix.

    Raises:
        StoreLostError: The file cannot be made or read.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = boot_clock, boot: str | None = None
    ) -> None:
        self.path = path.with_name(f"{path.stem}-{boot or boot_id()}{path.suffix}")
        self._family = f"{path.stem}-{BOOT_DIGITS * '[0-9a-f]'}{path.suffix}"
        self._clock = clock
        self._lock = threading.Lock()
        self._uses = 0
        self._lost: str | None = None
        with contextlib.ExitStack() as opened:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                opened.callback(os.close, self._file)
                self._db = sqlite3.connect(
                    self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
                )
                opened.callback(self._db.close)
                self._db.execute("PRAGMA journal_mode = PERSIST")
                self._db.execute("PRAGMA synchronous = OFF")
            except (OSError, sqlite3.Error) as error:
                raise self._lose(error) from error
            self._begin()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._opened.close()

    def _passed_s(self, at: float) -> float:
        return self._clock() - at

    def _change(self, names: Sequence[str], change: Callable[[list[Bucket]], T]) -> T:
        def work(db: sqlite3.Connection) -> T:
            now = self._clock()
            rows = [db.execute(_SELECT, (name,)).fetchone() for name in names]
            buckets = [_decode(row[0]) if row else Bucket(now) for row in rows]
            for bucket in buckets:
                bucket.advance(now)
            result = change(buckets)
            for name, row, bucket in zip(names, rows, buckets, strict=True):
                if bucket.idle_at > now:
                    db.execute(_UPDATE if row else _INSERT, _row(name, bucket))
                elif row:
                    db.execute(_DELETE, (name,))
            self._uses += 1
            if self._uses % CLEAN_EVERY == 0:
                db.execute(_CLEAN, (now,))
            return result

        return self._alone(work)

    def _alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one transaction, one at a time on this machine."""
        with self._lock:
            if self._lost:
                raise StoreLostError(self._lost)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    return self._transact(work)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            except (OSError, sqlite3.Error, msgspec.DecodeError) as error:
                raise self._lose(error) from error

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._db)
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
        return result

    def _lose(self, error: Exception) -> StoreLostError:
        reason, advice = _explain(error)
        lost = StoreLostError(
            f"the budgets cannot be kept: {reason}", where=str(self.path), do=advice
        )
        self._lost = str(lost)
        return lost

    def _begin(self) -> None:
        """Make the table, and take over what earlier starts of the machine left."""
        older = [path for path in self.path.parent.glob(self._family) if path != self.path]

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                db.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
                for path in sorted(older, key=lambda path: path.stat().st_mtime):
                    self._take_over(path)
            db.execute(_CLEAN, (self._clock(),))

        self._alone(work)
        for path in older:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)

    def _take_over(self, path: Path) -> None:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=1)) as older:
                rows = older.execute("SELECT name, state, at, wall FROM bucket").fetchall()
            for name, state, at, wall in rows:
                bucket = _decode(state)
                bucket.leases, bucket.waiters = {}, []
                bucket.shift(self._clock() - max(0.0, time.time() - wall) - at)
                self._db.execute(_DELETE, (name,))
                self._db.execute(_INSERT, _row(name, bucket))
        except (sqlite3.Error, msgspec.DecodeError) as error:
            logger.warning("budgets from before the machine started are lost: error=%s", error)


def _row(name: str, bucket: Bucket) -> tuple[bytes, float, float, float, str]:
    return _encode(bucket), bucket.at, time.time(), bucket.idle_at, name


def _explain(error: Exception) -> tuple[str, str]:
    """What happened, and what to do, in words for people."""
    if isinstance(error, FileNotFoundError):
        return (
            "the file was removed or replaced while it was in use",
            "keep `home` in a folder of this machine alone, and run again",
        )
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    damaged = "remove the file while nothing runs; it holds only which requests were just made"
    unwritable = "make the file and its folder writable, or choose another folder as `home`"
    advice = {
        "SQLITE_FULL": "free some space on the disk, and run again",
        "SQLITE_READONLY": unwritable,
        "SQLITE_CANTOPEN": unwritable,
        "SQLITE_CORRUPT": damaged,
        "SQLITE_NOTADB": damaged,
    }
    if isinstance(error, msgspec.DecodeError):
        return "the file is damaged", damaged
    default = unwritable if isinstance(error, OSError) else "check the disk, and run again"
    return getattr(error, "strerror", None) or str(error), advice.get(name, default)
