"""Many providers at once, what they were answered, and how long that took."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Sequence

from receivers import NAME, Receiver, signed

CLIENTS = 8


class Load:
    """Clients that send numbered events without pause, and note which were answered with 200.

    With several receivers, an event that one does not take is brought to the next, until one does.
    """

    def __init__(self, *receivers: Receiver, clients: int = CLIENTS, filling: int = 900) -> None:
        self.receivers: Sequence[Receiver] = receivers
        self.sent: list[str] = []
        self.accepted: list[str] = []
        self.seconds: list[float] = []
        self.later: list[str | None] = []
        self.refused = 0
        self._filling = "x" * filling
        self._numbers = itertools.count()
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def wait(self, count: int) -> None:
        """Until so many were accepted."""
        until = time.monotonic() + 20
        while len(self.accepted) < count:
            assert time.monotonic() < until
            time.sleep(0.005)

    def _send(self, number: int) -> None:
        turn = number
        with contextlib.ExitStack() as stack:
            connections = [
                http.client.HTTPConnection(*each.address, timeout=10) for each in self.receivers
            ]
            for each in connections:
                stack.callback(each.close)
            while not self._ends.is_set():
                event_id = f"load {next(self._numbers)}"
                self.sent.append(event_id)
                while not self._is_taken(connections[turn % len(connections)], event_id):
                    turn += 1
                    if len(connections) == 1 or self._ends.is_set():
                        break
                if all(each.process.poll() is not None for each in self.receivers):
                    return

    def _is_taken(self, connection: http.client.HTTPConnection, event_id: str) -> bool:
        body = json.dumps({"load": event_id, "filling": self._filling}).encode()
        headers = {"X-Signature": signed(body), "X-Event-Id": event_id}
        began = time.monotonic()
        try:
            connection.request("POST", f"/webhooks/{NAME}", body, headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        self.seconds.append(time.monotonic() - began)
        if response.status == 200:
            self.accepted.append(event_id)
            return True
        self.refused += 1
        self.later.append(response.headers["Retry-After"])
        return False
