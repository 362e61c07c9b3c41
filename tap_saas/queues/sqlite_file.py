"""The file of a SQLite queue: who owns it, whether it is sound, and what is done when it is not."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import uuid
from datetime import datetime
from pathlib import Path

import apsw

from tap_saas.errors import ConfigError, QueueError

log = logging.getLogger(__name__)

APPLICATION_ID = 0x7461_7051
VERSION = 1
# Before these a WAL that two connections use can be damaged (SQLite release notes, 3.51.3).
SOUND = (3, 51, 3)
MENDED = ((3, 44, 6), (3, 50, 7))
BUSY_MS = 5000
JOURNAL_BYTES = 64 << 20
# Ids are in no order, so each commit touches many pages: 16 MB of them between checkpoints.
CHECKPOINT_PAGES = 4000
PATIENCE_S = 2.0


def check_version(version: str) -> None:
    """Refuse a SQLite that can damage a file which two processes use.

    Raises:
        ConfigError: it is older than 3.51.3, and not one of the mended 3.44.6 and 3.50.7.
    """
    number = tuple(int(part) for part in version.split("."))
    if number < SOUND and not any(number[:2] == m[:2] and number >= m for m in MENDED):
        raise ConfigError(
            f"SQLite {version} can damage a queue",
            do='install apsw of 3.51.3 or later: pip install "apsw>=3.51.3"',
        )


class OwnerLock:
    """The one receiver's hold on a file, kept until `close` or the end of the process.

    Raises:
        QueueError: another process has it, or the lock's file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        self.is_first = not self.path.exists()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise QueueError(
                f"the queue cannot be opened ({error.strerror})",
                where=str(path),
                do="make its folder writable, or choose another",
            ) from error
        try:
            self._wait(path)
        except BaseException:
            os.close(self._file)
            raise
        os.truncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _wait(self, path: Path) -> None:
        # A receiver that is being replaced may still write its last batch.
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    owner = os.pread(self._file, 20, 0).decode().strip() or "unknown"
                    raise QueueError(
                        f"another receiver (process {owner}) has this queue",
                        where=str(path),
                        do="stop it, or give this one a queue of its own",
                    ) from error
                time.sleep(0.05)

    def close(self, *, remove: bool = False) -> None:
        """Let go; `remove` where the file that it names turned out to be none of ours."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._file)


def connect(path: Path, *, create: bool) -> apsw.Connection:
    """A connection; a new file is made with mode 0600."""
    if create:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def make_durable(connection: apsw.Connection) -> None:
    """Sync at each commit; readers and the writer do not wait for one another."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", True)
    connection.pragma("journal_size_limit", JOURNAL_BYTES)
    connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)


def make_tables(connection: apsw.Connection, tables: str) -> None:
    """Make the tables of a new file, with an epoch of its own."""
    with connection:
        connection.execute(tables)
        connection.execute("INSERT INTO queue_meta VALUES ('epoch', ?)", (str(uuid.uuid4()),))
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", VERSION)


def is_new(connection: apsw.Connection) -> bool:
    """Whether the file has no tables yet."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get is None


def check_kind(path: Path, connection: apsw.Connection) -> None:
    """Refuse a file that is no queue, or one of a later version.

    Raises:
        ConfigError: it has another program's tables.
        QueueError: a later version of this program made it.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise not_ours(path)
    if connection.pragma("user_version") > VERSION:
        raise QueueError(
            "a later version of tap-saas made this queue", where=str(path), do="upgrade tap-saas"
        )


def not_ours(path: Path) -> ConfigError:
    """The error for a file that something else made."""
    return ConfigError("the file is not a queue", where=str(path), do="name another file")


def damage(connection: apsw.Connection) -> str | None:
    """What is wrong in a file, None where it is sound; reads all of it."""
    found = connection.execute("PRAGMA quick_check(1)").get
    return None if found == "ok" else str(found)


def put_aside(path: Path, why: str, now: datetime) -> Path:
    """Rename a damaged file, and its journal, to `*.corrupt-<time>`."""
    aside = path.with_name(f"{path.name}.corrupt-{now:%Y%m%dT%H%M%S%fZ}")
    # A journal without its file is void, a file without its journal is an older one.
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    log.error(
        "the queue is damaged and begins anew; the next pull makes good what was not read from it, "
        "and `saasctl queue salvage` puts back what can be: why=%s kept_as=%s",
        why,
        aside,
    )
    return aside
