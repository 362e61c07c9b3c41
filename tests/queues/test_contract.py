"""What every queue promises: SQLite and PostgreSQL pass the same tests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from arrivals import DAY, NOON, SOURCE, Opener, arrival, arrivals, ids, place, place_of, walk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tap_saas.errors import QueueError
from tap_saas.queues.base import Arrival, Event, Limits, Place, Queue, Start

ONE_QUEUE = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
_counter = iter(range(10**9))


def new_source() -> str:
    """A source that no other example of a test has."""
    return f"acme/s{next(_counter)}"


texts = st.text(max_size=20)
contents = st.builds(
    lambda **more: more,
    event_id=st.none() | texts,
    received_at=st.datetimes().map(lambda naive: naive.replace(tzinfo=NOON.tzinfo)),
    method=texts, path=texts, query=texts,
    headers=st.dictionaries(texts, texts, max_size=3),
    body=st.binary(max_size=3000),
)  # fmt: skip


@ONE_QUEUE
@given(given_contents=st.lists(contents, max_size=8))
@example(given_contents=[{"event_id": "\0", "received_at": NOON, "path": "\0\ud800", "body": b""}])
def test_events_are_what_arrived(queue: Queue, given_contents: list[dict[str, object]]) -> None:
    source = new_source()
    sent = [Arrival(source=source, **each) for each in given_contents]  # type: ignore[arg-type]
    stored = queue.append(sent)
    seen: set[object] = set()
    for each, is_new in zip(sent, stored, strict=True):
        assert is_new == (each.event_id is None or each.event_id not in seen)
        seen.add(each.event_id)
    kept = [each for each, is_new in zip(sent, stored, strict=True) if is_new]
    read = queue.read(source, 0)
    names = ("event_id", "received_at", "method", "query", "headers", "body", "mark")
    for event, each in zip(read, kept, strict=True):
        assert [getattr(event, n) for n in names] == [getattr(each, n) for n in names]
        assert event.path == each.path.replace("\ud800", "?")
    for event in read:
        assert queue.start(source, place(queue, event)).known
    queue.drop(source, 1 << 60)


@ONE_QUEUE
@given(
    batches=st.lists(st.integers(0, 5), max_size=6),
    max_events=st.integers(1, 7),
    max_bytes=st.integers(1, 200),
)
def test_pages_cut_anywhere_give_each_event_once_and_in_order(
    queue: Queue, batches: list[int], max_events: int, max_bytes: int
) -> None:
    source, other = new_source(), new_source()
    sent = 0
    for size in batches:
        queue.append([*arrivals(sent, sent + size - 1, source=source), arrival(None, source=other)])
        sent += size
    read = list(walk(queue, source, max_events=max_events, max_bytes=max_bytes))
    assert [event.event_id for event in read] == [str(number) for number in range(sent)]
    offsets = [event.offset for event in read]
    assert offsets == sorted(set(offsets))


def test_a_page_is_bounded_in_bytes_but_never_empty(queue: Queue) -> None:
    queue.append([arrival(str(n), body=b"x" * size) for n, size in enumerate((10, 5000, 10, 10))])
    pages, after = [], 0
    while page := queue.read(SOURCE, after, max_bytes=1000):
        pages.append([event.event_id for event in page])
        after = page[-1].offset
    assert pages == [["0"], ["1"], ["2", "3"]]


def test_duplicates_are_stored_once(queue: Queue) -> None:
    assert queue.append([*arrivals(1, 2), arrival("1"), arrival("3")]) == [True, True, False, True]
    assert queue.append([arrival("2"), arrival("1", source="acme/other")]) == [False, True]
    assert queue.append([arrival(None), arrival(None)]) == [True, True], "no id, no duplicate"
    assert ids(queue) == ["1", "2", "3", None, None]


def test_duplicates_at_the_same_time_are_stored_once(queue: Queue) -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = pool.map(lambda _: queue.append(arrivals(1, 30)), range(8))
        stored = [sum(each) for each in zip(*batches, strict=True)]
    assert stored == [1] * 30
    assert ids(queue) == [str(number) for number in range(1, 31)]


def test_an_id_is_known_for_a_week_after_its_event_is_purged(queue: Queue) -> None:
    queue.append(arrivals(1, 2))
    queue.acknowledge(SOURCE, "main", place_of(queue, "2"), now=NOON)
    assert queue.purge(NOON + 2 * DAY) == 2
    again = NOON + 7 * DAY
    assert queue.append([arrival("1", received_at=again)]) == [False]
    later = again + timedelta(seconds=1)
    assert queue.append([arrival("1", received_at=later)]) == [True]
    queue.purge(later)
    assert queue.append([arrival("1", received_at=later)]) == [False]
    assert queue.append([arrival("2", received_at=NOON)]) == [True], "forgotten by purge"


def test_offsets_grow_for_ever(queue: Queue) -> None:
    queue.append(arrivals(1, 5))
    last = place_of(queue, "5")
    queue.acknowledge(SOURCE, "main", last, now=NOON)
    assert queue.purge(NOON + DAY) == 5
    queue.append(arrivals(6, 6))
    assert [event.offset > last.offset for event in queue.read(SOURCE, last.offset)] == [True]


def test_what_is_not_acknowledged_by_all_is_never_purged(opener: Opener) -> None:
    queue = opener(write=True)
    queue.declare(SOURCE, ["main", "audit"])
    queue.append(arrivals(1, 9))
    assert queue.acknowledge(SOURCE, "main", place_of(queue, "7"), now=NOON)
    assert queue.purge(NOON + 9 * DAY) == 0
    assert opener().acknowledge(SOURCE, "audit", place_of(queue, "3"), now=NOON + DAY)
    assert queue.purge(NOON + DAY + timedelta(hours=23)) == 0, "kept for a day"
    assert queue.purge(NOON + 2 * DAY) == 3
    assert ids(queue) == ["4", "5", "6", "7", "8", "9"]
    assert queue.status().sources[0].acknowledged == {
        "main": place_of(queue, "7").offset, "audit": place_of(queue, "4").offset - 1,
    }  # fmt: skip


def test_a_purge_is_bounded(queue: Queue) -> None:
    queue.append(arrivals(1, 1200))
    queue.acknowledge(SOURCE, "main", place_of(queue, "1100"), now=NOON)
    purged = [queue.purge(NOON + DAY, max_events=500) for _ in range(4)]
    assert purged == [500, 500, 100, 0]


def test_a_consumer_that_comes_later_holds_what_is_left(queue: Queue) -> None:
    queue.append(arrivals(1, 4))
    queue.acknowledge(SOURCE, "main", place_of(queue, "2"), now=NOON)
    queue.purge(NOON + DAY)
    queue.declare(SOURCE, ["main", "late"])
    queue.acknowledge(SOURCE, "main", place_of(queue, "4"), now=NOON)
    assert queue.purge(NOON + 9 * DAY) == 0
    queue.declare(SOURCE, ["main"])
    assert queue.purge(NOON + 9 * DAY) == 2


def test_an_undeclared_consumer_acknowledges_nothing(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.append(arrivals(1, 2))
    assert not queue.acknowledge(SOURCE, "stranger", place_of(queue, "2"))
    assert "nobody declared this consumer" in caplog.text
    assert queue.purge(NOON + 9 * DAY) == 0
    with pytest.raises(QueueError, match="no consumers"):
        queue.declare(SOURCE, [])


def test_acknowledging_ends_below_a_pending_offset_and_never_goes_back(queue: Queue) -> None:
    queue.append(arrivals(1, 6))
    pending = place_of(queue, "4").offset
    assert queue.acknowledge(SOURCE, "main", place_of(queue, "6"), below=pending, now=NOON)
    assert not queue.acknowledge(SOURCE, "main", place_of(queue, "2"), now=NOON)
    assert queue.status().sources[0].acknowledged == {"main": pending - 1}
    assert queue.purge(NOON + DAY) == 3


def test_a_reader_goes_on_where_it_was(queue: Queue) -> None:
    assert queue.start(SOURCE, None) == Start(0, known=False, gap=False)
    queue.append(arrivals(1, 3))
    here = place_of(queue, "2")
    start = queue.start(SOURCE, here)
    assert (start.after, start.known, start.gap, start.why) == (here.offset, True, False, None)
    assert ids(queue, after=start.after) == ["3"]


def test_a_reader_at_the_end_of_what_is_purged_has_no_gap(queue: Queue) -> None:
    queue.append(arrivals(1, 4))
    early, end = place_of(queue, "2"), place_of(queue, "4")
    queue.acknowledge(SOURCE, "main", end, now=NOON)
    queue.purge(NOON + DAY)
    assert queue.start(SOURCE, end).known
    assert not queue.start(SOURCE, end).gap
    older = queue.start(SOURCE, early)
    assert (older.known, older.gap, older.after) == (True, True, early.offset)
    lost = queue.start(SOURCE, None)
    assert (lost.known, lost.gap, lost.after) == (False, True, 0)


def test_a_place_of_another_history_reads_all_and_acknowledges_nothing(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.append([*arrivals(1, 3), arrival("x", source="acme/other")])
    here, other = place_of(queue, "3"), queue.read("acme/other", 0)[0]
    queue.acknowledge(SOURCE, "main", place_of(queue, "1"), now=NOON)
    queue.purge(NOON + DAY)
    foreign = [
        Place("another-epoch", here.offset, here.mark),
        Place(here.epoch, here.offset, "0" * 24),
        Place(here.epoch, here.offset + 1000, here.mark),
        Place(here.epoch, here.offset - 2, "0" * 24),
        place(queue, other),
    ]
    for each in foreign:
        start = queue.start(SOURCE, each)
        assert (start.after, start.known, start.gap) == (0, False, True), each
        assert start.why
        caplog.clear()
        assert not queue.acknowledge(SOURCE, "main", each)
        assert "nothing is acknowledged" in caplog.text
    assert queue.purge(NOON + 9 * DAY) == 0


def test_replayed_events_are_read_again_at_the_end(queue: Queue) -> None:
    queue.append([arrival(str(n), received_at=NOON + n * DAY) for n in range(6)])
    read = list(walk(queue))
    first, last = read[1].offset, read[4].offset
    copied = queue.replay(SOURCE, first, last, since=NOON + 2 * DAY, until=NOON + 4 * DAY)
    assert copied == 2
    again = queue.read(SOURCE, read[-1].offset)
    assert [(e.event_id, e.received_at, e.mark) for e in again] == [
        (e.event_id, e.received_at, e.mark) for e in read[2:4]
    ]
    assert queue.replay(SOURCE, 1, 1 << 60) == 8, "what is copied is not copied again"
    assert queue.status().sources[0].events == 16
    assert queue.replay("acme/none", 1, 1 << 60) == 0


def test_dropping_deletes_up_to_an_offset_whoever_has_read(queue: Queue) -> None:
    queue.append(arrivals(1, 4))
    here = place_of(queue, "2")
    assert queue.drop(SOURCE, here.offset) == 2
    assert ids(queue) == ["3", "4"]
    assert queue.start(SOURCE, None).gap
    assert not queue.start(SOURCE, here).gap


def test_a_full_queue_accepts_again_with_some_distance(opener: Opener) -> None:
    queue = opener(write=True, limits=Limits(max_events=100, keep=timedelta(0), min_free_bytes=0,
                                             min_free_share=0))  # fmt: skip
    queue.append(arrivals(1, 99))
    assert queue.room() is None
    queue.append(arrivals(100, 100))
    assert queue.room() == "the queue is full (100 events)"
    with pytest.raises(QueueError, match="0 events are replayed, the rest is not: the queue is"):
        queue.replay(SOURCE, 1, 10)
    queue.drop(SOURCE, place_of(queue, "10").offset)
    assert queue.room() == "the queue is full (90 events)"
    queue.drop(SOURCE, place_of(queue, "11").offset)
    assert queue.room() is None


def test_a_queue_is_full_by_bytes_too(opener: Opener) -> None:
    queue = opener(write=True, limits=Limits(max_bytes=10_000, min_free_share=0))
    queue.append([arrival("1", body=b"x" * 9000)])
    assert queue.room() is None
    queue.append([arrival("2", body=b"x" * 2000)])
    assert (queue.room() or "").startswith("the queue is full (1")


def test_refused_requests_are_counted_in_bounded_space(queue: Queue) -> None:
    queue.count_refused({(SOURCE, "forged"): 2, (SOURCE, "stale"): 1}, NOON)
    queue.count_refused({(SOURCE, "forged"): 3}, NOON + DAY)
    first = queue.status().refused[0]
    assert (first.reason, first.count, first.last_at) == ("forged", 5, NOON + DAY)
    queue.count_refused({(f"acme/{number}", "unknown"): 1 for number in range(1500)})
    refused = queue.status().refused
    assert len(refused) <= 1001
    assert sum(each.count for each in refused) == 1506


def test_status_tells_what_is_kept(queue: Queue) -> None:
    queue.append([arrival(str(n), received_at=NOON + n * DAY) for n in range(3)])
    queue.acknowledge(SOURCE, "main", place_of(queue, "0"), now=NOON)
    status = queue.status()
    found = status.sources[0]
    read = list(walk(queue))
    assert (found.source, found.events) == (SOURCE, 3)
    assert (found.first_offset, found.last_offset) == (read[0].offset, read[-1].offset)
    assert found.oldest_received_at == NOON
    assert found.waiting_since == NOON + DAY
    assert found.bytes > sum(len(event.body) for event in read)
    assert status.file_bytes > 0
    assert queue.newest(SOURCE, 2) == read[1].offset
    assert queue.newest("acme/none", 2) == 1
    queue.purge(NOON + 9 * DAY)
    assert queue.status().sources[0].purged_offset == read[0].offset


def test_the_history_outlives_closing(opener: Opener) -> None:
    first = opener(write=True)
    first.append(arrivals(1, 3))
    here = place_of(first, "2")
    first.close()
    second = opener(write=True)
    assert second.start(SOURCE, here).known
    assert second.append([arrival("3"), arrival("4")]) == [False, True]
    assert ids(second) == ["1", "2", "3", "4"]


def test_a_reader_a_writer_a_purge_and_acknowledging_at_once(opener: Opener) -> None:
    writer = opener(write=True, limits=Limits(keep=timedelta(0)))
    total, read, stop = 1500, [], threading.Event()

    def write() -> None:
        for first in range(0, total, 25):
            writer.append(arrivals(first, first + 24))

    def purge() -> None:
        with_purge = opener(limits=Limits(keep=timedelta(0)))
        while not stop.is_set():
            with_purge.purge(NOON + DAY)

    def consume() -> None:
        reader, after = opener(), 0
        while len(read) < total and not stop.is_set():
            for event in reader.read(SOURCE, after, max_events=100):
                read.append(event.event_id)
                after = event.offset
                last = event
            if read:
                reader.acknowledge(SOURCE, "main", place(reader, last), now=NOON)

    with ThreadPoolExecutor(3) as pool:
        purging, consuming = pool.submit(purge), pool.submit(consume)
        pool.submit(write).result(30)
        try:
            consuming.result(30)
        finally:
            stop.set()
        purging.result(30)
    assert read == [str(number) for number in range(total)]
    writer.purge(NOON + DAY)
    assert writer.status().sources[0].events == 0


def test_a_reader_needs_a_queue(opener: Opener) -> None:
    with pytest.raises(QueueError, match="there is no queue; start the receiver"):
        opener()


def test_events_name_their_content() -> None:
    base = Event(offset=1, **{name: getattr(arrival("1"), name) for name in _FIELDS})
    marks = {base.mark}
    for change in ({"body": b"x"}, {"event_id": "2"}, {"source": "b"}, {"received_at": NOON + DAY}):
        values = {name: getattr(base, name) for name in _FIELDS} | change
        marks.add(Event(offset=1, **values).mark)
    assert len(marks) == 5


_FIELDS = ("source", "event_id", "received_at", "body")
