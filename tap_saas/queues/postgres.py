"""The queue of many machines: tables in PostgreSQL, for any number of receivers and readers.

A reader that asks for what is behind its offset would skip the events of a slower transaction with
smaller offsets. So each transaction that appends takes one advisory lock before it is given
offsets, and holds it until its events are visible.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from tap_saas.errors import ConfigError, QueueError
from tap_saas.queues.base import Arrival, Event, Limits
from tap_saas.queues.log import SqlQueue, statements
from tap_saas.queues.packed import Packed, pack, pack_again

_HERE = Path(__file__).parent
VERSION = "1"
LOCK_KEY = 0x7461_7051
CONNECT_S = 5
# Firewalls and servers close what is idle for long: ask before it is used again.
IDLE_S = 20.0

_Rows = list[tuple[Any, ...]]


class PostgresQueue(SqlQueue):
    """A queue in a database; `write` makes its tables where there are none.

    Raises:
        ConfigError: the URL cannot be read.
        QueueError: the database cannot be reached, or has no queue, or one of a later version.
    """

    def __init__(self, url: str, *, write: bool, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits())
        found = statements(_HERE / "queue.sql", _HERE / "postgres.sql")
        self._statements = {name: _named(text) for name, text in found.items()}
        self._url = url
        self._where = _shown(url)
        self._writes = write
        self._lock = threading.RLock()
        self._db: psycopg.Connection | None = None
        self._epoch = ""
        with self._told():
            self._connect()

    @property
    def epoch(self) -> str:
        """The identity of this history."""
        return self._epoch

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._db is not None:
                self._db.close()

    def append(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Keep all of them durably in one transaction; False for each that is a duplicate."""
        return self._keep([pack(arrival) for arrival in arrivals])

    def put_back(self, events: Sequence[Event]) -> list[bool]:
        """Keep events of a queue's damaged file once more, under new offsets."""
        return self._keep([pack_again(event) for event in events])

    def _keep(self, packed: Sequence[Packed]) -> list[bool]:
        first: set[bytes] = set()
        given = [row for row in packed if _is_first(row, first)]
        with self._alone():
            rows = self._run(
                "append",
                keys=[row.key for row in given],
                sources=[row.source for row in given],
                instants=[row.received_at for row in given],
                digests=[row.digest for row in given],
                requests=[row.request for row in given],
                bodies=[row.body for row in given],
                remember=self.limits.remember // self.limits.remember.resolution,
            )
        fresh = {bytes(key) for (key,) in rows}
        stored = []
        for row in packed:
            stored.append(row.key is None or row.key in fresh)
            fresh.discard(row.key or b"")
        return stored

    def _run(self, name: str, **values: Any) -> _Rows:
        with self._lock, self._told():
            cursor = self._connect().execute(self._statements[name], values)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, self._told():
            db = self._connect()
            with db.transaction():
                db.execute(self._statements["prepare"])
                db.execute(self._statements["lock"], {"key": LOCK_KEY})
                yield

    def _connect(self) -> psycopg.Connection:
        """The connection, a new one where the last one broke."""
        if self._db is not None and self._is_alive(self._db):
            self._used_at = time.monotonic()
            return self._db
        db = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="tap-saas queue",
            keepalives_idle=30,
            tcp_user_timeout=30_000,
        )
        try:
            db.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            if self._writes:
                self._make_tables(db)
            self._check_tables(db)
        except BaseException:
            db.close()
            raise
        self._db = db
        self._used_at = time.monotonic()
        return db

    def _is_alive(self, db: psycopg.Connection) -> bool:
        if not db.closed and time.monotonic() - self._used_at > IDLE_S:
            with contextlib.suppress(psycopg.OperationalError):
                db.execute("SELECT 1")
        return not db.closed

    def _make_tables(self, db: psycopg.Connection) -> None:
        if _has_tables(db):
            return
        # The transaction begins after the wait, else it may not see what others made meanwhile.
        db.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with db.transaction():
            if not _has_tables(db):
                db.execute(self._statements["tables"])
                insert = "INSERT INTO queue_meta VALUES ('epoch', %s), ('version', %s)"
                db.execute(insert, (str(uuid.uuid4()), VERSION))
        db.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))

    def _check_tables(self, db: psycopg.Connection) -> None:
        if not _has_tables(db):
            raise QueueError(
                "there is no queue",
                where=self._where,
                do="start the receiver (saasctl webhooks serve), or name its queue",
            )
        ((version,),) = db.execute(self._statements["version"]).fetchall()
        if int(version) > int(VERSION):
            raise QueueError(
                "a later version of tap-saas made this queue",
                where=self._where,
                do="upgrade tap-saas",
            )
        ((self._epoch,),) = db.execute(self._statements["epoch"]).fetchall()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Every failure of the database as one line."""
        try:
            yield
        except psycopg.Error as error:
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            do = "check the database and the rights in it"
            raise QueueError(
                f"the queue cannot be used ({what})", where=self._where, do=do
            ) from error

    def _file_bytes(self) -> int:
        ((size,),) = self._run("file_bytes")
        return int(size)

    def _free_bytes(self) -> int | None:
        return None

    def _least_free_bytes(self) -> int:
        return 0


def _has_tables(db: psycopg.Connection) -> bool:
    return db.execute("SELECT to_regclass('queue_meta')").fetchone() != (None,)


def _is_first(row: Packed, seen: set[bytes]) -> bool:
    """Whether no row before it has the same key; one statement cannot touch a key twice."""
    if row.key is None:
        return True
    is_first = row.key not in seen
    seen.add(row.key)
    return is_first


def _named(text: str) -> bytes:
    """A statement with parameters as psycopg writes them, binary: bodies are not escaped."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)b", text).encode()


def _shown(url: str) -> str:
    """Which database it is, without user and password."""
    try:
        known = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Its text holds the URL, and so the password.
        raise ConfigError(
            "the queue's URL is not one of PostgreSQL", do="write postgresql://host/database"
        ) from None
    host = known.get("host") or "localhost"
    return f"postgresql://{host}/{known.get('dbname') or ''}"
