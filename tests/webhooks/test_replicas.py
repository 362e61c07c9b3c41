"""Receivers of one queue in PostgreSQL: one is killed, the database fails over, nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from load import Load
from psycopg import sql
from receivers import NAME, PATIENCE_S, receiving

from tap_saas.queues import open_queue
from tap_saas.queues.base import Event, Place


class Follower:
    """A tap: reads on behind its last event, all the while."""

    def __init__(self, url: str) -> None:
        self.read: list[Event] = []
        self._url, self._ends = url, threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While the block runs, and then to the end."""
        self._thread.start()
        try:
            yield
        finally:
            self._ends.set()
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        with closing(open_queue(self._url, write=False)) as queue:
            while True:
                is_last = self._ends.is_set()
                after = self.read[-1].offset if self.read else 0
                while events := queue.read(NAME, after, max_events=20):
                    self.read += events
                    after = events[-1].offset
                if is_last:
                    return
                time.sleep(0.0005)


def test_two_receivers_of_which_one_is_killed_skip_and_double_nothing(
    tmp_path: Path, database: str
) -> None:
    with (
        receiving(tmp_path / "one", queue=database) as one,
        receiving(tmp_path / "two", queue=database) as two,
    ):
        follower = Follower(database)
        with follower.reading(), Load(one, two, clients=24, filling=10) as load:
            load.wait(500)
            one.stop(signal.SIGKILL)
            load.wait(len(load.accepted) + 150)
        assert two.stop() == 0
    read = [str(event.event_id) for event in follower.read]
    assert len(set(read)) == len(read), "nothing twice"
    assert set(load.accepted) <= set(read), "nothing skipped"
    assert set(read) <= set(load.sent)
    assert all(one.offset < other.offset for one, other in pairwise(follower.read))
    with closing(open_queue(database, write=False)) as queue:
        assert queue.status().sources[0].events == len(read)


@pytest.fixture
def lagging(database: str) -> Iterator[str]:
    """A standby's database, which is as the other one was at some instant; gone afterwards."""
    name = f"{urlsplit(database).path[1:]}_standby"
    yield name
    with _server(database) as server:
        for each in (name, f"{name}_lost"):
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            server.execute(drop.format(sql.Identifier(each)))


@contextmanager
def _server(database: str) -> Iterator[psycopg.Connection]:
    address = psycopg.conninfo.make_conninfo(database, dbname="postgres")
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


def _break_off(server: psycopg.Connection, name: str) -> None:
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )


def test_fail_over_to_a_standby_that_lags_is_noticed_and_goes_on(
    tmp_path: Path, database: str, lagging: str
) -> None:
    name = urlsplit(database).path[1:]
    with receiving(tmp_path, queue=database) as running, _server(database) as server:
        assert [running.send({"n": n}, str(n)).status for n in (1, 2)] == [200, 200]
        _break_off(server, name)
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        server.execute(copy.format(sql.Identifier(lagging), sql.Identifier(name)))
        until = time.monotonic() + PATIENCE_S
        while running.send({"n": 3}, "3").status != 200:
            assert time.monotonic() < until
        last = running.events()[-1]
        with closing(open_queue(database, write=False)) as tap:
            place = Place(tap.epoch, last.offset, last.mark)
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        for old, new in ((name, f"{lagging}_lost"), (lagging, name)):
            _break_off(server, old)
            server.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))
        answers = []
        while 200 not in answers:
            assert time.monotonic() < until
            answers.append(running.send({"n": 4}, "4").status)
        assert set(answers) <= {200, 503}
        assert [event.event_id for event in running.events()] == ["1", "2", "4"]
        with closing(open_queue(database, write=False)) as tap:
            start = tap.start(NAME, place)
            assert (start.after, start.known, start.gap) == (0, False, True)
            assert not tap.acknowledge(NAME, "main", place)
