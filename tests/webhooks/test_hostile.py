"""Senders that mean no good, or break off: each is refused, and the others are served."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from receivers import NAME, PATIENCE_S, Receiver, receiving, signed

PATH = f"/webhooks/{NAME}"
LIMIT = 64_000  # max_body of the source
SHORT = """
receiver.BODY_S = 0.5
protocol.HEAD_S = 0.5
protocol.MAX_CONNECTIONS = 20
"""


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("hostile"), more=SHORT) as running:
        yield running


@pytest.fixture(autouse=True)
def others_are_served(receiver: Receiver) -> Iterator[None]:
    yield
    began = time.monotonic()
    assert receiver.send({"after": 1}, f"after {began}").status == 200
    assert time.monotonic() - began < 5


def said(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    got = b""
    try:
        while part := connection.recv(65_536):
            got += part
    except ConnectionResetError:
        pass
    return got


def head(length: int | None, **headers: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: a"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 3_000_000])
def test_the_size_of_a_body_is_capped(receiver: Receiver, size: int) -> None:
    answered = receiver.send(b"x" * size, f"sized {size}")
    assert answered.status == (200 if size == LIMIT else 413)
    assert any(event.event_id == f"sized {size}" for event in receiver.events()) == (size == LIMIT)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 1_000_000])
def test_a_body_without_a_length_is_counted_as_it_comes(receiver: Receiver, size: int) -> None:
    body = b"y" * size
    with receiver.socket() as connection:
        connection.sendall(
            head(None, Transfer_Encoding="chunked", X_Signature=signed(body), X_Event_Id="c")
        )
        for start in range(0, size, 50_000):
            part = body[start : start + 50_000]
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
        connection.settimeout(PATIENCE_S)
        assert connection.recv(100).startswith(
            b"HTTP/1.1 200" if size == LIMIT else b"HTTP/1.1 413"
        )


def test_a_sender_that_waits_to_be_asked_for_a_body_too_large(receiver: Receiver) -> None:
    with receiver.socket() as connection:
        connection.sendall(head(10**9, Expect="100-continue"))
        got = said(connection)
    assert b"HTTP/1.1 413" in got
    assert b"100 Continue" not in got


def test_a_slow_body_is_given_up(receiver: Receiver) -> None:
    began = time.monotonic()
    with receiver.socket() as connection:
        connection.sendall(head(100) + b"{")
        assert said(connection).startswith(b"HTTP/1.1 408")
    assert 0.4 < time.monotonic() - began < 5


def test_a_dripping_body_is_given_up(receiver: Receiver) -> None:
    began = time.monotonic()
    with receiver.socket() as connection:
        connection.sendall(head(1_000))
        connection.settimeout(0.1)
        got = b""
        while not got and time.monotonic() - began < 5:
            connection.sendall(b" ")
            try:
                got = connection.recv(100)
            except TimeoutError:
                continue
    assert got.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST ", head(5)[:-2]])
def test_a_connection_that_never_asks_is_closed(receiver: Receiver, sent: bytes) -> None:
    began = time.monotonic()
    with receiver.socket() as connection:
        connection.sendall(sent)
        assert said(connection) == b""
    assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    "bomb",
    [
        b"X-Bomb: " + b"b" * 5_000_000,
        b"".join(b"X-%d: %s\r\n" % (n, b"b" * 100) for n in range(20_000)),
        b"b" * 5_000_000,
    ],
)
def test_a_head_that_is_a_bomb_is_refused(receiver: Receiver, bomb: bytes) -> None:
    with receiver.socket() as connection:
        try:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n".encode() + bomb)
            connection.sendall(b"\r\n\r\n")
        except OSError:
            return
        assert said(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_a_head_without_an_end_is_refused_before_its_time_is_up(receiver: Receiver) -> None:
    with receiver.socket() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nX-Large: ".encode())
        for _ in range(7):
            connection.sendall(b"b" * 10_000)
        assert said(connection).endswith(b"The head is too large.")


def test_a_large_head_that_comes_at_once_is_refused(receiver: Receiver) -> None:
    with receiver.socket() as connection:
        connection.sendall(head(0, X_Large="b" * 66_000))
        assert said(connection)[:12] in (b"HTTP/1.1 400", b"")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 50 + b"\r\n\r\n",
        f"POST {PATH} HTTP/1.1\r\nContent-Length: -1\r\n\r\n".encode(),
        f"POST {PATH} HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc".encode(),
        f"POST {PATH} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
        f"POST {PATH} HTTP/1.1\r\nX: a\rb\r\n\r\n".encode(),
    ],
)
def test_what_is_no_http_is_refused(receiver: Receiver, sent: bytes) -> None:
    with receiver.socket() as connection:
        connection.sendall(sent)
        connection.settimeout(PATIENCE_S)
        got = said(connection)
    assert got[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408", b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Signature": "\xff\xfe"},
        {"X_Signature": "sha256=" + "," * 5_000},
        {"X_Event_Id": "\xe9" * 3_000},
        {"Cookie": "a=" + "b" * 30_000},
        {"X_Signature": "a", "x_signature": "b"},
    ],
)
def test_odd_headers_are_no_mistake_of_ours(receiver: Receiver, headers: dict[str, str]) -> None:
    body = b'{"odd": 1}'
    named = {"X-Signature": signed(body)} if "X_Signature" not in headers else {}
    lines = [f"POST {PATH} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"]
    for name, value in {**named, **headers}.items():
        lines.append(f"{name.replace('_', '-')}: {value}")
    with receiver.socket() as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        status = connection.recv(12)
    assert status == (b"HTTP/1.1 401" if "X_Signature" in headers else b"HTTP/1.1 200")


def test_bodies_that_are_no_text_or_json_are_kept_when_genuine(receiver: Receiver) -> None:
    for body in (b"\xff\xfe", b"", b"[" * 20_000, b'{"a":' + b"9" * 5_000 + b"}", b'"\\ud800"'):
        event_id = f"odd {len(body)}"
        assert receiver.send(body, event_id).status == 200
        assert [one.body for one in receiver.events() if one.event_id == event_id] == [body]


def test_a_sender_that_leaves_before_its_answer_has_its_event_kept(receiver: Receiver) -> None:
    body = json.dumps({"left": 1}).encode()
    with receiver.socket() as connection:
        connection.sendall(
            head(len(body), X_Signature=signed(body), X_Event_Id="left", Connection="close") + body
        )
    until = time.monotonic() + PATIENCE_S
    while not any(event.event_id == "left" for event in receiver.events()):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_two_requests_at_once_on_a_connection_are_two(receiver: Receiver) -> None:
    both = b""
    for n in (1, 2):
        body = b'{"n": %d}' % n
        both += head(len(body), X_Signature=signed(body), X_Event_Id=f"piped {n}") + body
    with receiver.socket() as connection:
        connection.sendall(both)
        got = b""
        while got.count(b"HTTP/1.1 200") < 2:
            part = connection.recv(4_096)
            assert part, got
            got += part


def test_more_connections_than_a_receiver_has_are_closed(receiver: Receiver) -> None:
    connections = [receiver.socket() for _ in range(40)]
    try:
        until = time.monotonic() + 5
        while sum(map(_is_closed, connections[25:])) < 15:
            assert time.monotonic() < until
        assert not _is_closed(connections[5])
    finally:
        for one in connections:
            one.close()


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
