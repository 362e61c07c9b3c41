"""Reading the body of a request within its bounds: bytes, and seconds."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from starlette.types import Receive

from tap_saas.webhooks.deadlines import Deadlines

# A sender that sees its connection closed while it still sends often misses the answer.
LINGER_BYTES = 8_000_000
Failure: TypeAlias = Literal["gone", "slow", "large"]


class BodyReader:
    """Reads bodies of at most so many bytes that come in at most so many seconds."""

    def __init__(self, deadlines: Deadlines, max_s: float) -> None:
        self._deadlines = deadlines
        self._max_s = max_s

    async def read(self, receive: Receive, declared: int | None, max_bytes: int) -> bytes | Failure:
        """The whole body, or why there is none: the sender left, or was too slow, or sent too much.

        `declared` is the content length. What is too large is read on for a while, and dropped.
        """
        if declared is not None and declared > max_bytes + LINGER_BYTES:
            return "large"
        task = asyncio.current_task()
        assert task is not None
        parts = _Parts(max_bytes, is_large=declared is not None and declared > max_bytes)

        def late() -> None:
            parts.is_late = True
            task.cancel()

        number = self._deadlines.watch(self._max_s, late)
        try:
            return await parts.collect(receive)
        except asyncio.CancelledError:
            if not parts.is_late:
                raise
            task.uncancel()
            return "large" if parts.is_large else "slow"
        finally:
            self._deadlines.forget(number)


class _Parts:
    """What has come of one body."""

    def __init__(self, max_bytes: int, *, is_large: bool) -> None:
        self.is_large = is_large
        self.is_late = False
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    async def collect(self, receive: Receive) -> bytes | Failure:
        """The body at its end, or why it is none."""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return "gone"
            self._add(message.get("body", b""))
            if not message.get("more_body", False):
                return "large" if self.is_large else b"".join(self._parts)
            if self._size > self._max_bytes + LINGER_BYTES:
                return "large"

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            self.is_large = True
        if self.is_large:
            self._parts.clear()
        else:
            self._parts.append(part)
