"""Connections that are cut when a run is to stop and an answer does not come."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager

LOOK_EVERY_S = 0.25
GRACE_S = 4.0
"""How long the answer in hand may still take: whoever stops processes waits ten seconds or more."""


class Scissors:
    """Cuts all connections some seconds after `stop` was set: a read that waits then fails.

    Thread-safe; a thread of its own looks at `stop`, since a signal wakes no other thread.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def adapter(self, **options: Any) -> HTTPAdapter:
        """An adapter whose connections can be cut."""
        return _Adapter(self, **options)

    def add(self, connection: Any) -> None:
        """A connection has been made."""
        with self._lock:
            self._connections.add(connection)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._watch, name="scissors", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            if self._stop.is_set():
                break
        until = time.monotonic() + GRACE_S
        while not self._closed.wait(LOOK_EVERY_S):
            if time.monotonic() > until:
                self._cut()

    def _cut(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError, AttributeError):  # closed, or not connected any more
                connection.sock.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    def __init__(self, scissors: Scissors, **options: Any) -> None:
        self._scissors = scissors
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        self._watch(manager)
        return manager

    def _watch(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {
            "http": _watched(HTTPConnectionPool, self._scissors),
            "https": _watched(HTTPSConnectionPool, self._scissors),
        }


def _watched(pool: Any, scissors: Scissors) -> Any:
    """The pool with connections that tell when they are made."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            scissors.add(self)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
