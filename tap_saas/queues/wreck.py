"""What can still be read of a damaged queue's file, put back into the queue."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from tap_saas.errors import ConfigError, QueueError
from tap_saas.queues import sqlite_file
from tap_saas.queues.base import MEBIBYTE, Event, Queue
from tap_saas.queues.log import statements
from tap_saas.queues.packed import unpack
from tap_saas.queues.sqlite import SqliteQueue

PAGE = 100
# A part of so many of all offsets is given up whole where neither of its ends can be read.
PARTS = 1 << 15
# SQLite, "Database File Format", 1.3: the size in pages; 0: that of the file.
_SIZE_AT = slice(28, 32)
_HERE = Path(__file__).parent
_ROWS = """
SELECT off, source, received_at, digest, request, body FROM queue_event NOT INDEXED
WHERE off > ? AND off <= ? ORDER BY off {order}
"""


class Salvaged(NamedTuple):
    """How many events were read, and are new; how many the file had, None where it cannot say.

    `gaps` are ranges of offsets, first and last, of which nothing could be read, where some were
    lost: what was purged long ago may be in them.
    """

    read: int
    stored: int
    had: int | None
    gaps: list[tuple[int, int]]


def salvage(path: Path, queue: Queue) -> Salvaged:
    """Put back all events of a damaged file that are whole; the file stays as it is.

    An event that is not as it came (its mark says so) counts as lost.

    Raises:
        ConfigError: the file is no queue, or the queue itself.
        QueueError: nothing can be read from it, or the queue cannot take more.
    """
    if not path.is_file():
        raise ConfigError("there is no such file", where=str(path), do="name a *.corrupt-* file")
    if isinstance(queue, SqliteQueue) and path.samefile(queue.path):
        raise ConfigError("this is the queue itself", where=str(path), do="name a *.corrupt-* file")
    read = stored = 0
    with _opened(path) as wreck:
        for events in wreck.pages():
            full = queue.room()
            if full:
                what = f"{stored} events are put back, the rest is not: {full}"
                raise QueueError(what, where=str(path), do="make room, and run it again")
            stored += sum(queue.put_back(events))
            read += len(events)
    return Salvaged(read, stored, wreck.had, [] if read == wreck.had else wreck.gaps())


class _Read(NamedTuple):
    events: list[Event]
    reached: int
    is_full: bool


class _Wreck:
    """The events of a damaged file in order, and where none could be read."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.had = self._ask("SELECT coalesce(sum(events), 0) FROM queue_source")
        last = self._ask("SELECT seq FROM sqlite_sequence WHERE name = 'queue_event'")
        if last is None:
            last = self._ask("SELECT max(off) FROM queue_event NOT INDEXED")
        if last is None and self.had != 0:
            raise apsw.CorruptError("the end of the log cannot be read")
        self._last = last or 0
        self._purged = self._ask("SELECT min(coalesce(purged, 0)) FROM queue_source") or 0
        self._runs: list[tuple[int, int]] = [(0, self._purged), (self._last + 1, self._last + 1)]

    def _ask(self, query: str) -> int | None:
        with contextlib.suppress(apsw.CorruptError, apsw.IOError):
            found: int | None = self._db.execute(query).get
            return found
        return None

    def pages(self) -> Iterator[list[Event]]:
        """What can be read: where a range ends early it is halved, down to a small part.

        An error is not needed for that: in a damaged page SQLite may take any offset for the next.
        """
        todo, smallest = [(self._purged, self._last)], max(1, self._last // PARTS)
        while todo:
            after, last = todo.pop()
            events, reached, is_full = self._read(after, last)
            if events:
                yield events
            if is_full:
                todo.append((reached, last))
            elif last - reached > smallest:
                middle = (reached + last) // 2
                todo += [(middle, last), (reached, middle)]
            elif last > reached:
                events, _, _ = self._read(reached, last, backward=True)
                if events:
                    yield events[::-1]

    def _read(self, after: int, last: int, *, backward: bool = False) -> _Read:
        """Events of a range from one of its ends on, until there is enough or damage."""
        query = _ROWS.format(order="DESC" if backward else "ASC")
        reached, step = (last + 1, -1) if backward else (after, 1)
        events: list[Event] = []
        size = 0
        with contextlib.suppress(apsw.Error):
            for count, (off, *row) in enumerate(self._db.execute(query, (after, last))):
                is_full = count >= PAGE or size > 8 * MEBIBYTE
                if is_full and events and not backward:
                    return _Read(events, reached, is_full=True)
                if (off - reached) * step <= 0:
                    break
                event = _event(off, row)
                if event is not None:
                    reached = off
                    self._found(off)
                    events.append(event)
                    size += len(event.body)
        return _Read(events, reached, is_full=False)

    def _found(self, off: int) -> None:
        first, last = self._runs[-1]
        if last == off - 1:
            self._runs[-1] = first, off
        else:
            self._runs.append((off, off))

    def gaps(self) -> list[tuple[int, int]]:
        """The ranges of offsets between the events that were read.

        Which reads have failed says too little: SQLite may skip some without an error.
        """
        between = pairwise(sorted(self._runs))
        return [(end + 1, start - 1) for (_, end), (start, _) in between if start > end + 1]


def _event(off: int, row: list[Any]) -> Event | None:
    """The event, None where it is not what was stored."""
    source, received_at, digest, request, body = row
    try:
        event = unpack(source, off, received_at, request, body)
        return event if event.digest() == digest else None
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Wreck]:
    """The file itself; where its first page or length is wrong, a copy with a new one."""
    with contextlib.ExitStack() as stack:
        try:
            wreck = _wreck(stack, path)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError):
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent))
                wreck = _wreck(stack, _mended(path, Path(folder)))
            except (apsw.Error, OSError) as error:
                raise _hopeless(path, error) from error
        except apsw.Error as error:
            raise _hopeless(path, error) from error
        yield wreck


def _wreck(stack: contextlib.ExitStack, path: Path) -> _Wreck:
    # Without a journal nothing is written beside the file.
    has_journal = path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.absolute().as_uri()}?immutable={int(not has_journal)}"
    db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    stack.callback(db.close)
    sqlite_file.check_kind(path, db)
    return _Wreck(db)


def _mended(path: Path, folder: Path) -> Path:
    """A copy whose first page, which says where the tables are, is that of a new queue."""
    fresh, copy = folder / "new.db", folder / "copy.db"
    with contextlib.closing(sqlite_file.connect(fresh, create=True)) as db:
        sqlite_file.make_durable(db)
        sqlite_file.make_tables(db, statements(_HERE / "sqlite.sql")["tables"])
        page_bytes = int(db.pragma("page_size"))
    first = bytearray(fresh.read_bytes()[:page_bytes])
    first[_SIZE_AT] = bytes(4)
    for suffix in ("", "-wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            shutil.copyfile(part, copy.with_name(copy.name + suffix))
    with copy.open("r+b") as file:
        file.write(first)
    return copy


def _hopeless(path: Path, error: Exception) -> QueueError:
    do = "pull the streams whole: the next run does"
    return QueueError(f"nothing can be read from the file ({error})", where=str(path), do=do)
