"""A receiver's life: it starts, is killed, is told to end, and has no room."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest
from load import CLIENTS, Load
from receivers import ACME, NAME, SECRET, Receiver, receiving, signed

from tap_saas.cli import cli
from tap_saas.process import guarded


@pytest.mark.parametrize("count", [40, 400])
def test_every_answer_of_a_killed_receiver_was_true(tmp_path: Path, count: int) -> None:
    with receiving(tmp_path) as running, Load(running) as load:
        load.wait(count)
        running.stop(signal.SIGKILL)
    stored = [event.event_id for event in running.events()]
    assert len(set(stored)) == len(stored)
    assert set(load.accepted) <= set(stored)
    assert len(stored) - len(load.accepted) <= CLIENTS
    with receiving(tmp_path) as again:  # the provider comes again with all of them
        for event_id in [*load.sent, "new"]:
            assert again.send({"again": 1}, event_id).status == 200
        found = [event.event_id for event in again.events()]
    assert sorted(map(str, found)) == sorted([*load.sent, "new"])


def test_the_end_is_orderly_under_load(tmp_path: Path) -> None:
    with receiving(tmp_path) as running, Load(running) as load:
        load.wait(200)
        assert running.stop(signal.SIGTERM) == 0
        assert not (tmp_path / "queue.db-wal").exists(), "the journal is in the file"
    stored = {event.event_id for event in running.events()}
    assert set(load.accepted) == stored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered_before_the_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    body = b'{"in flight": 1}'
    with receiving(tmp_path) as running, running.socket() as connection:
        head = f"POST /webhooks/{NAME} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed(body)}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        running.ask("/healthz", method="GET")
        running.process.send_signal(number)
        until = time.monotonic() + 10
        while _accepts(running):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert running.process.poll() is None
        connection.sendall(body[5:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert running.stop() == 0
    assert [event.body for event in running.events()] == [body]


def _accepts(running: Receiver) -> bool:
    try:
        running.socket().close()
    except ConnectionRefusedError:
        return False
    return True


def test_with_a_full_disk_senders_are_asked_to_come_again(tmp_path: Path) -> None:
    with receiving(tmp_path, limits="min_free_bytes=10**18") as running:
        answered = running.send({"a": 1}, "full")
        assert (answered.status, answered.headers["retry-after"]) == (503, "30")
        assert running.send({"a": 1}, "full", secret="guessed").status == 401
        asked = {"type": "url_verification", "challenge": "abc"}
        assert running.send(asked).body == b"abc"
        assert running.ask("/readyz", method="GET").status == 503
        assert running.told.count("events are answered with 503") == 1
        assert running.ask("/healthz", method="GET").status == 200
        assert b"\ntap_saas_webhook_ready 0\n" in running.ask("/metrics", method="GET").body
        assert running.events() == []


def test_no_answer_is_good_once_the_queue_is_full(tmp_path: Path) -> None:
    with receiving(tmp_path, limits="max_events=100") as running, Load(running) as load:
        until = time.monotonic() + 20
        while load.refused < 50 and time.monotonic() < until:
            time.sleep(0.01)
        refused = running.send({"a": 1}, "one more")
    assert refused.status == 503
    assert len(load.accepted) >= 100
    assert set(load.accepted) <= {event.event_id for event in running.events()}


def test_a_slow_commit_is_no_good_answer_and_no_lost_event(tmp_path: Path) -> None:
    more = "receiver.COMMIT_S = 1.0\ncommitter.SLOW_S = 1.0"
    with receiving(tmp_path, more=more) as running:
        assert running.send({"n": 0}, "before").status == 200
        blocker = apsw.Connection(str(tmp_path / "queue.db"))
        blocker.set_busy_timeout(5_000)
        blocker.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            slow = list(threads.map(lambda n: running.send({"n": n}, f"slow {n}"), range(4)))
        assert [one.status for one in slow] == [503] * 4
        assert time.monotonic() - began < 4
        at_once = running.send({"n": 9}, "refused at once")
        assert at_once.status == 503
        blocker.execute("ROLLBACK")
        blocker.close()
        until = time.monotonic() + 10
        while running.send({"n": 1}, "slow 1").status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        found = [event.event_id for event in running.events()]
    assert len(found) == len(set(found))
    assert {"before", "slow 1"} <= set(found)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Saasctl = Callable[..., Done]


@pytest.fixture
def saasctl(capsys: pytest.CaptureFixture[str]) -> Saasctl:
    """`saasctl webhooks ...` in this process; only for commands that end by themselves."""

    def run(*given: str) -> Done:
        capsys.readouterr()
        code = guarded(lambda: cli(["webhooks", *given], standalone_mode=False), "saasctl")
        return Done(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("given", "code", "line"),
    [
        (["--host", "256.0.0.1"], 2, "--host 256.0.0.1"),
        (["--tls-cert", "nowhere.pem"], 2, "the certificate nowhere.pem cannot be used"),
        (["--tls-key", "nowhere.pem"], 2, "--tls-key without --tls-cert"),
        (["--set", "nobody=1"], 2, "no connector has the setting nobody"),
        (["--keep", "1"], 2, "--keep '1' is not a duration"),
        (["--public-url", "example.com"], 2, "is no URL"),
        (["--queue", "redis://x"], 2, "a queue cannot be kept at redis://"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    tmp_path: Path, saasctl: Saasctl, given: list[str], code: int, line: str
) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)
    queue = [] if "--queue" in given else ["--queue", str(tmp_path / "queue.db")]
    done = saasctl("serve", str(tmp_path / "acme.yaml"), "--port", "0", *queue, *given)
    assert done.code == code, done.err
    assert line in done.err
    assert "Traceback" not in done.err


def test_a_port_that_is_taken_is_told(tmp_path: Path, saasctl: Saasctl) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = saasctl("serve", str(tmp_path / "acme.yaml"), "--port", port)
    assert done.code == 2
    assert "give another --port" in done.err


def test_https(tmp_path: Path) -> None:
    pem = Path(__file__).parents[1] / "client" / "loopback.pem"
    more = f"Options = __import__('functools').partial(Options, tls_cert={str(pem)!r})"
    with receiving(tmp_path, more=more) as running:
        trusting = ssl.create_default_context(cafile=str(pem))
        connection = http.client.HTTPSConnection(*running.address, context=trusting, timeout=10)
        body = b'{"safe": 1}'
        connection.request("POST", f"/webhooks/{NAME}", body, {"X-Signature": signed(body)})
        assert connection.getresponse().status == 200
        connection.close()
        assert "url=https://127.0.0.1" in running.told


def test_send_signs_and_posts(
    tmp_path: Path, saasctl: Saasctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_TEST_HOOK_SECRET", SECRET)
    (tmp_path / "event.json").write_text('{"from": "file"}')
    with receiving(tmp_path) as running:
        url = "http://{}:{}".format(*running.address)
        file = str(tmp_path / "acme.yaml")
        done = saasctl("send", file, "main", '{"a": 1}', str(tmp_path / "event.json"), "--url", url)
        assert (done.code, done.out) == (0, "200\n200\n"), done.err
        done = saasctl("send", file, "token", '{"id": 3}', "--url", url)
        assert done.code == 0, done.err
        done = saasctl("send", file, "timed", '{"id": 4}', "--url", url, "--header", "X-A: b")
        assert done.code == 0, done.err
        monkeypatch.setenv("ACME_TEST_HOOK_SECRET", "guessed")
        done = saasctl("send", file, "main", '{"a": 2}', "--url", url)
        assert done.code == 5
        assert done.out.startswith("401 ")
        assert [event.body for event in running.events()] == [b'{"a": 1}', b'{"from": "file"}']
        assert len({event.event_id for event in running.events()}) == 2
        assert running.events("acme/timed")[0].headers["x-a"] == "b"


@pytest.mark.parametrize(
    ("source", "body", "code", "line"),
    [
        ("none", "{}", 2, "no webhook source"),
        ("lost", "{}", 2, "the setting lost_secret has no value"),
        ("main", "nowhere.json", 2, "nowhere.json cannot be read"),
        ("main", "{}", 5, "no answer from http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_sent_is_told(
    tmp_path: Path, saasctl: Saasctl, source: str, body: str, code: int, line: str
) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)
    done = saasctl(
        "send", str(tmp_path / "acme.yaml"), source, body, "--url", "http://127.0.0.1:9",
        "--set", "hook_secret=a",
    )  # fmt: skip
    assert done.code == code, done.err
    assert line in done.err
