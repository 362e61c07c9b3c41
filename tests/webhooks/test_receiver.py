"""What a receiver answers, and what is in its queue then."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from receivers import NAME, OLD, SECRET, Receiver, receiving, signed

PATH = f"/webhooks/{NAME}"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver"), old_secret=OLD) as running:
        yield running


def kept(receiver: Receiver, text: str, source: str = NAME) -> int:
    """How many events of the queue have this text in their body."""
    return sum(text.encode() in event.body for event in receiver.events(source))


def test_a_genuine_event_is_in_the_queue_before_its_answer(receiver: Receiver) -> None:
    body = b'{"type":"order.changed","data":{"id":1,"at":"whole"}}'
    answered = receiver.ask(
        f"{PATH}?a=1&b=%20", body, X_Signature=signed(body), X_Event_Id="e-1", X_More="y"
    )
    assert (answered.status, answered.body) == (200, b"")
    event = next(one for one in receiver.events() if one.event_id == "e-1")
    assert (event.source, event.method) == (NAME, "POST")
    assert (event.path, event.query) == (PATH, "a=1&b=%20")
    assert event.body == body
    assert event.headers["x-more"] == "y"
    assert abs(time.time() - event.received_at.timestamp()) < 60


def test_a_body_that_is_no_text_is_kept_byte_by_byte(receiver: Receiver) -> None:
    body = bytes(range(256))
    assert receiver.send(body, "binary").status == 200
    assert [one.body for one in receiver.events() if one.event_id == "binary"] == [body]


@pytest.mark.parametrize("secret", [SECRET, OLD])
def test_rotation_takes_both_secrets(receiver: Receiver, secret: str) -> None:
    assert receiver.send({"rotated": secret}, f"by {secret}", secret=secret).status == 200


def test_a_forged_event_is_refused_and_not_kept(receiver: Receiver) -> None:
    forged = receiver.send({"forged": 1}, "forged", secret="guessed")
    bare = receiver.ask(PATH, b'{"forged": 2}', X_Event_Id="bare")
    assert [forged.status, bare.status] == [401, 401]
    assert kept(receiver, "forged") == 0
    assert b"X-Signature" not in bare.body + forged.body


def test_a_stale_event_is_refused_and_not_kept(receiver: Receiver) -> None:
    for age, status in ((0, 200), (299, 200), (302, 401), (-302, 401), (-299, 200)):
        at, body = str(int(time.time()) - age), json.dumps({"age": age}).encode()
        answered = receiver.ask(
            "/webhooks/acme/timed",
            body,
            X_Signature=signed(at.encode() + b"." + body),
            X_Timestamp=at,
            X_Event_Id=f"aged {age}",
        )
        assert answered.status == status, age
    found = [json.loads(event.body)["age"] for event in receiver.events("acme/timed")]
    assert found == [0, 299, -299]


@pytest.mark.parametrize("n", [1, 2])
def test_a_duplicate_is_welcome_and_kept_once(receiver: Receiver, n: int) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: receiver.send({"twice": n}, f"twice {n}"), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert kept(receiver, f'"twice": {n}') == 1


def test_the_same_body_under_another_id_is_another_event(receiver: Receiver) -> None:
    """The id is a header that nobody signs: what it says saves work, and decides nothing."""
    for event_id in ("told", "another", "told"):
        assert receiver.send({"resent": 1}, event_id).status == 200
    assert kept(receiver, '"resent"') == 2


def test_without_an_id_an_equal_event_at_another_time_is_another(receiver: Receiver) -> None:
    now, body = int(time.time()), b'{"idless":1}'
    for at in (now, now, now - 1):
        text = str(at)
        signature = signed(text.encode() + b"." + body)
        sent = {"X_Timestamp": text, "X_Signature": signature}
        assert receiver.ask("/webhooks/acme/timed", body, **sent).status == 200
    assert kept(receiver, "idless", "acme/timed") == 2
    for _ in range(2):
        assert receiver.ask("/webhooks/acme/open", b'{"idless":1}').status == 200
    assert kept(receiver, "idless", "acme/open") == 2


def test_a_secret_that_the_request_bears_is_not_kept(receiver: Receiver) -> None:
    path = f"/webhooks/acme/token?a=1&token={SECRET}&b=2"
    assert receiver.ask(path, b'{"id": 7}', Authorization="Bearer x", Cookie="y").status == 200
    (event,) = receiver.events("acme/token")
    assert (event.query, event.event_id) == ("a=1&b=2", "7")
    assert not {"authorization", "cookie"} & event.headers.keys()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/acme/none", 404),
        ("POST", "/webhooks/other/main", 404),
        ("POST", "/webhooks/acme", 404),
        ("POST", "/", 404),
        ("POST", "//webhooks/acme/main", 404),
        ("GET", PATH, 401),
        ("PUT", PATH, 405),
        ("DELETE", PATH, 405),
        ("GET", "/webhooks/acme/token", 405),
        ("HEAD", "/webhooks/acme/token", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_other_addresses_and_methods(
    receiver: Receiver, method: str, path: str, status: int
) -> None:
    answered = receiver.ask(path, method=method)
    assert answered.status == status
    if status == 405 and path == PATH:
        assert answered.headers["allow"] == "POST, GET"


def test_a_source_without_its_secret_asks_to_come_again(receiver: Receiver) -> None:
    answered = receiver.send({"a": 1}, "lost", source="acme/lost")
    assert (answered.status, answered.headers["retry-after"]) == (503, "30")
    assert "source=acme/lost why=the setting lost_secret has no value" in receiver.told
    assert b"lost_secret" not in answered.body


def test_a_handshake_is_answered_and_not_kept(receiver: Receiver) -> None:
    asked = {"type": "url_verification", "challenge": "<b>"}
    answered = receiver.send(asked, "shake")
    assert (answered.status, answered.body) == (200, b"<b>")
    assert answered.headers["content-type"].startswith("text/plain")
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert receiver.send(asked, "shake", secret="guessed").status == 401
    assert kept(receiver, "url_verification") == 0


def test_a_handshake_by_get(receiver: Receiver) -> None:
    path = f"{PATH}?hub.mode=subscribe&hub.challenge=158&hub.verify_token="
    good = receiver.ask(f"{path}meatyhamhock", method="GET")
    assert (good.status, good.body) == (200, b"158")
    assert receiver.ask(f"{path}other", method="GET").status == 401
    assert receiver.ask(f"{PATH}?hub.mode=subscribe", method="GET").status == 401


def test_a_handshake_that_asks_for_a_signature(receiver: Receiver) -> None:
    answered = receiver.ask(f"{PATH}?crc_token=abc", method="GET")
    expected = b64encode(bytes.fromhex(signed(b"abc"))).decode()
    assert json.loads(answered.body) == {"response_token": f"sha256={expected}"}
    assert receiver.ask(f"{PATH}?crc_token=%7B%7D", method="GET").status == 400


def test_health_and_metrics(receiver: Receiver) -> None:
    assert receiver.ask("/healthz", method="GET").body == b"ok\n"
    assert receiver.ask("/readyz", method="GET").body == b"ready\n"
    receiver.send({"counted": 1}, "counted")
    answered = receiver.ask("/metrics", method="GET")
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answered.body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    label = f'source="{NAME}"'
    prefix = "tap_saas_webhook"
    assert float(values[f'{prefix}_events_total{{{label},outcome="stored"}}']) >= 1
    assert float(values[f'{prefix}_requests_total{{{label},status="200"}}']) >= 1
    assert values[f"{prefix}_ready"] == "1"
    assert float(values[f"{prefix}_queue_events{{{label}}}"]) >= 1
    assert float(values[f'{prefix}_queue_acknowledged_offset{{{label},consumer="main"}}']) == 0
    count = float(values[f"{prefix}_answer_seconds_count"])
    assert float(values[f'{prefix}_answer_seconds_bucket{{le="+Inf"}}']) == count


def test_the_access_log_has_a_line_a_request_and_no_secret(receiver: Receiver) -> None:
    receiver.ask(f"/webhooks/acme/token?token={SECRET}", b'{"id": 99}')
    receiver.ask(f"/{SECRET}/nowhere%0a", method="GET")
    until = time.monotonic() + 5
    while "/nowhere%0a 404" not in receiver.told and time.monotonic() < until:
        time.sleep(0.02)
    line = r"^\S+Z POST /webhooks/acme/token 200 stored 10B \d+\.\dms 127\.0\.0\.1$"
    assert re.search(line, receiver.told, re.MULTILINE), receiver.told
    assert SECRET not in receiver.told


def test_nothing_of_the_sdk_is_in_a_receiver(tmp_path: Path) -> None:
    said = """
import atexit
atexit.register(lambda: sys.stderr.write(f"SDK loaded: {'singer_sdk' in sys.modules}"))
"""
    with receiving(tmp_path / "r", more=said) as running:
        assert running.send({"a": 1}, "x").status == 200
        assert running.stop() == 0
        assert "SDK loaded: False" in running.told
