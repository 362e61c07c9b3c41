"""The end of one walk among many: whoever still waits for it stops waiting."""

from __future__ import annotations

import threading
import time

LOOK_EVERY_S = 0.1


class WalkStop(threading.Event):
    """Set when its walk is closed, and as soon as the whole run is to stop."""

    def __init__(self, run: threading.Event) -> None:
        super().__init__()
        self._run = run

    def is_set(self) -> bool:
        """True once nobody needs the walk any more."""
        return super().is_set() or self._run.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for at most `timeout` seconds; True where the walk has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = LOOK_EVERY_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            super().wait(min(left, LOOK_EVERY_S))
        return self.is_set()
