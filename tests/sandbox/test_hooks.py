"""Webhooks: subscribed, signed, sent until they are accepted, and as badly as asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from tap_saas.sandbox.sender import Sender
from tap_saas.sandbox.subscriptions import Subscriptions

from .conftest import BEARER, Api, orders_alone


class Got(NamedTuple):
    """A request that came to the receiver."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


class Receiver:
    """What came, and what is answered: the status that `answer` gives for the nth request."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[int], int] = lambda n: 200
        self.url = ""

    def seqs(self) -> list[int]:
        return [got.event["seq"] for got in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.got.append(Got(headers, body))
            self.send_response_only(told.answer(len(told.got)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/hooks?from=sandbox"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def subscribe(api: Api, url: str, **members: Any) -> dict[str, Any]:
    answer = api.session.post(
        f"{api.url}/webhooks", json={"url": url, **members}, headers=BEARER, timeout=5
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def settled(api: Api) -> dict[str, Any]:
    """What was sent, once nothing waits."""
    until = time.monotonic() + 10
    while (shown := api.read("/_webhooks"))["waiting"]:
        assert time.monotonic() < until, shown
        time.sleep(0.01)
    told: dict[str, Any] = shown
    return told


def test_events_are_sent_in_order_as_the_log_has_them(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url)
    api.post("/_world/change", stream="orders", update=20, delete=1)
    shown = settled(api)
    assert [got.event for got in receiver.got] == api.read("/log")["data"]
    assert shown["counts"] == {"accepted": 21, "events": 21, "status 200": 21}
    assert {one["end"] for one in shown["deliveries"]} == {"accepted"}


def test_standard_signature(api: Api, receiver: Receiver) -> None:
    made = subscribe(api, receiver.url)
    api.post("/_world/change", stream="orders", update=1)
    settled(api)
    ((headers, body),) = receiver.got
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    assert headers["webhook-id"] == json.loads(body)["id"]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


def test_stamped_signature(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url, signature="stamped", secret="a secret")
    api.post("/_world/change", stream="orders", update=1)
    settled(api)
    ((headers, body),) = receiver.got
    stamp, _, digest = headers["sandbox-signature"].partition(",v1=")
    content = stamp.removeprefix("t=").encode() + b"." + body
    assert digest == hmac.new(b"a secret", content, hashlib.sha256).hexdigest()


def test_only_the_types_that_are_wanted(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url, types=["order.d*", "customer.created"])
    api.post("/_world/change", stream="orders", update=3, delete=2)
    api.post("/_world/change", stream="customers", update=3, insert=1)
    settled(api)
    types = Counter(got.event["type"] for got in receiver.got)
    assert types == {"order.deleted": 2, "customer.created": 1}


def test_sent_again_until_it_is_accepted(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda n: 503 if n <= 3 else 200
    subscribe(api, receiver.url)
    api.post("/_webhooks", retry_ms=5)
    api.post("/_world/change", stream="orders", update=1)
    (delivery,) = settled(api)["deliveries"]
    assert delivery["statuses"] == [503, 503, 503, 200]
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


def test_given_up_after_the_last_attempt(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda n: 401
    subscribe(api, receiver.url)
    subscribe(api, "http://127.0.0.1:9/nobody")
    api.post("/_webhooks", retry_ms=1, attempts=2)
    api.post("/_world/change", stream="orders", update=1)
    deliveries = settled(api)["deliveries"]
    assert [(one["statuses"], one["end"]) for one in deliveries] == [
        ([401, 401], "refused"),
        ([0, 0], "unanswered"),
    ]


def test_doubled_lost_and_forged(api: Api, receiver: Receiver) -> None:
    receiver.answer = lambda n: 401 if b"forged" in receiver.got[-1].body else 200
    subscribe(api, receiver.url)
    api.post("/_webhooks", double_every=3, lose_every=4, forge_every=5)
    api.post("/_world/change", stream="orders", update=12)
    shown = settled(api)
    good = Counter(got.event["seq"] for got in receiver.got if "forged" not in got.event)
    assert good == {n: 2 if n in {3, 6, 9} else 1 for n in range(1, 13) if n % 4}
    forged = [got for got in receiver.got if "forged" in got.event]
    assert [got.event["seq"] for got in forged] == [5, 10]
    counts = shown["counts"]
    assert (counts["lost"], counts["doubled"], counts["forged"]) == (3, 3, 2)
    assert [one["event"] for one in shown["deliveries"] if one["end"] == "lost"] == [
        "ev_0000004",
        "ev_0000008",
        "ev_0000012",
    ]


def test_out_of_order_and_late(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url)
    api.post("/_webhooks", disorder_ms=150, delay_ms=50)
    begun = time.monotonic()
    api.post("/_world/change", stream="orders", update=20)
    settled(api)
    assert time.monotonic() - begun > 0.05
    seqs = receiver.seqs()
    assert seqs != sorted(seqs)
    assert sorted(seqs) == list(range(1, 21))


def test_held_events_are_sent_when_they_are_seen(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url)
    api.post("/_world/hold", n=1)
    api.post("/_world/change", stream="orders", update=3)
    settled(api)
    assert receiver.seqs() == [2, 3]
    api.post("/_world/release")
    settled(api)
    assert receiver.seqs() == [2, 3, 1]


def test_subscriptions_are_renewed_and_expire() -> None:
    now = 1_790_000_000.0
    known = Subscriptions(clock_s=lambda: now)
    made = known.make("http://127.0.0.1:1/", [], "standard", None, 60)
    now += 59
    known.renew(made.id, 60)
    now += 59
    assert known.find(made.id) is not None
    now += 1
    assert known.all() == []
    assert known.find(made.id) is None


def test_subscription_over_http(api: Api, receiver: Receiver) -> None:
    made = subscribe(api, receiver.url, expires_in_s=60)
    path = f"/webhooks/{made['id']}"
    assert api.read("/webhooks")["data"] == [{k: v for k, v in made.items() if k != "secret"}]
    renewed = api.session.post(f"{api.url}{path}/renew", headers=BEARER, timeout=5).json()
    assert renewed["expires_at"] > made["expires_at"]
    assert api.session.delete(f"{api.url}{path}", headers=BEARER, timeout=5).status_code == 204
    assert api.get(path).status_code == 404
    assert api.get("/webhooks", key=False).status_code == 401
    api.post("/_world/change", stream="orders", update=1)
    assert settled(api)["deliveries"] == []


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"url": "http://example.com/"},
        {"url": "https://127.0.0.1/"},
        {"url": "http://127.0.0.1:1/", "secret": "whsec_no base64"},
        {"url": "http://127.0.0.1:1/", "types": "order.*"},
        {"url": "http://127.0.0.1:1/", "signature": "none"},
    ],
)
def test_wrong_subscriptions_are_refused(api: Api, members: dict[str, Any]) -> None:
    answer = api.session.post(f"{api.url}/webhooks", json=members, headers=BEARER, timeout=5)
    assert answer.status_code == 400


def test_reset_drops_what_waits(api: Api, receiver: Receiver) -> None:
    subscribe(api, receiver.url)
    api.post("/_webhooks", delay_ms=60_000)
    api.post("/_world/change", stream="orders", update=2)
    assert api.read("/_webhooks")["waiting"] == 2
    api.delete("/_webhooks")
    assert settled(api)["deliveries"] == []
    api.post("/_world/change", stream="orders", update=1)
    settled(api)
    assert receiver.seqs() == [3]


def test_a_sender_that_is_stopped_sends_nothing(receiver: Receiver) -> None:
    known = Subscriptions()
    known.make(receiver.url, [], "standard", None, None)
    sender, world = Sender(known), orders_alone(5)
    world.log.watch = sender.offer
    sender.stop()
    world.change("orders", update=1)
    time.sleep(0.05)
    assert sender.show(deliveries=False)["waiting"] == 1
    assert receiver.got == []
