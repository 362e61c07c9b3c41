"""The writer thread: many requests a commit, each told once what became of it, whatever happens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from arrivals import DAY, NOON, SOURCE, Opener, arrival, arrivals, ids, place_of

from tap_saas.errors import QueueError
from tap_saas.queues import committer
from tap_saas.queues.base import Arrival, Limits, Queue
from tap_saas.queues.committer import Committer
from tap_saas.queues.sqlite import SqliteQueue


@contextmanager
def committing(queue: Queue, **more: object) -> Iterator[Committer]:
    made = Committer(queue, **{"now": lambda: NOON, **more})  # type: ignore[arg-type]
    try:
        yield made
    finally:
        assert made.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Open at the end of a test, so that nothing waits for ever."""
    event = threading.Event()
    yield event
    event.set()


class GatedQueue(SqliteQueue):
    """A queue whose commits wait for a gate, or fail."""

    def __init__(self, path: Path, gate: threading.Event) -> None:
        super().__init__(path, write=True)
        self.gate = gate
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def append(self, arrivals: Sequence[Arrival]) -> list[bool]:
        self.gate.wait(20)
        self.batches.append(len(arrivals))
        if self.failure:
            raise self.failure
        return super().append(arrivals)


def until(fact: Callable[[], object], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < end, "too long"
        time.sleep(0.005)


def test_each_is_told_once_and_duplicates_are_duplicates(opener: Opener) -> None:
    queue = opener(write=True)
    told: Counter[tuple[str | None, str]] = Counter()
    with committing(queue) as made:

        def send(_: int) -> None:
            for each in arrivals(1, 50):
                made.submit(each, lambda outcome, e=each: told.update([(e.event_id, outcome)]))

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made.drain(10)
        assert made.refusal() is None
    assert told == {
        (str(n), outcome): times
        for n in range(1, 51) for outcome, times in (("stored", 1), ("duplicate", 3))
    }  # fmt: skip
    assert sorted(ids(queue), key=lambda i: int(i or 0)) == [str(n) for n in range(1, 51)]


def test_what_waits_is_one_commit(tmp_path: Path, gate: threading.Event) -> None:
    with closing(GatedQueue(tmp_path / "q.db", gate)) as queue, committing(queue) as made:
        for each in arrivals(1, 1000):
            made.submit(each, lambda outcome: None)
        until(lambda: made.pending < 1000)
        gate.set()
        assert made.drain(10)
        assert len(queue.batches) <= 4
        assert max(queue.batches) <= committer.MAX_BATCH
        assert len(ids(queue)) == 1000


def test_too_many_waiting_are_refused_and_nothing_is_lost(
    tmp_path: Path, gate: threading.Event
) -> None:
    told: list[str] = []
    with (
        closing(GatedQueue(tmp_path / "q.db", gate)) as queue,
        committing(queue, max_pending=20) as made,
    ):
        made.submit(arrival("0"), told.append)
        until(lambda: made.pending == 0)
        for each in arrivals(1, 20):
            made.submit(each, told.append)
        assert made.refusal() == "20 events wait to be stored"
        made.submit(arrival("21"), told.append)
        assert told == ["failed"]
        gate.set()
        assert made.drain(10)
        assert made.refusal() is None
        assert told == ["failed"] + ["stored"] * 21
        assert len(ids(queue)) == 21


def test_waiting_is_bounded_in_bytes(tmp_path: Path, gate: threading.Event) -> None:
    with (
        closing(GatedQueue(tmp_path / "q.db", gate)) as queue,
        committing(queue, max_pending_bytes=1000) as made,
    ):
        made.submit(arrival("0"), lambda outcome: None)
        until(lambda: made.pending == 0)
        made.submit(arrival("1", body=b"x" * 1000), lambda outcome: None)
        assert made.refusal() == "1000 bytes wait to be stored"
        gate.set()
        assert made.drain(10)
        assert made.refusal() is None


class SlowSync(apsw.VFS):
    """The system's files, but a sync takes as long as one says."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.base = apsw.vfs_names()[0]
        super().__init__("slow-sync", base=self.base, makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return SlowFile(self, name, flags)


class SlowFile(apsw.VFSFile):
    def __init__(self, vfs: SlowSync, name: object, flags: list[int]) -> None:
        self.vfs = vfs
        super().__init__(vfs.base, name, flags)  # type: ignore[arg-type]

    def xSync(self, flags: int) -> None:  # noqa: N802
        time.sleep(self.vfs.delay_s)
        super().xSync(flags)


def test_a_slow_disk_is_refused_meanwhile_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "SLOW_S", 0.2)
    system, slow = apsw.vfs_names()[0], SlowSync()
    told: list[str] = []
    try:
        with (
            closing(SqliteQueue(tmp_path / "q.db", write=True)) as queue,
            committing(queue) as made,
        ):
            slow.delay_s = 0.005
            began = time.monotonic()
            for each in arrivals(1, 2000):
                made.submit(each, told.append)
            assert made.drain(10)
            assert time.monotonic() - began < 2000 * 0.005 / 4, "many a commit"
            slow.delay_s = 0.7
            made.submit(arrival("stall"), told.append)
            until(lambda: made.refusal() == "a commit takes longer than 0.2 s")
            slow.delay_s = 0
            assert made.drain(10)
            assert made.refusal() is None
            assert told == ["stored"] * 2001
            assert len(ids(queue)) == 2001
    finally:
        apsw.set_default_vfs(system)
        slow.unregister()


def test_a_failing_queue_is_told_and_tried_again(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "RETRY_S", 0.1)
    gate.set()
    told: list[str] = []
    with closing(GatedQueue(tmp_path / "q.db", gate)) as queue, committing(queue) as made:
        queue.failure = QueueError("the disk is full", where="q.db")
        for each in arrivals(1, 3):
            made.submit(each, told.append)
        assert made.drain(10)
        assert told == ["failed"] * 3
        assert made.refusal() == "the disk is full"
        queue.failure = None
        until(lambda: made.refusal() is None)
        for each in arrivals(1, 3):
            made.submit(each, told.append)
        assert made.drain(10)
        assert told[3:] == ["stored"] * 3


def test_a_writer_that_died_accepts_nothing(
    tmp_path: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with closing(GatedQueue(tmp_path / "q.db", gate)) as queue, committing(queue) as made:
        queue.failure = RuntimeError("a mistake of ours")
        made.submit(arrival("1"), told.append)
        until(lambda: made.pending == 0)
        made.submit(arrival("2"), told.append)
        gate.set()
        until(lambda: made.refusal() == "the queue's writer has ended")
        assert made.drain(1)
        made.submit(arrival("3"), told.append)
        assert told == ["failed"] * 3
    assert "the queue's writer has ended" in caplog.text


def test_closing_stores_what_waits(tmp_path: Path, gate: threading.Event) -> None:
    told: list[str] = []
    with closing(GatedQueue(tmp_path / "q.db", gate)) as queue:
        made = Committer(queue, now=lambda: NOON)
        for each in arrivals(1, 100):
            made.submit(each, told.append)
        made.count_refused(SOURCE, "forged")
        threading.Timer(0.05, gate.set).start()
        assert made.close()
        assert made.refusal() == "the receiver stops"
        made.submit(arrival("late"), told.append)
        assert told == ["stored"] * 100 + ["failed"]
        assert len(ids(queue)) == 100
        assert queue.status().refused[0].count == 1


def test_an_event_loop_is_called_once_a_batch(tmp_path: Path) -> None:
    async def run(queue: Queue) -> tuple[list[str], int]:
        loop = asyncio.get_running_loop()
        calls = 0

        def deliver(call: Callable[[], None]) -> None:
            nonlocal calls
            calls += 1
            loop.call_soon_threadsafe(call)

        with committing(queue, deliver=deliver) as made:
            waiting = []
            for each in arrivals(1, 500):
                waiting.append(loop.create_future())
                made.submit(each, waiting[-1].set_result)
            return await asyncio.gather(*waiting), calls

    with closing(SqliteQueue(tmp_path / "q.db", write=True)) as queue:
        outcomes, calls = asyncio.run(run(queue))
    assert outcomes == ["stored"] * 500
    assert calls < 250


def test_the_writer_purges_while_requests_never_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "PURGE_S", 0.02)
    monkeypatch.setattr(committer, "PURGED_AT_ONCE", 500)
    with closing(SqliteQueue(tmp_path / "q.db", write=True, limits=Limits(keep=DAY))) as queue:
        queue.append(arrivals(1, 3000))
        queue.acknowledge(SOURCE, "main", place_of(queue, "3000"), now=NOON)
        with committing(queue, now=lambda: NOON + DAY) as made:
            again: list[str] = []

            def send_next(outcome: str) -> None:
                again.append(outcome)
                if queue.status().sources[0].events > len(again):
                    made.submit(arrival(f"load {len(again)}"), send_next)

            made.submit(arrival("load"), send_next)
            until(lambda: queue.status().sources[0].events == len(again))
            assert made.drain(10)
        assert set(again) == {"stored"}


def test_the_writer_purges_and_watches_the_room_when_idle(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROOM_S", "PURGE_S"):
        monkeypatch.setattr(committer, name, 0.02)
    limits = Limits(keep=timedelta(0), max_events=50, min_free_share=0)
    queue = opener(write=True, limits=limits)
    with committing(queue, now=lambda: NOON + DAY) as made:
        for each in arrivals(1, 50):
            made.submit(each, lambda outcome: None)
        until(lambda: made.refusal() == "the queue is full (50 events)")
        made.count_refused(SOURCE, "forged")
        until(lambda: queue.status().refused)
        queue.acknowledge(SOURCE, "main", place_of(queue, "50"), now=NOON)
        until(lambda: not queue.status().sources[0].events)
        until(lambda: made.refusal() is None)
