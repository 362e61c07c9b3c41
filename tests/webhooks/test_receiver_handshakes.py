"""What providers ask before they send, over HTTP: each has its answer, and nothing of it is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from receivers import ACME, SECRET, Receiver, receiving, signed

SOURCES = """
  zoom:
    signature: {type: hmac, header: X-Signature, secrets: ["{hook_secret}"]}
    handshake:
      when: $.event == endpoint.url_validation
      respond:
        body: {plainToken: "{body.payload.plainToken}",
               encryptedToken: "{hmac_hex:body.payload.plainToken}"}
    routes: *routes
  graph:
    signature: {type: token, at: "$.value[*].clientState", secrets: ["{hook_secret}"]}
    handshake:
      {when: param:validationToken, require: {type: none},
       respond: {body: "{query.validationToken}"}}
    routes: *routes
  cloud:
    signature: {type: token, at: "param:key", secrets: ["{hook_secret}"]}
    handshake:
      method: OPTIONS
      when: header:WebHook-Request-Origin
      require: {type: none}
      respond: {headers: {WebHook-Allowed-Origin: "{header.WebHook-Request-Origin}"}}
    routes: *routes
  discord:
    signature: {type: hmac, header: X-Signature, secrets: ["{hook_secret}"]}
    handshake: {when: $.type == 0, respond: {status: 204}}
    routes: *routes
  echo:
    signature: {type: hmac, header: X-Signature, secrets: ["{hook_secret}"]}
    handshake:
      - {method: GET, when: param:challenge, require: {type: none}, respond: {body: "{query.challenge}"}}
      - method: GET
        when: header:X-Okta-Verification-Challenge
        require: {type: none}
        respond: {body: {verification: "{header.X-Okta-Verification-Challenge}"}}
      - {when: $.challenge, require: {type: none}, respond: {body: {challenge: "{body.challenge}"}}}
    routes: *routes
"""
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("shaken"), connector=ACME + SOURCES) as running:
        yield running


def ask(receiver: Receiver, path: str, body: Any, method: str, secret: str, **headers: str) -> Any:
    sent = b"" if body is None else json.dumps(body).encode()
    named = {"X_Signature": signed(sent, secret), **headers}
    return receiver.ask(f"/webhooks/acme/{path}", sent, method, **named)


ZOOM = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6"}}
ENCRYPTED = hmac.digest(SECRET.encode(), b"qgg8vlvZRS6", hashlib.sha256).hex()
ORIGIN = {"WebHook_Request_Origin": "eventemitter.example.com"}


@pytest.mark.parametrize(
    ("path", "body", "method", "headers", "status", "kind", "said"),
    [
        ("zoom", ZOOM, "POST", {}, 200, JSON,
         {"plainToken": "qgg8vlvZRS6", "encryptedToken": ENCRYPTED}),
        ("graph?validationToken=%3Cscript%3Ealert(1)%3C/script%3E", None, "POST", {}, 200, TEXT, SCRIPT),
        ("cloud", None, "OPTIONS", ORIGIN, 200, None, ""),
        ("discord", {"type": 0}, "POST", {}, 204, None, ""),
        ("echo?challenge=%3Cb%3E", None, "GET", {}, 200, TEXT, "<b>"),
        ("echo", None, "GET", {"X_Okta_Verification_Challenge": "a1"}, 200, JSON,
         {"verification": "a1"}),
        ("echo", {"challenge": SCRIPT}, "POST", {}, 200, JSON, {"challenge": SCRIPT}),
    ],
)  # fmt: skip
def test_a_handshake_is_answered_as_its_provider_wants_and_not_kept(
    receiver: Receiver, path: str, body: Any, method: str, headers: dict[str, str],
    status: int, kind: str | None, said: Any,
) -> None:  # fmt: skip
    answered = ask(receiver, path, body, method, SECRET, **headers)
    assert (answered.status, answered.headers.get("content-type")) == (status, kind)
    assert "html" not in str(answered.headers)
    assert (json.loads(answered.body) if kind == JSON else answered.body.decode()) == said
    if path == "cloud":
        assert answered.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert receiver.events(f"acme/{path.partition('?')[0]}") == []


@pytest.mark.parametrize(("path", "body"), [("zoom", ZOOM), ("discord", {"type": 0})])
def test_a_probe_with_a_wrong_signature_is_refused(
    receiver: Receiver, path: str, body: Any
) -> None:
    """As Xero and Discord try it out; a challenge that nobody signed is neither answered nor kept."""
    assert ask(receiver, path, body, "POST", "guessed").status == 401
    assert receiver.events(f"acme/{path}") == []


@pytest.mark.parametrize("body", [{"type": "ping"}, {"zen": "x", "hook_id": 1}])
def test_a_ping_that_is_an_event_like_any_other_is_taken(receiver: Receiver, body: Any) -> None:
    """GitHub's and Intercom's: any 2xx will do."""
    before = len(receiver.events("acme/main"))
    assert receiver.send(body).status == 200
    assert len(receiver.events("acme/main")) == before + 1
