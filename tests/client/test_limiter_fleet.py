"""Budgets judged by the arrival times at a server, with several processes of several threads."""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tap_saas.client.limiter import BudgetSpentError, Limiter
from tap_saas.client.stores.sqlite import SqliteStore
from tap_saas.connector.budget import Budget
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.units import parse_duration

PROCESSES, THREADS = 3, 4
SPAWN = multiprocessing.get_context("spawn")


class Arrival(NamedTuple):
    """When a request came, and from which process."""

    at: float
    process: int


def serve(parent: Connection) -> None:
    """A server of one-byte requests that notes when each arrives."""
    arrivals: list[Arrival] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        ready.register(parent, selectors.EVENT_READ)
        parent.send(listener.getsockname()[1])
        while True:
            for key, _ in ready.select():
                if key.fileobj is parent:
                    if parent.recv() is None:
                        return
                    parent.send(arrivals)
                    arrivals = []
                    continue
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    ready.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj
                assert isinstance(client, socket.socket)
                asked = client.recv(1)
                if asked:
                    arrivals.append(Arrival(time.monotonic(), asked[0]))
                    client.send(asked)
                else:
                    ready.unregister(client)
                    client.close()


def budgets(raw: Mapping[str, Any]) -> dict[str, Budget]:
    return msgspec.convert(raw, dict[str, Budget], dec_hook=decode_notation)


class Task(NamedTuple):
    """What a process is to do: spend these budgets from `start` to `end` (`time.monotonic`)."""

    path: Path
    budgets: Mapping[str, Any]
    start: float
    end: float


def serve_tasks(process: int, port: int, parent: Connection) -> None:
    """One process of the fleet: does what it is told, until it is told nothing more."""
    parent.send("ready")
    while task := parent.recv():
        spend(process, port, task)
        parent.send("done")


def spend(process: int, port: int, task: Task) -> None:
    """Threads that ask as fast as they may."""
    stop = threading.Event()
    store = SqliteStore(task.path)
    with Limiter(store, scope="acme") as limiter:
        buckets = limiter.buckets(budgets(task.budgets), "GET", "/orders", {})

        def work() -> None:
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                time.sleep(max(0.0, task.start - time.monotonic()))
                while time.monotonic() < task.end:
                    try:
                        with limiter.slot(buckets, stop=stop, deadline=task.end):
                            server.send(bytes([process]))
                            server.recv(1)
                    except BudgetSpentError:
                        return

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    store.close()


class Fleet:
    """A server and some processes that ask it."""

    def __init__(self) -> None:
        self._server, there = SPAWN.Pipe()
        self._children = [SPAWN.Process(target=serve, args=(there,), daemon=True)]
        self._children[0].start()
        port = self._server.recv()
        self._clients: list[Connection] = []
        for number in range(PROCESSES):
            here, there = SPAWN.Pipe()
            self._clients.append(here)
            self._children.append(
                SPAWN.Process(target=serve_tasks, args=(number, port, there), daemon=True)
            )
            self._children[-1].start()
        self._wait()

    def run(
        self,
        path: Path,
        raw: Mapping[str, Any],
        seconds: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Arrival]:
        """Let all processes spend a budget for so long; what the server has seen."""
        start = time.monotonic() + 0.1
        for client in self._clients:
            client.send(Task(path, raw, start, start + seconds))
        if meanwhile is not None:
            meanwhile()
        self._wait()
        self._server.send("what came?")
        return sorted(self._server.recv())

    def _wait(self) -> None:
        for client in self._clients:
            assert client.poll(30)
            client.recv()

    def close(self) -> None:
        """End all processes."""
        for client in self._clients:
            client.send(None)
        self._server.send(None)
        for child in self._children:
            child.join(30)
            assert child.exitcode == 0


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Processes that are started once, since that takes them long."""
    fleet = Fleet()
    yield fleet
    fleet.close()


def most_in(times: list[float], window_s: float) -> int:
    """The largest count in any window."""
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ([{"requests": 100, "per": "1s"}], 3.3),
        ([{"requests": 10, "per": "500ms"}, {"requests": 30, "per": "2s"}], 3.3),
    ],
)
def test_never_over_well_used_and_fair(
    fleet: Fleet, tmp_path: Path, limits: list[dict[str, Any]], seconds: float
) -> None:
    arrivals = fleet.run(tmp_path / "budgets.db", {"all": {"limits": limits}}, seconds)
    times = [arrival.at for arrival in arrivals]
    for limit in limits:
        window_s = parse_duration(limit["per"]).total_seconds()
        assert most_in(times, window_s) <= limit["requests"]
    # The last limit is the tight one: how long its whole number of requests took, again and again.
    requests = limits[-1]["requests"]
    spans = [later - first for first, later in zip(times, times[requests:], strict=False)]
    assert window_s / statistics.median(spans) >= 0.95
    # The first burst goes to whoever starts first.
    shares = Counter(arrival.process for arrival in arrivals[limits[0]["requests"] :])
    equal = shares.total() / PROCESSES
    assert all(shares[process] >= 0.75 * equal for process in range(PROCESSES)), shares


def test_a_pause_of_one_process_holds_them_all(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "budgets.db"
    raw = {"all": {"limits": [{"requests": 50, "per": "500ms"}]}}
    paused = []

    def pause() -> None:
        time.sleep(0.5)
        store = SqliteStore(path)
        with Limiter(store, scope="acme") as limiter:
            limiter.pause(limiter.buckets(budgets(raw), "GET", "/orders", {}), 0.8)
        paused.append(time.monotonic())
        store.close()

    times = [arrival.at for arrival in fleet.run(path, raw, 1.7, pause)]
    under_way = 0.05
    before = [at for at in times if at < paused[0] + under_way]
    after = [at for at in times if at > paused[0] + 0.8 - under_way]
    assert len(before) >= 50
    assert len(before) + len(after) == len(times), "nobody went in the meantime"
    assert len(after) > 20
    assert most_in(after[:40], 0.1) <= 14, "50 in 500 ms, one by one"
