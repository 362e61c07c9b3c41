"""How a run ends before its work does: signals, and limits that the user set."""

from __future__ import annotations

import threading
import time
from datetime import timedelta


class PlannedEnd(Exception):  # noqa: N818 - an end that the user planned is no error
    """A limit of the run is reached: STATE is written and the run ends, by default with code 0."""


class Stop(threading.Event):
    """An event that a signal handler may set at any moment.

    `threading.Event` takes a lock in `set` that the interrupted thread may hold already; here
    nothing is locked, waiting looks at the flag ten times a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signum = 0
        self._stopped = False

    def set(self) -> None:
        """Ask all waits to end."""
        self._stopped = True

    def is_set(self) -> bool:
        """True once the run has been asked to end."""
        return self._stopped

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for at most `timeout` seconds; True where the run has been asked to end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._stopped:
            left = 0.1 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, 0.1))
        return self._stopped


class Limits:
    """`max_duration` of a run, asked after each page, and `max_requests`, kept by the client."""

    def __init__(self, max_duration: timedelta | None, max_requests: int | None) -> None:
        self.deadline = (
            None if max_duration is None else time.monotonic() + max_duration.total_seconds()
        )
        self.max_requests = max_requests

    @property
    def are_set(self) -> bool:
        """True where the run has a limit."""
        return self.deadline is not None or self.max_requests is not None

    def check(self) -> None:
        """Raise `PlannedEnd` where the run has lasted long enough."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise PlannedEnd("max_duration is reached")
