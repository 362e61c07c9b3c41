"""The file of a queue: one owner, durable; what happens when the disk or a person damages it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from arrivals import DAY, NOON, SOURCE, arrival, arrivals, ids, place_of, walk

from tap_saas.errors import ConfigError, QueueError
from tap_saas.queues import open_queue, sqlite_file
from tap_saas.queues.base import Limits
from tap_saas.queues.sqlite import SqliteQueue

SMALL = Limits(min_free_bytes=0, min_free_share=0, keep=timedelta(0))


@contextmanager
def opened(
    path: Path, *, write: bool = True, limits: Limits | None = None
) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(path, write=write, limits=limits)) as queue:
        yield queue


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "queue.db"


def aside(path: Path) -> list[Path]:
    return [found for found in path.parent.glob("*.corrupt-*") if found.suffix.endswith("Z")]


def fill(path: Path, count: int = 3000) -> None:
    with opened(path) as queue:
        queue.append(arrivals(1, count))


def test_a_commit_is_synced_and_the_file_is_private(path: Path) -> None:
    with opened(path) as queue:
        assert queue._db.pragma("journal_mode") == "wal"
        assert queue._db.pragma("synchronous") == 2
        assert queue._db.pragma("quick_check") == "ok"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("version", "is_sound"),
    [("3.40.1", False), ("3.50.6", False), ("3.50.7", True), ("3.51.2", False),
     ("3.51.3", True), ("3.44.6", True), ("3.54.1", True), ("3.45.0", False)],
)  # fmt: skip
def test_a_sqlite_that_damages_files_is_refused(version: str, is_sound: bool) -> None:
    with nullcontext() if is_sound else pytest.raises(ConfigError, match="can damage a queue"):
        sqlite_file.check_version(version)


def test_a_second_owner_is_refused_with_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "PATIENCE_S", 0.1)
    with opened(path):
        with pytest.raises(QueueError) as caught:
            SqliteQueue(path, write=True)
        assert str(caught.value) == (
            f"{path}: another receiver (process {os.getpid()}) has this queue; "
            "stop it, or give this one a queue of its own"
        )
        with opened(path, write=False) as reader, pytest.raises(QueueError, match="for reading"):
            reader.append(arrivals(1, 1))
    with opened(path):
        pass


def overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(4 * 4096))


def zero_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite_pages, zero_header, truncate])
def test_a_damaged_file_is_put_aside_and_a_new_history_begins(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path)
    with opened(path) as queue:
        here = place_of(queue, "7")
    damage(path)  # type: ignore[operator]
    with opened(path) as queue:
        assert queue.epoch != here.epoch
        start = queue.start(SOURCE, here)
        assert (start.after, start.known, start.gap) == (0, False, True)
        assert queue.append(arrivals(1, 2)) == [True, True]
    assert "the queue is damaged and begins anew" in caplog.text
    assert len(aside(path)) == 1
    assert aside(path)[0].stat().st_size > 0


def test_damage_met_while_running_costs_one_batch(path: Path) -> None:
    fill(path)
    with opened(path) as queue:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        queue._db.execute("PRAGMA shrink_memory")
        with pytest.raises(QueueError, match="damaged"):
            queue.append(arrivals(4000, 4010))
        assert all(queue.append(arrivals(4000, 4010)))
        assert ids(queue) == [str(number) for number in range(4000, 4011)]
    assert len(aside(path)) == 1


def orphan_an_index_entry(path: Path) -> None:
    """Move an event behind the back of an index: `quick_check` only counts the entries."""
    index = "FROM sqlite_schema WHERE name = 'queue_event_source'"
    with closing(apsw.Connection(str(path))) as db:
        (row,) = db.execute(f"SELECT type, name, tbl_name, rootpage, sql {index}").fetchall()
    steps = (
        (f"DELETE {index}", ()),
        ("UPDATE queue_event SET off = 99 WHERE off = 5", ()),
        ("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row),
    )
    for statement, values in steps:
        with closing(apsw.Connection(str(path))) as db:
            db.execute("PRAGMA writable_schema = 1")
            db.execute(statement, values)


def test_damage_that_the_check_at_the_start_does_not_see_is_met_once(path: Path) -> None:
    fill(path, 10)
    orphan_an_index_entry(path)
    with opened(path) as queue, opened(path, write=False) as reader:
        with pytest.raises(QueueError, match="damaged"):
            reader.read(SOURCE, 0)
        with pytest.raises(QueueError, match="the queue's file is damaged"):
            reader.start(SOURCE, None)
        with pytest.raises(QueueError, match="damaged"):
            queue.read(SOURCE, 0)
        assert queue.append(arrivals(1, 2)) == [True, True]
        assert ids(queue) == ["1", "2"]
    assert len(aside(path)) == 1


def test_a_file_that_is_no_queue_is_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "acme.yaml", tmp_path / "other.db"
    text.write_text("name: acme\n" * 200)
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE t (a)")
    before = other.read_bytes()
    for path in (text, text, other, other):
        with pytest.raises(ConfigError, match="the file is not a queue; name another file"):
            SqliteQueue(path, write=True)
        with pytest.raises((ConfigError, QueueError)):
            SqliteQueue(path, write=False)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["acme.yaml", "other.db"]
    assert other.read_bytes() == before


def test_a_queue_of_a_later_version_is_refused_and_left_alone(path: Path) -> None:
    fill(path, 3)
    with closing(apsw.Connection(str(path))) as db:
        db.pragma("user_version", sqlite_file.VERSION + 1)
    for write in (True, False):
        with pytest.raises(QueueError, match="a later version of tap-saas made this queue"):
            SqliteQueue(path, write=write)
    assert not aside(path)


def test_a_restored_older_copy_is_noticed(path: Path, tmp_path: Path) -> None:
    fill(path, 10)
    copy = shutil.copy(path, tmp_path / "copy.db")
    with opened(path) as queue:
        queue.append(arrivals(11, 20))
        here = place_of(queue, "15")
    shutil.copy(copy, path)
    with opened(path) as queue:
        assert queue.start(SOURCE, here).why == (
            f"the queue has no event with offset {here.offset}: an older copy was restored"
        )
        queue.append(arrivals(21, 30))
        start = queue.start(SOURCE, here)
        assert (start.known, start.gap) == (False, True)
        assert "another event has offset" in (start.why or "")


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_lost_journal_is_no_end(path: Path, suffix: str) -> None:
    """After a crash: the file with a journal of which a part, or the index, is gone."""
    child = subprocess.run(
        [sys.executable, "-c", CRASHER, str(path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    journal = path.with_name(path.name + suffix)
    if suffix == "-wal":
        os.truncate(journal, journal.stat().st_size // 2)
    else:
        journal.unlink()
    with opened(path) as queue:
        kept = ids(queue)
        assert kept == [str(number) for number in range(1, len(kept) + 1)]
        assert suffix == "-wal" or len(kept) == 200
        new = queue.append(arrivals(1, 200))
        assert new == [False] * len(kept) + [True] * (200 - len(kept))


CRASHER = """
import os, signal, sys
sys.path.insert(0, "tests/queues")
from pathlib import Path
from arrivals import arrivals
from tap_saas.queues import open_queue
queue = open_queue(sys.argv[1], write=True)
for first in range(1, 200, 10):
    queue.append(arrivals(first, first + 9))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_that_is_replaced_in_use_is_opened_anew(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as queue, opened(path, write=False) as reader:
        queue.append(arrivals(1, 3))
        here = place_of(reader, "3")
        for found in path.parent.glob("queue.db*"):
            if not found.name.endswith(".lock"):
                found.unlink()
        with pytest.raises(QueueError, match="removed or replaced; run again"):
            reader.read(SOURCE, 0)
        assert queue.append(arrivals(4, 5)) == [True, True]
        assert not queue.start(SOURCE, here).known
        with opened(path, write=False) as later:
            assert ids(later) == ["4", "5"]
    assert "was removed or replaced while in use" in caplog.text


def test_reading_holds_no_transaction(path: Path) -> None:
    """A read that stays open would let the journal grow without end."""
    with opened(path) as queue, opened(path, write=False) as reader:
        queue.append(arrivals(1, 1000))
        read = walk(reader, max_events=10)
        next(read)
        for first in range(1000, 9000, 200):
            queue.append(arrivals(first + 1, first + 200, body=bytes(4000)))
            next(read)
        assert path.with_name("queue.db-wal").stat().st_size < 24 << 20
        busy, _, _ = queue._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        assert busy == 0


FULL = """
import resource, signal, sys, threading
sys.path.insert(0, "tests/queues")
from datetime import timedelta
from arrivals import NOON, DAY, SOURCE, arrival, ids, place_of
from tap_saas.errors import QueueError
from tap_saas.queues import open_queue
from tap_saas.queues.base import Limits
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
queue = open_queue(sys.argv[1], write=True, limits=Limits(keep=timedelta(0)))
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))
stored, refused = [], []
for number in range(600):
    each = arrival(str(number), body=b"x" * 10_000)
    try:
        assert queue.append([each]) == [True]
        stored.append(str(number))
    except QueueError as error:
        refused.append(each)
        line = str(error)
assert len(stored) > 50 and len(refused) > 50, (len(stored), len(refused))
assert ids(queue) == stored
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert queue.append(refused) == [True] * len(refused)
assert ids(queue) == stored + [each.event_id for each in refused]
queue.close()
print(line)
"""


def test_no_event_is_stored_in_part_when_the_file_cannot_grow(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: the ")
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ).returncode == 0  # fmt: skip
    if not made:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_disk(ballast: Path) -> Path:
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    return ballast


def test_a_nearly_full_disk_refuses_early_and_is_cleared_by_acknowledging(small_disk: Path) -> None:
    limits = Limits(min_free_bytes=2 << 20, min_free_share=0, keep=timedelta(0))
    with opened(small_disk / "queue.db", limits=limits) as queue:
        queue._db.pragma("wal_autocheckpoint", 20)
        stored = 0
        while queue.room() is None:
            queue.append([arrival(str(stored), body=b"x" * 50_000)])
            stored += 1
        assert "the disk is nearly full" in (queue.room() or "")
        last = list(walk(queue))[-1]
        assert int(last.event_id or "") == stored - 1
        with opened(small_disk / "queue.db", write=False) as reader:
            assert reader.acknowledge(SOURCE, "main", place_of(reader, str(stored - 1)), now=NOON)
        assert queue.purge(NOON + DAY) == stored
        assert queue.room() is None, "what purging freed inside of the file counts"
        for number in range(stored, 2 * stored - 50):
            assert queue.room() is None
            assert queue.append([arrival(str(number), body=b"x" * 50_000)]) == [True]


def test_a_disk_that_others_filled_loses_nothing(small_disk: Path) -> None:
    with opened(small_disk / "queue.db", limits=SMALL) as queue:
        queue.append(arrivals(1, 100))
        ballast = fill_disk(small_disk / "ballast")
        big = [arrival(str(number), body=b"x" * 50_000) for number in range(101, 300)]
        stored: list[bool] = []
        with pytest.raises(QueueError, match="the disk is full; free some space"):
            stored.extend(queue.append([each])[0] for each in big)
        kept = ids(queue)
        assert kept == [str(number) for number in range(1, len(kept) + 1)]
        ballast.unlink()
        new = queue.append(arrivals(1, 100) + big[:100])
        assert new == [False] * len(kept) + [True] * (200 - len(kept))


def test_a_full_disk_takes_what_fits_into_freed_pages(small_disk: Path) -> None:
    big = [arrival(str(number), body=b"x" * 50_000) for number in range(120)]
    with opened(small_disk / "queue.db", limits=SMALL) as queue:
        queue.append(big[:60])
        queue.acknowledge(SOURCE, "main", place_of(queue, "59"), now=NOON)
        assert queue.purge(NOON + DAY) == 60
        queue._db.execute("PRAGMA wal_checkpoint(RESTART)")
        fill_disk(small_disk / "ballast")
        failed = 0
        for each in big[60:110]:
            try:
                queue.append([each])
            except QueueError:
                failed += 1
                queue.append([each])
        assert failed == 1
        assert ids(queue) == [str(number) for number in range(60, 110)]


def test_urls_name_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite:///{tmp_path}/one.db", "sqlite:///one.db", tmp_path / "one.db", "one.db"):
        with closing(open_queue(url, write=True)) as queue:
            assert queue.append(arrivals(1, 1)) == [url == f"sqlite:///{tmp_path}/one.db"]
    for url in ("kafka://host", "sqlite://", "sqlite:///"):
        with pytest.raises(ConfigError, match="a queue cannot be kept at"):
            open_queue(url, write=True)
    monkeypatch.setitem(sys.modules, "tap_saas.queues.sqlite", None)
    monkeypatch.setitem(sys.modules, "apsw", None)
    monkeypatch.delitem(sys.modules, "tap_saas.queues.sqlite")
    with pytest.raises(ConfigError, match=r"install it: pip install .tap-saas\[webhooks\]"):
        open_queue("one.db", write=True)


def test_an_unusable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QueueError, match="the folder of the queue cannot be made"):
        SqliteQueue(tmp_path / "file" / "queue.db", write=True)
