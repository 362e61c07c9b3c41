"""A receiver as a process of its own, what providers send it, and what its queue has."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tap_saas.queues import open_queue
from tap_saas.queues.base import Event

PATIENCE_S = 20.0
SECRET, OLD = "s3cret-of-tests", "0ld-secret-of-tests"
NAME = "acme/main"
ACME = """
name: acme
settings:
  api_key: {secret: true, env: ACME_TEST_API_KEY}
  hook_secret: {secret: true, env: ACME_TEST_HOOK_SECRET}
  old_secret: {secret: true, required: false}
  lost_secret: {secret: true, env: ACME_TEST_LOST_SECRET}
  verify_token: {secret: true, default: meatyhamhock}
base_url: https://api.acme.example
auth: {type: bearer, token: "{api_key}"}
streams:
  orders:
    path: /orders
    primary_key: [id]
    version: at
    pagination: {type: single}
    schema:
      type: object
      properties: {id: {type: integer}, at: {type: string, format: date-time}}
webhooks:
  main:
    signature: {type: hmac, header: X-Signature, secrets: ["{hook_secret}", "{old_secret}"]}
    id: header:X-Event-Id
    max_body: 64KB
    handshake:
      - {when: $.type == url_verification, respond: {body: "{body.challenge}"}}
      - method: GET
        when: ["param:hub.mode == subscribe"]
        require: {type: token, at: "param:hub.verify_token", secrets: ["{verify_token}"]}
        respond: {body: "{query.hub.challenge}"}
      - method: GET
        when: param:crc_token
        require: {type: none}
        respond: {body: {response_token: "sha256={hmac_b64:query.crc_token}"}}
    routes: &routes [{stream: orders, record: $.data}]
  timed:
    id: header:X-Event-Id
    signature:
      type: hmac
      header: X-Signature
      secrets: ["{hook_secret}"]
      template: "{ts}.{body}"
      timestamp: {header: X-Timestamp}
    routes: *routes
  lost:
    signature: {type: hmac, header: X-Signature, secrets: ["{lost_secret}"]}
    routes: *routes
  token:
    id: $.id
    signature: {type: token, at: "param:token", secrets: ["{hook_secret}"]}
    routes: *routes
  open: {signature: {type: none}, routes: *routes}
"""
_SERVE = """
import sys, tap_saas.webhooks.receiver as receiver, tap_saas.webhooks.protocol as protocol
import tap_saas.queues.committer as committer
from datetime import timedelta
from tap_saas.queues.base import Limits
from tap_saas.process import guarded
from tap_saas.webhooks.serve import Options, serve
{more}
options = Options(port=0, queue={queue!r}, limits=Limits({limits}))
import os
sys.exit(guarded(lambda: serve([{connector!r}], {settings!r}, os.environ, options), "saasctl"))
"""


class Answered(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A running receiver and the folder that its queue and its log are in."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], queue: str) -> None:
        self.folder = folder
        self.process = process
        self.queue = queue
        self.address = self._listening()

    @property
    def told(self) -> str:
        """Its standard error until now."""
        return (self.folder / "told").read_text()

    def _listening(self) -> tuple[str, int]:
        until = time.monotonic() + PATIENCE_S
        while "receiving: url=" not in self.told:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < until, self.told
            time.sleep(0.02)
        url = self.told.partition("receiving: url=")[2].split()[0]
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def ask(
        self, path: str, body: bytes | None = None, method: str = "POST", **headers: str
    ) -> Answered:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answered(response.status, named, response.read())

    def send(
        self, event: Any, event_id: str | None = None, *, secret: str = SECRET, source: str = NAME
    ) -> Answered:
        """An event, signed."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        named = {} if event_id is None else {"X_Event_Id": event_id}
        return self.ask(f"/webhooks/{source}", body, X_Signature=signed(body, secret), **named)

    def socket(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def events(self, source: str = NAME) -> list[Event]:
        """What the queue has of a source."""
        with contextlib.closing(open_queue(self.queue, write=False)) as queue:
            found: list[Event] = []
            while more := queue.read(source, found[-1].offset if found else 0):
                found += more
            return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def signed(body: bytes, secret: str = SECRET) -> str:
    """The signature of a body, as the connector of these tests says."""
    return hmac.digest(secret.encode(), body, hashlib.sha256).hex()


@contextlib.contextmanager
def receiving(
    folder: Path,
    *,
    more: str = "",
    limits: str = "",
    connector: str = ACME,
    queue: str = "",
    **settings: str,
) -> Iterator[Receiver]:
    """A receiver for the block; `more` is code that runs before, to shorten what takes long.

    Its queue is `queue.db` in the folder unless another one is named.
    """
    folder.mkdir(exist_ok=True)
    queue = queue or str(folder / "queue.db")
    (folder / "acme.yaml").write_text(connector)
    script = _SERVE.format(
        more=more,
        queue=queue,
        limits=limits,
        connector=str(folder / "acme.yaml"),
        settings={**({"hook_secret": SECRET} if "hook_secret:" in connector else {}), **settings},
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ACME_")}
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen([sys.executable, "-c", script], stderr=told, env=clean)
    try:
        yield Receiver(folder, process, queue)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
