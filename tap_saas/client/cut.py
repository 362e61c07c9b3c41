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
        self._until: float | None = None

    def adapter(self, **options: Any) -> HTTPAdapter:
        """An adapter whose connections can be cut."""
        return _Adapter(self, **options)

    def add(self, connection: Any) -> None:
        """A connection has been made."""
        with self._lock:
            self._connections.add(connection)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=_watch, args=(weakref.ref(self),), name="scissors", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """End the thread, when it looks next."""
        self._closed.set()

    def look(self) -> bool:
        """Cut what is to be cut now; False once there is nothing to look at any more."""
        if self._stop.is_set() and self._until is None:
            self._until = time.monotonic() + GRACE_S
        if self._until is not None and time.monotonic() > self._until:
            self._cut()
        return not self._closed.is_set()

    def _cut(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError, AttributeError):  # closed, or not connected any more
                connection.sock.shutdown(socket.SHUT_RDWR)


def _watch(watched: weakref.ref[Scissors]) -> None:
    """Look again and again, for as long as anybody else knows the scissors."""
    while (scissors := watched()) is not None and scissors.look():
        del scissors
        time.sleep(LOOK_EVERY_S)


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
