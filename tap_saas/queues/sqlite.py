"""The queue of one machine: a SQLite file that one receiver owns and taps read.

WAL and synchronous=FULL: a commit is on the disk when it returns. Taps acknowledge with short
transactions of their own while the receiver writes; the receiver alone appends.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from tap_saas.errors import ConfigError, QueueError
from tap_saas.queues import sqlite_file
from tap_saas.queues.base import Arrival, Event, Limits, utc_now
from tap_saas.queues.log import SqlQueue, statements
from tap_saas.queues.packed import Packed, pack, pack_again

_HERE = Path(__file__).parent
# What a commit and a checkpoint of the WAL may take, besides pages that purging freed.
LEAST_DISK_SHARE = 0.25

_DAMAGED = (apsw.CorruptError, apsw.NotADBError)


class SqliteQueue(SqlQueue):
    """A queue in a file; `write` owns it and may append, without it the file must exist.

    Raises:
        ConfigError: SQLite is too old, or the file is something else.
        QueueError: another receiver owns the file, there is none, or it cannot be used.
    """

    def __init__(self, path: Path, *, write: bool, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits())
        sqlite_file.check_version(apsw.sqlite_lib_version())
        self.path = path
        self._statements = statements(_HERE / "queue.sql", _HERE / "sqlite.sql")
        self._lock = threading.RLock()
        self._owner: sqlite_file.OwnerLock | None = None
        self._damage: str | None = None
        self._is_alone = False
        if not write and not path.exists():
            raise _missing(path)
        if write:
            self._make_folder()
            self._owner = sqlite_file.OwnerLock(path)
        try:
            with self._told():
                self._open()
        except BaseException as error:
            if self._owner is not None:
                foreign = isinstance(error, ConfigError) and self._owner.is_first
                self._owner.close(remove=foreign)
            raise

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise QueueError(
                f"the folder of the queue cannot be made ({error.strerror})", where=str(self.path)
            ) from error

    def _open(self) -> None:
        if self._owner is not None:
            why = self._damage or self._examine()
            if why:
                sqlite_file.put_aside(self.path, why, utc_now())
        self._damage = None
        self._db = sqlite_file.connect(self.path, create=self._owner is not None)
        try:
            if sqlite_file.is_new(self._db):
                self._begin()
            sqlite_file.check_kind(self.path, self._db)
            sqlite_file.make_durable(self._db)
            self._epoch = str(self._db.execute(self._statements["epoch"]).get)
            self._identity = self._identify()
        except BaseException:
            self._db.close()
            raise

    def _begin(self) -> None:
        if self._owner is None:
            raise _missing(self.path)
        sqlite_file.make_durable(self._db)
        sqlite_file.make_tables(self._db, self._statements["tables"])

    def _examine(self) -> str | None:
        """Why the file is damaged, None where it is sound or new.

        A file that is not even SQLite's is taken for a damaged queue only where it was one before.
        """
        if not self.path.exists():
            return None
        try:
            with contextlib.closing(sqlite_file.connect(self.path, create=False)) as db:
                if not sqlite_file.is_new(db):
                    sqlite_file.check_kind(self.path, db)
                return sqlite_file.damage(db)
        except _DAMAGED as error:
            if self._owner is not None and self._owner.is_first:
                raise sqlite_file.not_ours(self.path) from error
            return str(error)

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @property
    def epoch(self) -> str:
        """The identity of this history."""
        return self._epoch

    def close(self) -> None:
        """Close the file and let others own it."""
        with self._lock, self._told():
            self._db.close()
            if self._owner is not None:
                self._owner.close()
                self._owner = None

    def append(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Keep all of them durably in one transaction; False for each that is a duplicate."""
        if self._owner is None:
            raise QueueError("the queue is open for reading", where=str(self.path))
        return self._keep([pack(arrival) for arrival in arrivals])

    def put_back(self, events: Sequence[Event]) -> list[bool]:
        """Keep events of a queue's damaged file once more, under new offsets."""
        return self._keep([pack_again(event) for event in events])

    def _keep(self, packed: Sequence[Packed]) -> list[bool]:
        remember = self.limits.remember // (self.limits.remember.resolution)
        see, keep = self._statements["see"], self._statements["keep"]
        with self._alone():
            keys = [(row.key, row.received_at, remember) for row in packed if row.key]
            fresh = {key for (key,) in self._db.executemany(see, keys)}
            stored = []
            for row in packed:
                stored.append(row.key is None or row.key in fresh)
                fresh.discard(row.key)
            rows = [row for row, is_new in zip(packed, stored, strict=True) if is_new]
            self._db.executemany(
                keep,
                [(r.source, r.received_at, r.digest, r.size, r.request, r.body) for r in rows],
            )
            sizes: dict[str, list[int]] = {}
            for row in rows:
                sizes.setdefault(row.source, []).append(row.size)
            for source, each in sizes.items():
                self._run("grow", source=source, events=len(each), bytes=sum(each))
        return stored

    def _run(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._told():
            if not self._is_alone:
                self._check_file()
            return self._db.execute(self._statements[name], values).fetchall()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, self._told():
            self._check_file()
            self._db.execute("BEGIN IMMEDIATE")
            self._is_alone = True
            try:
                yield
                self._db.execute("COMMIT")
            except apsw.FullError:
                self._roll_back()
                # Once it is all in the file, the WAL is used from its beginning again.
                with contextlib.suppress(apsw.Error):
                    self._db.execute("PRAGMA wal_checkpoint(RESTART)")
                raise
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        self._is_alone = False
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _check_file(self) -> None:
        """Begin anew where the file was damaged, removed or replaced; a reader says so and ends."""
        replaced = self._identify() != self._identity
        if not replaced and self._damage is None:
            return
        if self._owner is None:
            what = "was removed or replaced" if replaced else f"is damaged ({self._damage})"
            raise QueueError(
                f"the queue's file {what}",
                where=str(self.path),
                do="run again; a receiver that is started puts a damaged file aside",
            )
        self._db.close()
        if replaced:
            self._damage = None
            sqlite_file.log.error(
                "the queue's file was removed or replaced while in use; it is opened anew: file=%s",
                self.path,
            )
        self._open()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Every failure of SQLite as one line."""
        try:
            yield
        except (apsw.Error, OSError) as error:
            if isinstance(error, _DAMAGED):
                self._damage = str(error)
            what, do = _explain(error)
            raise QueueError(what, where=str(self.path), do=do) from error

    def _file_bytes(self) -> int:
        paths = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def _disk(self) -> tuple[int, int]:
        """Free and all bytes of the disk."""
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def _free_bytes(self) -> int | None:
        """What the disk has, and what purging freed inside of the file.

        Of the disk alone a part must be left: the WAL grows before the freed pages are used.
        """
        with self._lock, self._told():
            free, _ = self._disk()
            if free < self._least_free_bytes() * LEAST_DISK_SHARE:
                return free
            pages: int = self._db.pragma("freelist_count")
            size: int = self._db.pragma("page_size")
            return free + pages * size

    def _least_free_bytes(self) -> int:
        _, size = self._disk()
        return max(self.limits.min_free_bytes, int(size * self.limits.min_free_share))


def _missing(path: Path) -> QueueError:
    do = "start the receiver (saasctl webhooks serve), or name its queue"
    return QueueError("there is no queue", where=str(path), do=do)


def _explain(error: apsw.Error | OSError) -> tuple[str, str]:
    """What happened, and what to do, in words for people."""
    if isinstance(error, apsw.FullError):
        return "the disk is full", "free some space; nothing that was accepted is lost"
    if isinstance(error, _DAMAGED):
        return f"the file is damaged ({error})", "start the receiver again: it puts the file aside"
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return "the file cannot be written", "make the file and its folder writable"
    if isinstance(error, apsw.BusyError):
        return f"the file was in use for {sqlite_file.BUSY_MS // 1000} s", "try again"
    text = getattr(error, "strerror", None) or str(error)
    return f"the queue cannot be used ({text})", "check the disk"
