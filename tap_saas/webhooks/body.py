"""Reading the body of a request within its bounds: bytes, and seconds."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from starlette.types import Receive

# A sender that sees its connection closed while it still sends often misses the answer.
LINGER_BYTES = 8_000_000
Failure: TypeAlias = Literal["gone", "slow", "large"]


async def read_body(
    receive: Receive, declared: int | None, max_bytes: int, max_s: float
) -> bytes | Failure:
    """The whole body, or why there is none: the sender left, or sent it too slowly, or too much.

    `declared` is the content length. What is too large is read on for a while, and thrown away.
    """
    if declared is not None and declared > max_bytes + LINGER_BYTES:
        return "large"
    parts: list[bytes] = []
    size = 0
    most = max_bytes if declared is None or declared <= max_bytes else 0
    try:
        async with asyncio.timeout(max_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return "gone"
                part = message.get("body", b"")
                size += len(part)
                if size <= most:
                    parts.append(part)
                if not message.get("more_body", False):
                    break
                if size > max_bytes + LINGER_BYTES:
                    return "large"
    except TimeoutError:
        return "slow" if size <= max_bytes else "large"
    return b"".join(parts) if size <= max_bytes and most else "large"
