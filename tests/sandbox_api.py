"""The sandbox as tests see it, connectors for it, and small servers of a test's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import requests

from tap_saas.sandbox import process

KEY = "sandbox-key"
HEAD = """\
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
"""
BEARER = 'auth: {type: bearer, token: "{key}"}\n'
DEFAULTS = """\
defaults:
  records: $.data
  primary_key: [id]
  pagination:
    {type: cursor, next: $.next_cursor, send: param:cursor, more: $.has_more,
     size: {send: param:limit, value: SIZE}}
"""


OAUTH = """\
auth:
  type: oauth2
  grant: client_credentials
  token_url: "{url}/oauth/token"
  client: {id: sandbox, secret: "{key}", send: basic}
"""
OAUTH_SECRET = "sandbox-secret"


def connector(streams: str, *, size: int = 10, more: str = "", auth: str = BEARER) -> str:
    """A connector for the sandbox: `streams` is YAML under `streams:`, `size` records a page."""
    return f"{HEAD}{auth}{more}{DEFAULTS.replace('SIZE', str(size))}streams:\n{streams}"


ORDERS = """\
  orders:
    path: /orders
    version: updated_at
    schema:
      type: object
      properties: {id: {type: integer}, updated_at: {type: string, format: date-time}}
"""
"""A stream that needs no sample of its list; the fields that are not declared come by and by."""


class Sandbox:
    """A sandbox that runs, and its other side."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tell(self, method: str, at: str, /, **fields: Any) -> Any:
        """What the sandbox answers on one of its own paths."""
        answer = requests.request(method, f"{self.url}{at}", json=fields or None, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def change(self, stream: str, *, update: int = 0, insert: int = 0) -> None:
        """Update and insert records."""
        self.tell("POST", "/_world/change", stream=stream, update=update, insert=insert)

    def fault(self, path: str, kind: str, **fields: Any) -> None:
        """Let something go wrong from now on."""
        self.tell("POST", "/_faults", path=path, kind=kind, **fields)

    def truth(self, stream: str) -> list[tuple[str, str]]:
        """Every key with its newest version, sorted."""
        told = self.tell("GET", f"/_truth?stream={stream}&full=1")["records"]
        return sorted((key, version) for key, version in told)

    def arrivals(self, path: str) -> list[tuple[float, int]]:
        """When requests for a path arrived (seconds) and how they were answered."""
        times = self.tell("GET", "/_requests")["times"]
        return [(at, status) for at, asked, status in times if asked == path]

    def calm(self) -> None:
        """No faults and limits, nothing counted, nothing changes."""
        for path in ("/_faults", "/_limits", "/_world/churn", "/_requests"):
            self.tell("DELETE", path)


@contextlib.contextmanager
def sandbox(
    *, seed: int = 7, customers: int = 60, orders: int = 40, events: int = 600
) -> Iterator[Sandbox]:
    """A sandbox of one's own until the block ends."""
    running = process.start(seed=seed, customers=customers, orders=orders, events=events)
    try:
        yield Sandbox(running.url)
    finally:
        process.stop(running.pid)


class Answer(NamedTuple):
    """What a small server of a test's own answers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@contextlib.contextmanager
def serve(answer: Callable[[str], Answer]) -> Iterator[str]:
    """Serve GET requests on loopback until the block ends; `answer` gets path and query."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: 40 ms with it

        def do_GET(self) -> None:
            given = answer(self.path)
            self.send_response_only(given.status)
            self.send_header("Content-Type", given.content_type)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
