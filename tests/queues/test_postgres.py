"""What is PostgreSQL's own: broken connections, rights, durable answers, frozen receivers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from arrivals import DAY, NOON, SOURCE, arrivals, ids, place_of
from postgres_server import postgres_server

from tap_saas.errors import ConfigError, QueueError
from tap_saas.queues import open_queue, postgres
from tap_saas.queues.base import Queue
from tap_saas.queues.postgres import PostgresQueue

KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'tap-saas queue' AND datname = current_database()
"""


def kill_backends(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute(KILL).fetchall() == [(True,)]


def test_a_lost_connection_costs_one_batch(database: str) -> None:
    with closing(open_queue(database, write=True)) as queue:
        queue.append(arrivals(1, 2))
        kill_backends(database)
        with pytest.raises(QueueError, match="the queue cannot be used"):
            queue.append(arrivals(3, 4))
        assert queue.append(arrivals(1, 4)) == [False, False, True, True]
        assert ids(queue) == ["1", "2", "3", "4"]


def wait_for_lock(url: str) -> int:
    """The process of the server that waits for a row; once there is one."""
    query = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'tap-saas queue' AND datname = current_database()
      AND wait_event_type = 'Lock'
    """
    with psycopg.connect(url, autocommit=True) as connection:
        until = time.monotonic() + 20
        while not (found := connection.execute(query).fetchone()):
            assert time.monotonic() < until
            time.sleep(0.01)
    return int(found[0])


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the test's own: all who use it lose their connection."""
    monkeypatch.delenv("TAP_SAAS_TEST_DATABASE_URL", raising=False)
    with postgres_server() as url:
        yield url


def test_a_server_process_killed_in_the_middle_of_a_batch_stores_all_or_nothing(
    own_server: str,
) -> None:
    with closing(open_queue(own_server, write=True)) as queue, ThreadPoolExecutor(1) as pool:
        queue.append(arrivals(1, 2))
        before = place_of(queue, "2")
        with closing(psycopg.connect(own_server)) as other:
            # The batch's events are written, and wait for their count to be.
            other.execute("SELECT 1 FROM queue_source FOR UPDATE")
            appending = pool.submit(queue.append, arrivals(3, 60))
            os.kill(wait_for_lock(own_server), signal.SIGKILL)
            with pytest.raises(QueueError, match="the queue cannot be used"):
                appending.result(20)
        until = time.monotonic() + 20
        while True:  # the server recovers, which ends all connections
            try:
                stored = queue.append(arrivals(1, 60))
                break
            except QueueError:
                assert time.monotonic() < until
                time.sleep(0.05)
        assert stored == [False] * 2 + [True] * 58
        assert ids(queue, after=before.offset) == [str(number) for number in range(3, 61)]
        assert queue.status().sources[0].events == 60


def test_a_connection_that_was_closed_while_idle_costs_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_S", 0.0)
    with closing(open_queue(database, write=True)) as queue:
        kill_backends(database)
        assert queue.append(arrivals(1, 2)) == [True, True]


def test_an_answer_is_durable_though_the_server_is_set_otherwise(database: str) -> None:
    with closing(PostgresQueue(database, write=True)) as queue:
        queue._statements["synchronous"] = b"SHOW synchronous_commit"
        queue._connect().execute("SET synchronous_commit = off")
        with queue._alone():
            assert queue._run("synchronous") == [("on",)]
        queue._connect().execute("SET synchronous_commit = remote_apply")
        with queue._alone():
            assert queue._run("synchronous") == [("remote_apply",)], "never less"


def test_who_freezes_while_writing_is_waited_for_with_an_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(PostgresQueue(database, write=True)) as queue:
        prepare = queue._statements["prepare"]
        assert b"'lock_timeout', '5s'" in prepare
        queue._statements["prepare"] = prepare.replace(b"'5s'", b"'50ms'")
        with psycopg.connect(database) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (postgres.LOCK_KEY,))
            with pytest.raises(QueueError, match="lock timeout"):
                queue.append(arrivals(1, 1))
        assert queue.append(arrivals(1, 1)) == [True]


def test_errors_name_the_database_and_no_password(database: str) -> None:
    urls = (
        "postgresql://someone:hunter2@127.0.0.1:1/events?connect_timeout=1",
        "postgresql://someone:hunter2@[::bad/events",
    )
    for url in urls:
        with pytest.raises((QueueError, ConfigError)) as caught:
            open_queue(url, write=True)
        assert "hunter2" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_queue_of_a_later_version_is_refused(database: str) -> None:
    open_queue(database, write=True).close()
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE queue_meta SET value = '2' WHERE name = 'version'")
    with pytest.raises(QueueError, match="a later version of tap-saas made this queue"):
        open_queue(database, write=True)


def test_several_receivers_begin_at_once(database: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        queues: list[Queue] = list(pool.map(lambda _: open_queue(database, write=True), range(6)))
    assert len({queue.epoch for queue in queues}) == 1
    for number, queue in enumerate(queues):
        queue.append(arrivals(number, number + 1))
        queue.acknowledge(SOURCE, "main", place_of(queue, "0"), now=NOON)
    assert ids(queues[0]) == [str(number) for number in range(7)]
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(lambda queue: queue.purge(NOON + DAY), queues)) == 1
    for queue in queues:
        queue.close()
