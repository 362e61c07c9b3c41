"""Handshakes: what providers ask before they send, and what is never answered."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.decoding import decode
from tap_saas.connector.handshake import Answer, Handshake, first_fit
from tap_saas.connector.incoming import SignedRequest

SECRET = b"consumer-secret"
HANDSHAKES: dict[str, dict[str, Any]] = {
    "slack": {"when": "$.type == url_verification", "respond": {"body": "{body.challenge}"}},
    "meta": {
        "method": "GET",
        "when": ["param:hub.mode == subscribe", "param:hub.challenge"],
        "require": {"type": "token", "at": "param:hub.verify_token", "secrets": ["{verify}"]},
        "respond": {"body": "{query.hub.challenge}"},
    },
    "x": {
        "method": "GET",
        "when": "param:crc_token",
        "require": {"type": "none"},
        "respond": {"body": {"response_token": "sha256={hmac_b64:query.crc_token}"}},
    },
    "zoom": {
        "when": "$.event == endpoint.url_validation",
        "respond": {
            "body": {
                "plainToken": "{body.payload.plainToken}",
                "encryptedToken": "{hmac_hex:body.payload.plainToken}",
            }
        },
    },
    "ms_graph": {
        "when": "param:validationToken",
        "require": {"type": "none"},
        "respond": {"body": "{query.validationToken}"},
    },
    "cloud_events": {
        "method": "OPTIONS",
        "when": "header:WebHook-Request-Origin",
        "require": {"type": "none"},
        "respond": {"headers": {"WebHook-Allowed-Origin": "{header.WebHook-Request-Origin}"}},
    },
    "asana": {
        "when": "header:X-Hook-Secret",
        "require": {"type": "token", "at": "param:key", "secrets": ["{key}"]},
        "respond": {"status": 204, "headers": {"X-Hook-Secret": "{header.X-Hook-Secret}"}},
    },
    "discord": {"when": "$.type == 0", "respond": {"status": 204}},
}


def handshake(form: dict[str, Any]) -> Handshake:
    return msgspec.convert(form, Handshake, dec_hook=decode)


def request(
    method: str = "POST", query: str = "", body: Any = None, **headers: str
) -> SignedRequest:
    return SignedRequest(
        method=method,
        url=f"/webhooks/a/b?{query}",
        headers={name.replace("_", "-").lower(): value for name, value in headers.items()},
        body=b"" if body is None else json.dumps(body).encode(),
    )


def answered(provider: str, asked: SignedRequest) -> Answer | None:
    made = handshake(HANDSHAKES[provider])
    assert made.fits(asked)
    return made.answer(asked, SECRET)


def digest(text: str) -> bytes:
    return hmac.digest(SECRET, text.encode(), hashlib.sha256)


def text(body: str) -> Answer:
    return Answer(status=200, content_type="text/plain; charset=utf-8", body=body.encode())


def test_a_challenge_in_the_body_comes_back_as_text() -> None:
    asked = request(body={"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"})
    assert answered("slack", asked) == text("3eZbrw1aB")


def test_a_challenge_in_the_query_comes_back_as_text() -> None:
    asked = request("GET", "hub.mode=subscribe&hub.challenge=115%20&hub.verify_token=meatyhamhock")
    assert answered("meta", asked) == text("115 ")


def test_a_token_is_signed_with_the_secret() -> None:
    answer = answered("x", request("GET", "crc_token=NzRmZGI2==&nonce=1"))
    assert answer is not None
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {
        "response_token": "sha256=" + b64encode(digest("NzRmZGI2==")).decode()
    }


def test_a_token_comes_back_beside_its_signature() -> None:
    asked = {
        "event": "endpoint.url_validation",
        "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"},
    }
    answer = answered("zoom", request(body=asked))
    assert answer is not None
    assert json.loads(answer.body) == {
        "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
        "encryptedToken": digest("qgg8vlvZRS6UYooatFL8Aw").hex(),
    }


def test_what_is_echoed_is_never_html() -> None:
    asked = request(query="validationToken=%3Cscript%3Ealert(1)%3C/script%3E")
    assert answered("ms_graph", asked) == text("<script>alert(1)</script>")


def test_headers_come_back() -> None:
    origin = request("OPTIONS", WebHook_Request_Origin="eventemitter.example.com")
    assert answered("cloud_events", origin) == Answer(
        status=200, headers={"WebHook-Allowed-Origin": "eventemitter.example.com"}
    )
    asked = request(X_Hook_Secret="b537207f20cbfa02357cf448134da559")
    assert answered("asana", asked) == Answer(
        status=204, headers={"X-Hook-Secret": "b537207f20cbfa02357cf448134da559"}
    )


@pytest.mark.parametrize(
    "asked",
    [
        request(body={"type": "message", "challenge": "x"}),
        request("GET", body={"type": "url_verification"}),
        request(),
        msgspec.structs.replace(request(), body=b"\xff{"),
        msgspec.structs.replace(request(), body=b"[" * 100_000),
    ],
)
def test_events_are_no_handshakes(asked: SignedRequest) -> None:
    assert not handshake(HANDSHAKES["slack"]).fits(asked)


def test_the_first_that_fits_is_meant() -> None:
    made = [handshake(HANDSHAKES[name]) for name in ("slack", "discord", "ms_graph")]
    assert first_fit(made, request(body={"type": 0})) is made[1]
    assert first_fit(made, request(body={"type": 1})) is None


@pytest.mark.parametrize(
    "token", ['{"id":1}', "a=1&b=2", "", "x" * 257, "v0:1:2", "a b", "é", "[1]", '"a"', "a\n"]
)
def test_nothing_is_signed_for_a_stranger_that_could_be_an_event(token: str) -> None:
    from urllib.parse import quote

    made = handshake({**HANDSHAKES["x"], "when": "param:n"})
    assert made.answer(request("GET", f"n=1&crc_token={quote(token)}"), SECRET) is None


@pytest.mark.parametrize(
    ("provider", "asked"),
    [
        ("slack", request(body={"type": "url_verification"})),
        ("slack", request(body={"type": "url_verification", "challenge": None})),
        ("slack", request(body={"type": "url_verification", "challenge": {"a": 1}})),
        ("zoom", request(body={"event": "endpoint.url_validation"})),
        ("asana", request(X_Hook_Secret="a\r\nSet-Cookie: b")),
        ("asana", request(X_Hook_Secret="é")),
    ],
)
def test_what_cannot_come_back_is_not_answered(provider: str, asked: SignedRequest) -> None:
    assert answered(provider, asked) is None


def test_without_a_secret_nothing_is_signed() -> None:
    made = handshake(HANDSHAKES["x"])
    assert made.needs_secret
    assert made.answer(request("GET", "crc_token=abc"), None) is None
    assert not handshake(HANDSHAKES["meta"]).needs_secret


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("b537207f20cbfa02357cf448134da559", True),
        ("secret_of-the-subscription-1", True),
        ("1234567", False),
        ("x" * 1000, True),
        ("x" * 1001, False),
        ("two words of it", False),
        ("a-secret, another", False),
        ("schlüssel-der-tür", False),
        ("a-secret\n", False),
        (None, False),
        (12345678, False),
        (["a-long-secret"], False),
        ({"a": "b"}, False),
    ],
)
def test_a_secret_is_found_where_it_is_one(text: Any, is_one: bool) -> None:
    made = handshake({"when": "$.token", "store": {"take": "$.token", "setting": "hook_secret"}})
    assert made.store is not None
    assert made.store.find(request(body={"token": text})) == (text if is_one else None)
    assert made.store.find(request()) is None


@given(st.text(max_size=40))
def test_any_text_of_a_body_comes_back_whole_or_not_at_all(challenge: str) -> None:
    answer = answered("slack", request(body={"type": "url_verification", "challenge": challenge}))
    assert answer is not None
    assert answer.body == challenge.encode("utf-8", "replace")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"when": "status == 200"}, "cannot be used here"),
        ({"when": "$.a", "respond": {"body": "{a}"}}, "unknown placeholder"),
        ({"when": "$.a", "respond": {"body": "{query.}"}}, "unknown placeholder"),
        ({"when": "$.a", "respond": {"body": "{md5:query.a}"}}, "unknown placeholder"),
        ({"when": "$.a", "respond": {"body": {"a": "{"}}}, "lone {"),
        ({"when": "$.a", "respond": {"body": ["{query.a}"]}}, "not a list"),
        ({"when": "$.a", "respond": {"status": 302}}, "<= 299"),
        ({"when": "$.a", "stores": "secret"}, "unknown field"),
        ({"when": "$.a", "store": "secret"}, "got `str`"),
        ({"when": "$.a", "store": {"take": "header:A"}}, "missing required field `setting`"),
        ({"when": "$.a", "store": {"take": "status", "setting": "a"}}, "cannot be used here"),
        ({"respond": {}}, "missing required field `when`"),
    ],
)
def test_descriptions_that_mean_nothing_are_refused(form: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        handshake(form)
