"""The access log: a line a request, written together a few times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TextIO

FLUSH_S = 0.2
LONGEST_PATH = 200


class AccessLog:
    """Lines such as `2026-01-02T03:04:05.678Z POST /webhooks/a/b 200 stored 1024B 2.1ms 10.0.0.7`.

    For one event loop. Never a query, a header or a body: secrets may be in them.
    """

    def __init__(self, stream: TextIO | None, mask: Callable[[str], str]) -> None:
        self._stream = stream
        self._mask = mask
        self._lines: list[str] = []
        self._second = 0
        self._shown = ""

    def add(
        self, method: str, path: bytes, status: int, why: str, size: int, seconds: float, peer: str
    ) -> None:
        """Tell of one answer; `size` is that of the request's body."""
        if self._stream is None:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        at = time.time()
        if int(at) != self._second:
            self._second = int(at)
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        shown = path[:LONGEST_PATH].decode("ascii", "backslashreplace")
        self._lines.append(
            f"{self._shown}.{int(at % 1 * 1000):03}Z {method} {shown} {status} {why} {size}B "
            f"{seconds * 1000:.1f}ms {peer}\n"
        )

    def flush(self) -> None:
        """Write what waits."""
        if self._stream is not None and self._lines:
            text, self._lines = "".join(self._lines), []
            self._stream.write(self._mask(text))
            self._stream.flush()
