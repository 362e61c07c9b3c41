"""Answers that go wrong on request, as real servers, proxies and networks do.

| kind | what the client sees |
| --- | --- |
| `429` `500` `503` | that status, a JSON error, Retry-After as asked |
| `401` | that status, as if the token had been withdrawn |
| `reset` | the TCP connection is reset (RST), no answer |
| `truncate` | good headers, a body cut inside the JSON; `length` says which Content-Length |
| `html` | status 200 and an HTML page |
| `empty_body` | status 200, JSON by its header, no body |
| `slow` | the right answer after `delay_ms` |
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from email.utils import formatdate

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tap_saas.sandbox.limits import matches

TRANSPORT = "sandbox.transport"
KINDS = ("429", "500", "503", "401", "reset", "truncate", "html", "empty_body", "slow")
CODES = {"429": "rate_limited", "500": "internal", "503": "unavailable", "401": "invalid_token"}
KEPT = 1_000
HTML = "<!doctype html><title>Please wait</title><h1>We will be back soon</h1>\n"


@dataclass(slots=True)
class Fault:
    """What goes wrong: on every `every`-th matching request, `times` times (None: always)."""

    path: str
    kind: str
    times: int | None = 1
    every: int = 1
    retry_after: str | None = None
    after_s: float = 1.0
    delay_ms: int = 0
    length: str = "cut"
    seen: int = 0
    hits: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether it has happened as often as asked for."""
        return self.times is not None and self.hits >= self.times

    def retry_headers(self, now_s: float) -> dict[str, str]:
        """Retry-After in seconds or as an HTTP date, both rounded up, or nothing."""
        if self.retry_after is None:
            return {}
        if self.retry_after == "seconds":
            return {"Retry-After": str(math.ceil(self.after_s))}
        return {"Retry-After": formatdate(math.ceil(now_s + self.after_s), usegmt=True)}


class Faults:
    """Faults in the order they were asked for; a request meets the first that is due."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Remember a fault; of the spent ones only the latest are kept."""
        if len(self._faults) >= KEPT:
            self._faults = [known for known in self._faults if not known.is_spent][-KEPT + 1 :]
        self._faults.append(fault)

    def clear(self) -> None:
        """Everything goes right from now on."""
        self._faults.clear()

    def show(self) -> list[dict[str, object]]:
        """All faults with how many requests they saw and hit."""
        return [asdict(fault) for fault in self._faults]

    def due(self, path: str) -> Fault | None:
        """The fault that this request meets, counted as a hit."""
        for fault in self._faults:
            if fault.is_spent or not matches(fault.path, path):
                continue
            fault.seen += 1
            if fault.seen % fault.every == 0:
                fault.hits += 1
                return fault
        return None


async def spoil(fault: Fault, answer: Callable[[], Awaitable[Response]]) -> Response:
    """What the client gets instead of, or of, the right answer."""
    if fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1_000)
    match fault.kind:
        case "reset":
            return Reset()
        case "html":
            return Response(HTML, media_type="text/html")
        case "empty_body":
            return Response(b"", media_type="application/json")
        case "truncate":
            return Cut(await answer(), whole_length=fault.length == "whole")
        case "slow":
            return await answer()
    body = {"error": CODES[fault.kind], "message": f"asked for by a fault on {fault.path}"}
    return JSONResponse(body, int(fault.kind), headers=fault.retry_headers(time.time()))


class Reset(Response):
    """No answer: the connection is closed with an RST (SO_LINGER of 0 seconds, socket(7))."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope[TRANSPORT]
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
        await _wait_gone(receive)


class Cut(Response):
    """Two thirds of an answer; Content-Length is that of the part, or of the whole."""

    def __init__(self, answer: Response, *, whole_length: bool) -> None:
        whole = bytes(answer.body)
        part = whole[: len(whole) * 2 // 3]
        headers = dict(answer.headers)
        headers["content-length"] = str(len(whole if whole_length else part))
        super().__init__(part, answer.status_code, headers)
        self._whole_length = whole_length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._whole_length:
            await super().__call__(scope, receive, send)
            return
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        transport: asyncio.Transport = scope[TRANSPORT]
        transport.close()
        await _wait_gone(receive)


async def _wait_gone(receive: Receive) -> None:
    """Wait until the server has seen the connection go, so that it sends nothing of its own."""
    while (await receive())["type"] != "http.disconnect":
        pass
