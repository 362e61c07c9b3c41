"""Processes that spend one budget together, judged by when their requests arrive at a server."""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import statistics
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tap_saas.client.limiter import BudgetSpentError, Limiter
from tap_saas.client.stores import open_store
from tap_saas.connector.budget import Budget
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.units import parse_duration

PROCESSES, THREADS = 3, 4
STAMPED = 35  # SO_TIMESTAMPNS of Linux, which the socket module does not name
SPAWN = multiprocessing.get_context("spawn")


class Arrival(NamedTuple):
    """When a request came (`time.time`), and from which process."""

    at: float
    process: int


class Place(NamedTuple):
    """Where a fleet keeps its budgets: in a file of this folder, or in a database."""

    home: Path
    url: str | None = None

    @contextmanager
    def limiter(self) -> Iterator[Limiter]:
        """A limiter of its own."""
        store = open_store(self.url, self.home)
        with Limiter(store, scope="acme") as limiter:
            yield limiter
        store.close()


class Task(NamedTuple):
    """What a process is to do: spend these budgets from `start` to `end` (`time.monotonic`).

    `is_busy`: besides, it reckons all the time.
    """

    place: Place
    budgets: Mapping[str, Any]
    start: float
    end: float
    is_busy: bool


def budgets(raw: Mapping[str, Any]) -> dict[str, Budget]:
    return msgspec.convert(raw, dict[str, Budget], dec_hook=decode_notation)


def came_at(client: socket.socket) -> Arrival | None:
    """The next request of a connection, when the kernel got it; None at the end."""
    asked, notes, _, _ = client.recvmsg(1, 64)
    if not asked:
        return None
    at = time.time()
    for _, kind, stamp in notes:
        if kind == STAMPED:
            seconds, nanoseconds = struct.unpack("qq", stamp)
            at = seconds + nanoseconds / 1e9
    return Arrival(at, asked[0])


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
                    client.setsockopt(socket.SOL_SOCKET, STAMPED, 1)
                    ready.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj
                assert isinstance(client, socket.socket)
                arrival = came_at(client)
                if arrival is not None:
                    arrivals.append(arrival)
                    client.send(b"!")
                else:
                    ready.unregister(client)
                    client.close()


def serve_tasks(process: int, port: int, parent: Connection) -> None:
    """One process of the fleet: does what it is told, until it is told nothing more."""
    parent.send("ready")
    while task := parent.recv():
        with task.place.limiter() as limiter:
            spend(process, port, task, limiter)
        parent.send("done")


def spend(process: int, port: int, task: Task, limiter: Limiter) -> None:
    """Threads that ask as fast as they may."""
    stop = threading.Event()
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

    def reckon() -> None:
        while time.monotonic() < task.end:
            sum(range(1000))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    threads += [threading.Thread(target=reckon)] * task.is_busy
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
        place: Place,
        raw: Mapping[str, Any],
        seconds: float,
        *,
        meanwhile: Callable[[], None] | None = None,
        is_busy: bool = False,
    ) -> list[Arrival]:
        """Let all processes spend a budget for so long; what the server has seen."""
        start = time.monotonic() + 0.1
        for client in self._clients:
            client.send(Task(place, raw, start, start + seconds, is_busy))
        if meanwhile is not None:
            meanwhile()
        self._wait()
        self._server.send("what came?")
        return sorted(self._server.recv())

    def _wait(self) -> None:
        for client in self._clients:
            assert client.poll(60)
            client.recv()

    def close(self) -> None:
        """End all processes."""
        for client in self._clients:
            client.send(None)
        self._server.send(None)
        for child in self._children:
            child.join(30)
            assert child.exitcode == 0


def most_in(times: Sequence[float], window_s: float) -> int:
    """The largest count in any window."""
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


class Limit(NamedTuple):
    """A limit of requests in a time, as it is written in YAML."""

    requests: int
    per: str

    @property
    def window_s(self) -> float:
        """Its time in seconds."""
        return parse_duration(self.per).total_seconds()

    @property
    def raw(self) -> dict[str, Any]:
        """Its words in YAML."""
        return {"requests": self.requests, "per": self.per}


class Seen(NamedTuple):
    """What came of some limits: the largest count in any window of each, and how it was shared.

    `used`: the part of the tight limit that was used, by how long its whole number of requests took
    again and again. `shares`: the part of each process, but of the first burst, which goes to
    whoever starts first.
    """

    most: list[int]
    used: float
    shares: list[float]


def judge(arrivals: Sequence[Arrival], limits: Sequence[Limit], tight: Limit) -> Seen:
    """Judge what a server has seen."""
    times = [arrival.at for arrival in arrivals]
    spans = [later - at for at, later in zip(times, times[tight.requests :], strict=False)]
    counts = Counter(arrival.process for arrival in arrivals[limits[0].requests :])
    return Seen(
        [most_in(times, limit.window_s) for limit in limits],
        tight.window_s / statistics.median(spans) if spans else 0.0,
        [counts[process] / counts.total() for process in range(PROCESSES)],
    )
