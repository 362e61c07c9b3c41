"""Faults arrive as promised, also on the wire."""

from __future__ import annotations

import json
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import Api


def exchange(api: Api, path: str = "/orders") -> tuple[dict[str, str], bytes]:
    """Headers and body of one request as they come off the socket, until it is closed."""
    parts = urlsplit(api.url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=5) as sock:
        head = f"GET {path}?api_key=sandbox-key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        raw = b""
        while part := sock.recv(65_536):
            raw += part
    head_text, _, body = raw.partition(b"\r\n\r\n")
    lines = head_text.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return {"status": lines[0].split()[1], **headers}, body


def test_reset_resets_the_connection(api: Api) -> None:
    api.post("/_faults", path="/orders", kind="reset")
    with pytest.raises(ConnectionResetError):
        exchange(api)
    assert exchange(api)[0]["status"] == "200"
    assert api.read("/_requests")["by_path"]["/orders"] == {"200": 1, "0": 1}


def test_truncate_with_the_length_of_the_part(api: Api) -> None:
    whole = exchange(api)[1]
    api.post("/_faults", path="/orders", kind="truncate")
    headers, body = exchange(api)
    assert (headers["status"], headers["content-type"]) == ("200", "application/json")
    assert int(headers["content-length"]) == len(body) < len(whole)
    assert whole.startswith(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_truncate_with_the_length_of_the_whole(api: Api) -> None:
    whole = exchange(api)[1]
    api.post("/_faults", path="/orders", kind="truncate", length="whole")
    headers, body = exchange(api)
    assert int(headers["content-length"]) == len(whole) > len(body) > 0
    assert whole.startswith(body)


@pytest.mark.parametrize("kind", ["429", "500", "503", "401"])
def test_status_faults_answer_json(api: Api, kind: str) -> None:
    api.post("/_faults", path="/orders", kind=kind)
    response = api.get("/orders")
    assert response.status_code == int(kind)
    assert response.json()["error"]
    assert "Retry-After" not in response.headers
    assert api.get("/orders").status_code == 200


def test_retry_after_in_seconds_is_rounded_up(api: Api) -> None:
    api.post("/_faults", path="/orders", kind="429", retry_after="seconds", after_s=4.2)
    assert api.get("/orders").headers["Retry-After"] == "5"


def test_retry_after_as_a_date_is_never_early(api: Api) -> None:
    api.post("/_faults", path="/orders", kind="503", retry_after="date", after_s=30)
    before = time.time()
    named = parsedate_to_datetime(api.get("/orders").headers["Retry-After"]).timestamp()
    assert before + 30 <= named <= time.time() + 31


def test_html_and_empty_bodies_come_with_200(api: Api) -> None:
    api.post("/_faults", path="/orders", kind="html")
    page = api.get("/orders")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!doctype html>")
    api.post("/_faults", path="/orders", kind="empty_body")
    empty = api.get("/orders")
    assert (empty.status_code, empty.content) == (200, b"")
    assert empty.headers["Content-Type"] == "application/json"


def test_slow_waits_and_answers_rightly(api: Api) -> None:
    right = api.read("/orders")
    api.post("/_faults", path="/orders", kind="slow", delay_ms=120)
    began = time.monotonic()
    assert api.read("/orders") == right
    assert time.monotonic() - began >= 0.12


def test_every_and_times_say_which_requests_are_hit(api: Api) -> None:
    api.post("/_faults", path="/orders", kind="500", every=3, times=2)
    statuses = [api.get("/orders").status_code for _ in range(10)]
    assert statuses == [200, 200, 500, 200, 200, 500, 200, 200, 200, 200]
    shown = api.read("/_faults")[0]
    assert (shown["seen"], shown["hits"]) == (6, 2)


def test_faults_meet_their_path_only_until_cleared(api: Api) -> None:
    api.post("/_faults", path="/orders/*/lines", kind="500", times=None)
    assert api.get("/orders").status_code == 200
    assert [api.get("/next/orders/1/lines").status_code for _ in range(2)] == [500, 500]
    api.delete("/_faults")
    assert api.get("/orders/1/lines").status_code == 200
    assert api.read("/_faults") == []


def test_token_endpoint_can_fail_too(api: Api) -> None:
    api.post("/_faults", path="/oauth/token", kind="503")
    form = {"grant_type": "client_credentials"}
    url, client = f"{api.url}/oauth/token", ("sandbox", "sandbox-secret")
    statuses = [
        api.session.post(url, data=form, auth=client, timeout=5).status_code for _ in range(2)
    ]
    assert statuses == [503, 200]


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "410"},
        {"kind": "429", "retry_after": "soon"},
        {"kind": "429", "times": 0},
        {"kind": "429", "every": True},
        {"kind": "429", "after_s": -1},
        {"kind": "429", "delay": 5},
        {},
    ],
)
def test_faults_that_nobody_knows_are_refused(api: Api, members: dict[str, Any]) -> None:
    response = api.session.post(f"{api.url}/_faults", json=members, timeout=5)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_parameter")
    assert api.read("/_faults") == []
