"""Small APIs of a test's own: one list, walked and filtered as its options say, on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

Record = dict[str, Any]
Params = dict[str, str]


class Reply(NamedTuple):
    """An answer: a JSON value or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


class RefusalError(Exception):
    """The API refuses a request."""

    def __init__(self, status: int, message: str = "refused") -> None:
        self.status = status
        super().__init__(message)


class Asked(NamedTuple):
    """A request as an API's handler sees it."""

    url: str
    path: str
    params: Params
    headers: Mapping[str, str]

    def whole(self, name: str, default: int) -> int:
        """A parameter that is a whole number."""
        text = self.params.get(name, str(default))
        if not text.isdigit():
            raise RefusalError(400, f"{name} is not a number")
        return int(text)

    def link(self, **params: Any) -> str:
        """The same address with these parameters."""
        return f"{self.url}?{urlencode({**self.params, **params})}"

    def only(self, *known: str) -> None:
        """Refuse parameters that the API does not know."""
        strange = self.params.keys() - set(known)
        if strange:
            raise RefusalError(400, f"unknown parameter {min(strange)}")


Handler = Callable[[Asked], Reply]


@contextlib.contextmanager
def serve(handler: Handler) -> Iterator[str]:
    """Serve GET requests until the block ends; the base URL."""

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body leave together, or TCP waits 40 ms between them

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            params = {name: values[-1] for name, values in query.items()}
            url = f"http://{self.headers['Host']}{parts.path}"
            try:
                reply = handler(Asked(url, parts.path, params, self.headers))
            except RefusalError as refusal:
                reply = Reply({"error": str(refusal)}, refusal.status)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def opaque(place: int) -> str:
    """A place in a list as a cursor that says nothing."""
    return base64.urlsafe_b64encode(f"at:{place}".encode()).decode().rstrip("=")


def place(cursor: str) -> int:
    """The place of a cursor; refused where it is none."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return int(text.removeprefix("at:"))
    except ValueError:
        raise RefusalError(400, "no such cursor") from None
