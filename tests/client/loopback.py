"""A small HTTP server on loopback that answers as a test says, wrongly too."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "loopback.pem"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; `connection` numbers the connections."""

    method: str
    path: str
    headers: Message
    body: bytes
    at: float
    connection: int


@dataclass(frozen=True)
class Answer:
    """What to send: `missing` bytes less than Content-Length, in pieces of `drip_s`, or a reset."""

    status: int = 200
    body: bytes = b'{"data": []}'
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    drip_s: float = 0.0
    delay_s: float = 0.0
    reset: bool = False


class Loopback:
    """What arrived at the server, and where it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []

    def paths(self) -> list[str]:
        return [request.path for request in self.seen]


@contextlib.contextmanager
def serve(
    answer: Callable[[Seen], Answer], *, host: str = "127.0.0.1", tls: bool = False
) -> Iterator[Loopback]:
    """Serve from threads until the block ends."""
    server = _Server((host, 0), _Handler)
    scheme = "http"
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    server.told = Loopback(f"{scheme}://{host}:{server.server_address[1]}")
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.told
    finally:
        server.shutdown()
        server.close_connections()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    told: Loopback
    answer: Callable[[Seen], Answer]

    def __init__(self, *arguments: object) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)  # type: ignore[arg-type]

    def get_request(self) -> tuple[socket.socket, object]:
        sock, address = super().get_request()
        self.connections.append(sock)
        return sock, address

    def close_connections(self) -> None:
        for sock in self.connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no matter of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = Seen(
            self.command,
            self.path,
            self.headers,
            self.rfile.read(length),
            time.monotonic(),
            self.server.connections.index(self.connection),
        )
        self.server.told.seen.append(seen)
        answer = self.server.answer(seen)
        time.sleep(answer.delay_s)
        if answer.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        if "Date" not in answer.headers:
            self.send_header("Date", self.date_time_string())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) + answer.missing))
        self.end_headers()
        if answer.drip_s:
            for letter in answer.body:
                self.wfile.write(bytes([letter]))
                time.sleep(answer.drip_s)
        else:
            self.wfile.write(answer.body)
        if answer.missing:
            self.close_connection = True

    do_GET = do_POST = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


OK = Answer()


def in_turn(*answers: Answer) -> Callable[[Seen], Answer]:
    """These answers one after the other, the last one for ever."""
    left = list(answers)

    def answer(_: Seen) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer
