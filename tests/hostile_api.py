"""A server on loopback that answers with any bytes at all: broken, cut, endless, dripping."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

End = Literal["keep", "close", "reset", "hang"]
DRIP_BYTES = 512
HANG_S = 20.0


@dataclass(frozen=True)
class Raw:
    """What goes over the wire, byte by byte, and what becomes of the connection afterwards.

    With `drip_s` it goes in pieces of `DRIP_BYTES`, so long apart.
    """

    content: bytes
    end: End = "close"
    drip_s: float = 0.0


def answer(
    body: bytes = b"{}",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    missing: int = 0,
) -> Raw:
    """A well-formed answer, but `missing` bytes of the body never come."""
    length = {"Content-Length": str(len(body) + missing)}
    known = {"Content-Type": "application/json", **length, **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items())
    head = f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1", "replace")
    return Raw(head + body, "close" if missing else "keep")


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    head: str
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Answer = Callable[[Asked], Raw]


class Hostile:
    """The server's address, what it answers now, and all that it was asked."""

    def __init__(self, url: str, answer: Answer) -> None:
        self.url, self.answer = url, answer
        self.asked: list[Asked] = []


@contextlib.contextmanager
def hostile(given: Answer) -> Iterator[Hostile]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    told = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}", given)
    open_: list[socket.socket] = []
    over = threading.Event()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            open_.append(connection)
            threading.Thread(target=_serve, args=(connection, told, over), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(connection: socket.socket, told: Hostile, over: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        while (asked := _read(connection)) is not None:
            told.asked.append(asked)
            raw = told.answer(asked)
            _send(connection, raw)
            if raw.end == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if raw.end == "hang":
                over.wait(HANG_S)
            if raw.end != "keep":
                return


def _send(connection: socket.socket, raw: Raw) -> None:
    if not raw.drip_s:
        connection.sendall(raw.content)
        return
    for at in range(0, len(raw.content), DRIP_BYTES):
        connection.sendall(raw.content[at : at + DRIP_BYTES])
        time.sleep(raw.drip_s)


def _read(connection: socket.socket) -> Asked | None:
    """The next request; None where none comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = 0
    for line in text.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65_536)
    method, target, _ = text.split("\r\n")[0].split(" ", 2)
    return Asked(method, target, text, body)
