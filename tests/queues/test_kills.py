"""Receivers that are killed, and many at once: what was answered is there, once, in order."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from arrivals import walk

from tap_saas.queues import open_queue
from tap_saas.queues.base import Event

# A receiver: stores the ids that stdin names, and answers with each id once it is durable.
RECEIVER = """
import sys, threading
sys.path.insert(0, "tests/queues")
from contextlib import closing
from arrivals import NOON, arrival
from tap_saas.queues import open_queue
from tap_saas.queues.committer import Committer

answers = threading.Lock()
def answer(event_id, outcome):
    with answers:
        print(event_id, outcome, flush=True)
with closing(open_queue(sys.argv[1], write=True)) as queue:
    print("ready", flush=True)
    committer = Committer(queue, now=lambda: NOON)
    for line in sys.stdin:
        each = arrival(line.strip(), body=b"x" * 500)
        committer.submit(each, lambda outcome, i=each.event_id: answer(i, outcome))
    committer.close()
"""


@contextmanager
def receiver(url: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVER, url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            yield child
        finally:
            child.kill()


def send(child: subprocess.Popen[str], wanted: list[str]) -> None:
    assert child.stdin is not None
    try:
        for event_id in wanted:
            child.stdin.write(f"{event_id}\n")
        child.stdin.close()
    except (BrokenPipeError, ValueError):
        return


def run(url: str, wanted: list[str], kill_after: int | None) -> dict[str, str]:
    """The answers to as many of the ids as the receiver lives for."""
    answers: dict[str, str] = {}
    with receiver(url) as child:
        sender = threading.Thread(target=send, args=(child, wanted))
        sender.start()
        assert child.stdout is not None
        for line in child.stdout:
            if not line.endswith("\n"):
                break
            event_id, outcome = line.split()
            answers[event_id] = outcome
            if kill_after is not None and len(answers) == kill_after:
                child.send_signal(signal.SIGKILL)
        sender.join()
        assert (child.wait() == 0) == (kill_after is None)
    return answers


def test_what_was_answered_outlives_kill_9_and_is_there_once_after_retries(queue_url: str) -> None:
    random.seed(7)
    wanted = [str(number) for number in range(2000)]
    answered: dict[str, str] = {}
    for _ in range(3):
        left = [each for each in wanted if each not in answered]
        answered |= run(queue_url, left, random.randint(50, 400))
        with closing(open_queue(queue_url, write=False)) as reader:
            kept = Counter(event.event_id for event in walk(reader))
        assert set(answered) <= set(kept), "answered, but lost"
        assert set(kept.values()) == {1}
    answered |= run(queue_url, [each for each in wanted if each not in answered], None)
    assert answered.keys() == set(wanted)
    assert set(answered.values()) <= {"stored", "duplicate"}
    with closing(open_queue(queue_url, write=True)) as queue:
        assert sorted(int(event.event_id or 0) for event in walk(queue)) == list(range(2000))
        assert queue.status().sources[0].events == 2000


def test_a_killed_receiver_leaves_its_queue_to_the_next(tmp_path: Path) -> None:
    url = str(tmp_path / "queue.db")
    run(url, ["1"], 1)
    assert run(url, ["1", "2"], None) == {"1": "duplicate", "2": "stored"}


WRITER = """
import sys
sys.path.insert(0, "tests/queues")
from contextlib import closing
from arrivals import arrivals
from tap_saas.queues import open_queue
first = int(sys.argv[2])
with closing(open_queue(sys.argv[1], write=True)) as queue:
    for number in range(first, first + 300, 6):
        # Each id comes to two of the receivers.
        queue.append(arrivals(number, number + 5) + arrivals(number - 150, number - 145))
"""


def test_a_reader_of_four_receivers_skips_and_doubles_nothing(database: str) -> None:
    with closing(open_queue(database, write=True)) as queue:
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, database, str(first)])
            for first in range(150, 1350, 300)
        ]
        read: list[Event] = []
        try:
            while any(writer.poll() is None for writer in writers):
                read += list(walk(queue, after=read[-1].offset if read else 0, max_events=50))
                time.sleep(0.002)
        finally:
            for writer in writers:
                writer.wait(30)
        assert [writer.returncode for writer in writers] == [0] * 4
        read += list(walk(queue, after=read[-1].offset if read else 0))
        assert sorted(int(event.event_id or 0) for event in read) == list(range(1350))
        assert read == list(walk(queue))
        offsets = [event.offset for event in read]
        assert offsets == sorted(set(offsets))
