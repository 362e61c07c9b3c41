"""An API whose subscriptions bring their secret: it calls back while the create call is open."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

KEY = "key-of-the-hook-api"
BRINGS = """
name: acme
settings:
  url: {}
  key: {secret: true}
  hook_secret: {secret: true, required: false}
base_url: "{url}"
auth: {type: bearer, token: "{key}"}
retry: {attempts: 1}
streams:
  tasks:
    path: /tasks
    primary_key: [gid]
    version: at
    pagination: {type: single}
    schema:
      type: object
      properties: {gid: {type: string}, at: {type: string, format: date-time}}
webhooks:
  main:
    signature: {type: hmac, header: X-Hook-Signature, secrets: ["{hook_secret}"]}
    handshake:
      when: header:X-Hook-Secret
      require: {type: none}
      respond: {headers: {X-Hook-Secret: "{header.X-Hook-Secret}"}}
      store: {take: header:X-Hook-Secret, setting: hook_secret}
    routes: &routes [{stream: tasks, record: $.task}]
    subscribe:
      create: {path: /webhooks, method: POST, body: {json: {target: "{callback}"}}}
      id: $.data.gid
      delete: {path: "/webhooks/{id}", method: DELETE}
  pasted:
    signature:
      type: hmac
      header: X-Its-Signature
      pair: "="
      accept: [sha256]
      secrets: ["{hook_secret}"]
    handshake:
      when: $.verification_token
      require: {type: none}
      store: {take: $.verification_token, setting: hook_secret}
    routes: *routes
"""


class HookApi:
    """What it knows; `before` runs with the target of each handshake before that is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.targets: dict[str, str] = {}
        self.secrets: list[str] = []
        self.shakes = True
        self.made = 0
        self.before: Callable[[str], None] = lambda target: None

    def create(self, target: str) -> tuple[int, object]:
        """The answer to a create call: the target must have given the secret back."""
        if self.shakes:
            self.before(target)
            secret = secrets.token_hex(32)
            self.secrets.append(secret)
            headers = {"X-Hook-Secret": secret}
            answer = requests.post(target, headers=headers, json={}, timeout=20)
            is_right = answer.status_code in (200, 204)
            if not is_right or answer.headers.get("X-Hook-Secret") != secret:
                return 400, {"errors": [{"message": "the target did not shake hands"}]}
        self.made += 1
        gid = str(self.made)
        self.targets[gid] = target
        return 201, {"data": {"gid": gid, "target": target}}

    def delete(self, gid: str) -> tuple[int, object]:
        """The answer to a delete call."""
        return (200, {"data": {}}) if self.targets.pop(gid, None) else (404, {"errors": []})


def send(target: str, secret: str, event: object, header: str = "X-Hook-Signature") -> int:
    """The receiver's status for an event that is signed with this secret."""
    body = json.dumps(event).encode()
    signature = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    told = signature if header == "X-Hook-Signature" else f"sha256={signature}"
    return requests.post(target, data=body, headers={header: told}, timeout=20).status_code


@contextlib.contextmanager
def hook_api() -> Iterator[HookApi]:
    """Serve it from threads until the block ends."""
    api = HookApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.say(*api.create(sent["target"]))

        def do_DELETE(self) -> None:
            self.say(*api.delete(self.path.rpartition("/")[2]))

        def say(self, status: int, answer: object) -> None:
            body = json.dumps(answer).encode()
            if self.headers["Authorization"] != f"Bearer {KEY}":
                status, body = 401, b"{}"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
