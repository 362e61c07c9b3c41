"""The wire: connections, time-outs, sizes, proxies, certificates."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from typing import Any

import pytest
from clients import Asker, lines
from loopback import CERTIFICATE, OK, Answer, in_turn, serve

from tap_saas.errors import ApiError, ConfigError


def test_a_connection_is_used_again_and_carries_no_cookies() -> None:
    answer = Answer(headers={"Set-Cookie": "session=1; Path=/"})
    with serve(in_turn(answer)) as server, Asker(server.url) as asker:
        for _ in range(5):
            asker.ask()
        assert {seen.connection for seen in server.seen} == {0}
        assert not any("Cookie" in seen.headers for seen in server.seen)


def test_a_connection_is_used_again_after_an_error_status_too() -> None:
    answers = in_turn(Answer(503), Answer(429), Answer(404, body=b"x" * 200_000))
    with serve(answers) as server, Asker(server.url) as asker:
        with pytest.raises(ApiError, match="404"):
            asker.ask()
        assert [seen.connection for seen in server.seen] == [0, 0, 0]


def test_threads_share_no_connection_and_sessions_are_bounded() -> None:
    with serve(in_turn(Answer(delay_s=0.02))) as server, Asker(server.url) as asker:
        for _ in range(3):
            threads = [threading.Thread(target=asker.ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.seen) == 12
        assert len({seen.connection for seen in server.seen}) <= 4


def test_gzip_is_read_and_max_body_counts_what_comes_out_of_it() -> None:
    def packed(value: Any) -> Answer:
        body = gzip.compress(json.dumps(value).encode())
        return Answer(body=body, headers={"Content-Encoding": "gzip", "X-Request-Id": "9"})

    bomb = packed("x" * 50_000_000)
    assert len(bomb.body) < 100_000
    http = {"max_body": "1MB"}
    with serve(in_turn(packed([1, 2]), bomb)) as server, Asker(server.url, http=http) as asker:
        assert asker.ask().decoded == [1, 2]
        with pytest.raises(ApiError) as caught:
            asker.ask(page=2)
        assert len(server.seen) == 2
    assert str(caught.value) == (
        "orders: page 2: the body is larger than http.max_body (1,000,000 bytes) (request 9);"
        " ask for smaller pages, or raise http.max_body"
    )


@pytest.mark.parametrize(
    "broken",
    [
        Answer(body=b'{"data": [1', missing=500),
        Answer(body=gzip.compress(b"{}" * 9)[:-12], headers={"Content-Encoding": "gzip"}),
        Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
        Answer(reset=True),
    ],
    ids=["shorter than its length", "cut gzip", "no gzip", "reset"],
)
def test_a_broken_answer_is_asked_for_again(broken: Answer) -> None:
    with serve(in_turn(broken, OK)) as server, Asker(server.url) as asker:
        assert asker.ask().decoded == {"data": []}
        assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("slow", "timeout", "told"),
    [
        (Answer(delay_s=0.6), {"read": "200ms"}, "no answer within 200ms"),
        (Answer(drip_s=0.05), {"total": "200ms"}, "no whole answer within 200ms"),
    ],
)
def test_time_outs_are_retried(
    caplog: pytest.LogCaptureFixture, slow: Answer, timeout: dict[str, str], told: str
) -> None:
    http = {"timeout": timeout}
    with serve(in_turn(slow, OK)) as server, Asker(server.url, http=http) as asker:
        began = time.monotonic()
        asker.ask()
        assert time.monotonic() - began < 0.5
    assert told in lines(caplog, logging.WARNING)[0]


def test_a_proxy_is_taken_from_the_connector_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serve(in_turn(OK)) as proxy:
        http = {"proxy": "{proxy}"}
        values = {"proxy": proxy.url}
        with Asker("http://a.invalid", auth=[], http=http, values=values) as asker:
            asker.ask("/one")
        monkeypatch.setenv("http_proxy", proxy.url)
        with Asker("http://b.invalid", auth=[]) as asker:
            asker.ask("/two")
        assert proxy.paths() == ["http://a.invalid/one", "http://b.invalid/two"]


def test_a_certificate_of_ones_own_is_trusted_with_ca_file_only() -> None:
    with serve(in_turn(OK), tls=True) as server:
        with Asker(server.url) as asker, pytest.raises(ApiError) as caught:
            asker.ask()
        assert len(server.seen) == 0
        with Asker(server.url, http={"ca_file": str(CERTIFICATE)}) as asker:
            asker.ask()
    assert "the server's certificate is not trusted: self-signed certificate" in str(caught.value)
    assert str(caught.value).endswith(
        "; set http.ca_file where the API has a certificate of its own"
    )


def test_a_ca_file_that_is_not_there_is_a_wrong_setting() -> None:
    with (
        serve(in_turn(OK), tls=True) as server,
        Asker(server.url, http={"ca_file": "/nowhere/ca.pem"}) as asker,
        pytest.raises(ConfigError, match=r"http\.ca_file or http\.cert cannot be used"),
    ):
        asker.ask()


def test_a_client_certificate_is_sent() -> None:
    http = {"ca_file": str(CERTIFICATE), "cert": [str(CERTIFICATE), str(CERTIFICATE)]}
    with serve(in_turn(OK), tls=True) as server, Asker(server.url, http=http) as asker:
        assert asker.ask().verdict.then == "ok"
