"""The client against real servers: what recovers, what fails, and what nobody may see."""

from __future__ import annotations

import gzip
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from clients import BEARER, FAST, KEY, Asker, stream
from loopback import CERTIFICATE, Answer, Seen, serve

from tap_saas.client.client import Where
from tap_saas.client.limiter import BudgetSpentError, StoppedError
from tap_saas.client.session import canonical
from tap_saas.connector.exchange import Body, Request, Response
from tap_saas.connector.http import HttpOptions
from tap_saas.errors import ApiError, ConfigError, CredentialError, TapSaasError
from tap_saas.sandbox.app import create_app
from tap_saas.sandbox.server import serving
from tap_saas.sandbox.world import World

OK = Answer()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No proxy of the machine, and all our lines."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    caplog.set_level(logging.DEBUG, "tap_saas")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """The URL of a sandbox."""
    with serving(create_app(World(customers=5, orders=20, events=5))) as url:
        yield url


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def in_turn(*answers: Answer) -> Callable[[Seen], Answer]:
    """These answers one after the other, the last one for ever."""
    left = list(answers)

    def answer(_: Seen) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


# What recovers


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "429", "retry_after": "seconds", "after_s": 1}, "429 Too Many Requests"),
        ({"kind": "429", "retry_after": "date", "after_s": 1}, "429 Too Many Requests"),
        ({"kind": "429"}, "429 Too Many Requests"),
        ({"kind": "500"}, "500 Internal Server Error"),
        ({"kind": "503"}, "503 Service Unavailable"),
        ({"kind": "503", "retry_after": "seconds", "after_s": 1}, "503 Service Unavailable"),
        ({"kind": "reset"}, "connection failed: Connection reset by peer"),
        ({"kind": "truncate"}, "200 OK, broken body: "),
        ({"kind": "truncate", "length": "whole"}, "broken body: it broke off, "),
        ({"kind": "html"}, "200 OK, broken body: "),
        ({"kind": "empty_body"}, "200 OK, broken body: "),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_each_fault_recovers_and_the_log_shows_it(
    sandbox: str, caplog: pytest.LogCaptureFixture, fault: dict[str, Any], told: str
) -> None:
    requests.post(f"{sandbox}/_faults", json={"path": "/orders", "times": 1, **fault}, timeout=5)
    values = {"api_key": "sandbox-key"}
    with Asker(sandbox, values=values) as asker:
        began = time.monotonic()
        outcome = asker.ask(page=40)
        took = time.monotonic() - began
        assert len(outcome.decoded["data"]) == 20
        assert outcome.response.tries == 2
        assert (asker.counts["requests"], asker.counts["retries"]) == (2, 1)
    warnings = list(lines(caplog, logging.WARNING))
    assert len(warnings) == 1
    assert warnings[0].startswith(f"orders: page 40: {told}")
    assert ", waiting " in warnings[0]
    assert "try 2 of " in warnings[0]
    assert any(
        line.startswith("orders: page 40: recovered at try 2")
        for line in lines(caplog, logging.INFO)
    )
    if "after_s" in fault:
        assert took >= 1 or fault["retry_after"] == "date"
        assert "s (Retry-After), " in warnings[0]


def test_the_line_of_a_wait_has_cause_seconds_tries_page_and_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow_down = Answer(429, headers={"Retry-After": "0.2", "X-Request-Id": "7f3a91"})
    with serve(in_turn(slow_down, OK)) as server, Asker(server.url) as asker:
        asker.ask(where=Where(stream="orders", partition="eu", page=40))
    assert lines(caplog, logging.WARNING) == [
        "orders: partition eu: page 40: 429 Too Many Requests, waiting 0.2 s (Retry-After),"
        " try 2 of 9, request 7f3a91"
    ]


def test_every_request_leaves_one_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    answer = Answer(headers={"CF-Ray": "8a1-FRA"})
    with serve(in_turn(Answer(500), answer)) as server, Asker(server.url) as asker:
        where = Where(stream="orders", partition="eu", page=3, page_token="abc")
        asker.ask("/orders?limit=5", where=where)
    first, second = [line for line in lines(caplog, logging.DEBUG) if "GET" in line]
    assert first.startswith(f"GET {server.url}/orders stream=orders partition=eu page=3 ")
    assert " page_token=abc status=500 duration_s=0." in first
    assert first.endswith(" tries=1")
    assert " request_id=8a1-FRA status=200 " in second
    assert second.endswith(" tries=2")


def test_retry_after_seconds_are_waited_for() -> None:
    slow_down = Answer(429, headers={"Retry-After": "0.4"})
    with serve(in_turn(slow_down, OK)) as server, Asker(server.url) as asker:
        asker.ask()
        first, second = server.seen
        assert 0.4 <= second.at - first.at < 1
        assert asker.counts["waited_api_s"] == pytest.approx(0.4, abs=0.2)


def test_a_retry_after_date_is_waited_for_by_the_servers_clock() -> None:
    # A server whose clock is two hours behind ours.
    served = datetime.now(UTC) - timedelta(hours=2)
    headers = {
        "Date": format_datetime(served.replace(microsecond=0), usegmt=True),
        "Retry-After": format_datetime(served + timedelta(seconds=1), usegmt=True),
    }
    with serve(in_turn(Answer(503, headers=headers), OK)) as server, Asker(server.url) as asker:
        asker.ask()
    first, second = server.seen
    assert 1 <= second.at - first.at < 2


def test_a_429_holds_back_every_thread_of_the_budget() -> None:
    said = threading.Event()

    def answer(seen: Seen) -> Answer:
        if seen.path == "/first" and not said.is_set():
            said.set()
            return Answer(429, headers={"Retry-After": "0.5"})
        return OK

    with serve(answer) as server, Asker(server.url) as asker:
        other = threading.Thread(target=lambda: (said.wait(5), time.sleep(0.1), asker.ask("/b")))
        other.start()
        asker.ask("/first")
        other.join()
        began, *later = [seen.at for seen in server.seen]
        assert len(later) == 2
        assert all(at - began >= 0.5 for at in later)


def test_the_total_of_attempts_is_bounded() -> None:
    sorry = Answer(500, b'{"message": "database is down"}', {"X-Request-Id": "7f3a91"})
    with serve(in_turn(sorry)) as server, Asker(server.url, retry={**FAST, "attempts": 3}) as asker:
        with pytest.raises(ApiError) as caught:
            asker.ask(page=12)
        assert len(server.seen) == 3
        assert asker.counts["errors"] == {"http_500": 3}
    told = str(caught.value)
    assert told.startswith(
        "orders: page 12: 500 Internal Server Error, given up after 3 tries in 0"
    )
    assert told.endswith(
        " s: database is down (request 7f3a91); run again later, it goes on where this run stopped"
    )
    assert (caught.value.status, caught.value.request_id) == (500, "7f3a91")


def test_a_dead_server_is_given_up_too() -> None:
    with serve(in_turn(OK)) as server:
        url = server.url
    with Asker(url, retry={**FAST, "attempts": 2}) as asker, pytest.raises(ApiError) as caught:
        asker.ask()
    assert "connection failed: Connection refused, given up after 2 tries" in str(caught.value)


def test_politeness_beyond_the_attempts_is_no_failure() -> None:
    slow_down = Answer(429, headers={"Retry-After": "0.01"})
    answers = in_turn(*[slow_down] * 12, OK)
    with serve(answers) as server, Asker(server.url, retry={**FAST, "attempts": 2}) as asker:
        assert asker.ask().response.tries == 13
        assert len(server.seen) == 13


def test_politeness_ends_at_total() -> None:
    slow_down = Answer(429, headers={"Retry-After": "0.1"})
    retry = {**FAST, "total": "500ms"}
    with serve(in_turn(slow_down)) as server, Asker(server.url, retry=retry) as asker:
        began = time.monotonic()
        with pytest.raises(ApiError, match="429 Too Many Requests, given up after"):
            asker.ask()
        assert time.monotonic() - began < 1.5


def test_a_retry_after_beyond_total_is_a_planned_end_that_later_runs_know_of(
    tmp_path: Path,
) -> None:
    later = Answer(429, headers={"Retry-After": "3600"})
    with serve(in_turn(later)) as server:
        with Asker(server.url, home=tmp_path) as asker, pytest.raises(BudgetSpentError) as caught:
            asker.ask()
        assert caught.value.seconds == 3600
        assert caught.value.exit_code == 0
        deadline = time.monotonic() + 60
        with (
            Asker(server.url, home=tmp_path, deadline=deadline) as asker,
            pytest.raises(BudgetSpentError),
        ):
            asker.ask()
        assert len(server.seen) == 1


def test_a_rule_may_say_wait_retry_skip_done_or_fail() -> None:
    responses = [
        {"status": 403, "when": '$.message contains "rate limit"', "then": "wait"},
        {"status": 404, "then": "retry"},
        {"status": 410, "then": "skip", "scope": "stream"},
        {"status": 416, "then": "done"},
        {"status": 200, "when": "$.ok == false", "then": "fail", "message": "$.error"},
    ]
    limited = Answer(403, b'{"message": "secondary rate limit"}')
    failed = Answer(200, b'{"ok": false, "error": "fatal_error"}', {"X-Request-Id": "1"})
    answers = in_turn(limited, Answer(404), OK, Answer(410), Answer(416), failed)
    with serve(answers) as server, Asker(server.url, responses=responses) as asker:
        assert asker.ask().response.tries == 3
        skipped = asker.ask()
        assert (skipped.verdict.then, skipped.decoded) == ("skip", None)
        assert skipped.verdict.rule is not None
        assert skipped.verdict.rule.scope == "stream"
        assert asker.ask().verdict.then == "done"
        with pytest.raises(ApiError) as caught:
            asker.ask(page=2)
        assert str(caught.value) == "orders: page 2: 200 OK: fatal_error (request 1)"


def test_a_parent_that_is_gone_is_a_skip_where_the_path_names_it() -> None:
    parents = [{"stream": "orders", "values": {"order_id": "$.id"}}]
    child = stream(path="/orders/{order_id}/lines", parents=parents)
    other = stream(path="/lines", params={"order": "{order_id}"}, parents=parents)
    with serve(in_turn(Answer(404))) as server, Asker(server.url, auth=[]) as asker:
        assert asker.ask("/orders/7/lines", form=child).verdict.then == "skip"
        with pytest.raises(ApiError, match="404 Not Found"):
            asker.ask("/lines", form=other)


def test_what_decode_says_itself_is_no_broken_body() -> None:
    def decode(_: Response) -> None:
        raise ApiError("records: nothing at $.data", do="correct `records`")

    with serve(in_turn(OK)) as server, Asker(server.url) as asker:
        with pytest.raises(ApiError) as caught:
            asker.ask(page=3, decode=decode)
        assert len(server.seen) == 1
    assert str(caught.value) == "orders: page 3: records: nothing at $.data; correct `records`"


def test_a_page_of_html_is_told_as_such_in_the_end() -> None:
    page = Answer(body=b"<!doctype html><title>Just a moment</title>")
    retry = {**FAST, "attempts": 2}
    with (
        serve(in_turn(page)) as server,
        Asker(server.url, retry=retry) as asker,
        pytest.raises(ApiError, match=r'200 OK, broken body: an HTML page \("Just a moment"\)'),
    ):
        asker.ask()


# The wire


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


# Stopping


@pytest.mark.parametrize("status", [500, 429])
def test_stop_interrupts_a_wait_at_once(status: int) -> None:
    answer = Answer(status, headers={"Retry-After": "60"})
    with serve(in_turn(answer)) as server, Asker(server.url) as asker:
        timer = threading.Timer(0.2, asker.stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            asker.ask()
        assert time.monotonic() - began < 1
        assert len(server.seen) == 1
        timer.join()


def test_stop_interrupts_a_backoff_at_once() -> None:
    retry = {"first": "1h", "max": "1h", "total": "7d"}
    with serve(in_turn(Answer(500))) as server, Asker(server.url, retry=retry) as asker:
        timer = threading.Timer(0.2, asker.stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            asker.ask()
        assert time.monotonic() - began < 1
        timer.join()


def test_stop_interrupts_a_long_answer() -> None:
    drip = Answer(body=b"x" * 200, drip_s=0.02)
    with serve(in_turn(drip)) as server, Asker(server.url) as asker:
        timer = threading.Timer(0.2, asker.stop.set)
        timer.start()
        with pytest.raises(StoppedError):
            asker.ask()
        timer.join()


# Credentials


def test_a_401_names_the_setting_and_is_not_asked_again() -> None:
    answer = Answer(401, b'{"message": "bad key"}', {"X-Request-Id": "7f3a91"})
    with serve(in_turn(answer)) as server, Asker(server.url) as asker:
        with pytest.raises(CredentialError) as caught:
            asker.ask(page=2)
        assert len(server.seen) == 1
    assert str(caught.value) == (
        "orders: page 2: 401 Unauthorized: bad key (request 7f3a91); check the setting api_key"
    )
    assert caught.value.exit_code == 4


def test_a_403_says_what_the_key_may_not() -> None:
    with (
        serve(in_turn(Answer(403, b"no"))) as server,
        Asker(server.url) as asker,
        pytest.raises(CredentialError) as caught,
    ):
        asker.ask()
    assert str(caught.value) == (
        "orders: page 1: 403 Forbidden: no; check the setting api_key, and what it may read"
    )


def test_a_redirect_to_another_host_carries_no_credentials() -> None:
    headers = {"X-Tenant": "7"}
    secret = {"X-Also-Secret": f"v={KEY}", "Cookie": "a=b"}
    with serve(in_turn(OK)) as other, serve(redirecting(other.url + "/x?a=1")) as server:
        with Asker(server.url) as asker:
            pairs = tuple({**headers, **secret}.items())
            request = Request(url=server.url + "/orders", params=(("q", "1"),), headers=pairs)
            asker.ask(request=request)
        (first,), (second,) = server.seen, other.seen
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.headers["X-Also-Secret"] == f"v={KEY}"
    assert second.path == "/x?a=1"
    assert second.headers["X-Tenant"] == "7"
    assert not {"Authorization", "X-Also-Secret", "Cookie"} & set(second.headers)
    assert KEY not in str(second.headers)


def redirecting(to: str, status: int = 302, times: int = 1) -> Callable[[Seen], Answer]:
    return in_turn(*[Answer(status, headers={"Location": to})] * times, OK)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_keeps_them(status: int) -> None:
    with serve(redirecting("/v2/orders", status)) as server, Asker(server.url) as asker:
        outcome = asker.ask()
        assert outcome.response.url == f"{server.url}/v2/orders"
        assert [seen.headers["Authorization"] for seen in server.seen] == [f"Bearer {KEY}"] * 2
        assert asker.counts["requests"] == 2


def test_redirects_end_after_five() -> None:
    with serve(redirecting("/orders", times=99)) as server, Asker(server.url) as asker:
        with pytest.raises(ApiError, match="302 Found: redirected more than 5 times"):
            asker.ask()
        assert len(server.seen) == 6


def test_a_post_is_not_redirected() -> None:
    with serve(redirecting("/elsewhere")) as server, Asker(server.url) as asker:
        request = Request(method="POST", url=server.url + "/search", body=Body("json", {"a": 1}))
        with pytest.raises(ApiError, match="302 Found"):
            asker.ask(request=request)
        (seen,) = server.seen
    assert seen.headers["Content-Type"] == "application/json"
    assert json.loads(seen.body) == {"a": 1}


def test_no_redirect_from_https_to_http() -> None:
    with serve(in_turn(OK)) as plain, serve(redirecting(plain.url), tls=True) as server:
        with (
            Asker(server.url, http={"ca_file": str(CERTIFICATE)}) as asker,
            pytest.raises(ApiError, match="redirected from https to plain http"),
        ):
            asker.ask()
        assert plain.seen == []


def test_a_next_link_elsewhere_is_asked_without_credentials_and_the_refusal_says_so() -> None:
    def closed(seen: Seen) -> Answer:
        return OK if "Authorization" in seen.headers else Answer(401)

    with serve(closed) as other, serve(in_turn(OK)) as server:
        with Asker(server.url) as asker, pytest.raises(CredentialError) as caught:
            asker.ask(f"{other.url}/orders?page=2", page=2)
        host = other.url.removeprefix("http://")
        assert str(caught.value) == (
            'orders: page 2: 401 Unauthorized: {"data": []};'
            f" {host} is not the host of base_url and got no credentials; see http.hosts"
        )
        with Asker(server.url, http={"hosts": ["127.0.0.*"]}) as asker:
            assert asker.ask(f"{other.url}/orders?page=2").verdict.then == "ok"


def test_plain_http_is_refused_with_credentials_but_on_loopback() -> None:
    with Asker("http://api.invalid") as asker, pytest.raises(ConfigError) as caught:
        asker.ask()
    assert str(caught.value) == (
        "http://api.invalid: orders: page 1: credentials over plain http can be read on the way;"
        " use https in base_url"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://evil.example\\@api.example/x", "evil.example"),
        ("https://evil.example#@api.example/", "evil.example"),
        ("https://EVIL.example/", "evil.example"),
    ],
)
def test_an_address_means_the_host_that_it_is_sent_to(url: str, host: str) -> None:
    assert urlsplit(canonical(url)).netloc == host
    assert not HttpOptions().trusts(canonical(url), "https://api.example")


@pytest.mark.parametrize(
    "url",
    ["https://api.example@evil.example/", "ftp://a.example/", "orders", "https://", "http://["],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ApiError, match="is not an address of the form https://host/path"):
        canonical(url)


def test_netrc_adds_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(in_turn(OK)) as server, Asker(server.url) as asker:
        asker.ask()
        with Asker(server.url, auth=[]) as open_api:
            open_api.ask()
    assert [seen.headers["Authorization"] for seen in server.seen] == [f"Bearer {KEY}", None]


def test_a_credential_parameter_is_in_no_address_that_we_keep() -> None:
    auth = [{"type": "key", "send": "param:api_key", "value": "{api_key}"}]
    with serve(in_turn(OK)) as server, Asker(server.url, auth=auth) as asker:
        outcome = asker.ask(f"/orders?api_key={KEY}&page=2")
        assert server.paths() == [f"/orders?page=2&api_key={KEY}"]
        assert asker.ask("/orders").response.url == f"{server.url}/orders"
        assert outcome.verdict.then == "ok"


def test_no_secret_appears_anywhere_whatever_goes_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that shows every credential it got, in whatever goes wrong at random."""
    chance = random.Random(11)
    secrets = {"api_key": KEY, "user": "me@x.example", "password": "pässwort ¥/+"}
    basic = {"type": "basic", "user": "{user}", "password": "{password}"}
    in_param = {"type": "key", "send": "param:key", "value": "{api_key}"}
    in_cookie = {"type": "key", "send": "cookie:sid", "value": "{api_key}"}

    def answer(seen: Seen) -> Answer:
        shown = f"{seen.path} {seen.headers.as_string()} {json.dumps(secrets)} {secrets}"
        status = chance.choice([200, 302, 400, 401, 403, 404, 429, 500, 503])
        ids = {"X-Request-Id": f"id-{KEY}-{KEY[:3]}"}
        if status == 302:
            return Answer(status, headers={"Location": f"http://[{KEY}", **ids})
        body = chance.choice([shown, json.dumps({"message": shown}), f"<html><title>{shown}", ""])
        return Answer(
            status,
            body.encode(),
            {"Retry-After": chance.choice(["0", KEY])} | (ids if chance.random() < 0.5 else {}),
            missing=chance.choice([0, 0, 0, 7]),
            reset=chance.random() < 0.1,
        )

    told = []
    retry = {**FAST, "attempts": 3, "total": "2s"}
    for auth in ([BEARER], [basic], [in_param, basic], [in_cookie]):
        with (
            serve(answer) as server,
            Asker(server.url, auth=auth, values=secrets, retry=retry) as a,
        ):
            for page in range(25):
                where = Where(stream="orders", page=page, page_token=f"{server.url}?key={KEY}")
                try:
                    a.ask(f"/orders?key={KEY}", where=where)
                except TapSaasError as error:
                    told.append(str(error))
            told.append(json.dumps(a.report.rows()))
    everything = "\n".join(told + [record.getMessage() for record in caplog.records])
    assert len(told) > 50
    assert "***" in everything
    for secret in (KEY, "pässwort", "p%C3%A4sswort", "p\\u00e4sswort", "bWVAeC5leGFtcGxlO"):
        assert secret not in everything


# OAuth


def oauth(url: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": f"{url}/oauth/token",
        "client": {"id": "sandbox", "secret": "{client_secret}"},
        **more,
    }


OAUTH_VALUES = {"client_secret": "sandbox-secret"}


def logging_in(url: str, **more: Any) -> Asker:
    """A client that logs in by `client_credentials`."""
    return Asker(url, **{"auth": [oauth(url)], "values": OAUTH_VALUES, **more})


def test_a_token_is_fetched_once_and_used_again(sandbox: str) -> None:
    requests.delete(f"{sandbox}/_requests", timeout=5)
    with logging_in(sandbox) as asker:
        for _ in range(3):
            assert asker.ask().verdict.then == "ok"
        assert asker.client.token()["token_type"].lower() == "bearer"
    counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
    assert len([path for _, path, _ in counts["times"] if path == "/oauth/token"]) == 1


def test_a_kept_token_serves_the_next_run(sandbox: str, tmp_path: Path) -> None:
    requests.delete(f"{sandbox}/_requests", timeout=5)
    for _ in range(2):
        with logging_in(sandbox, home=tmp_path) as asker:
            asker.ask()
    counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
    assert [path for _, path, _ in counts["times"]] == ["/oauth/token", "/orders", "/orders"]


def token_server(*, dies: bool = False) -> tuple[Callable[[Seen], Answer], list[str]]:
    """A server whose first access token is refused (`dies`: every one), and the tokens it gave."""
    given: list[str] = []

    def answer(seen: Seen) -> Answer:
        if seen.path == "/oauth/token":
            given.append(f"access-{len(given)}")
            return Answer(body=json.dumps({"access_token": given[-1]}).encode())
        fine = (
            not dies and len(given) > 1 and seen.headers["Authorization"] == f"Bearer {given[-1]}"
        )
        return OK if fine else Answer(401, b'{"message": "expired"}')

    return answer, given


def test_a_401_renews_once_and_goes_on() -> None:
    answer, given = token_server()
    with serve(answer) as server, logging_in(server.url) as asker:
        assert asker.ask().response.tries == 1
        assert asker.ask().verdict.then == "ok"
    assert given == ["access-0", "access-1"]


def test_threads_that_meet_a_401_renew_it_once_between_them() -> None:
    answer, given = token_server()
    with serve(answer) as server, logging_in(server.url) as asker:
        threads = [threading.Thread(target=asker.ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == 2


def test_a_second_401_names_the_settings() -> None:
    answer, given = token_server(dies=True)
    with serve(answer) as server:
        with logging_in(server.url) as asker, pytest.raises(CredentialError) as caught:
            asker.ask()
        assert len(given) == 2
        assert len(server.seen) == 4
    assert str(caught.value) == (
        "orders: page 1: 401 Unauthorized: expired; check the setting client_secret"
    )


def test_a_wrong_client_is_one_line(sandbox: str) -> None:
    values = {"client_secret": "wrong-one"}
    with logging_in(sandbox, values=values) as asker, pytest.raises(CredentialError) as caught:
        asker.ask()
    told = str(caught.value)
    assert told.startswith("orders: page 1: no access token: invalid_client: ")
    assert told.endswith("; check the setting client_secret")


def test_the_token_endpoint_is_asked_again_too(
    sandbox: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault = {"path": "/oauth/token", "kind": "503", "times": 1}
    requests.post(f"{sandbox}/_faults", json=fault, timeout=5)
    with logging_in(sandbox) as asker:
        asker.ask()
    (warning,) = lines(caplog, logging.WARNING)
    assert warning.startswith("orders: page 1: token: 503 Service Unavailable, waiting ")


def test_a_token_goes_to_no_plain_http() -> None:
    auth = [oauth("http://login.invalid")]
    with (
        serve(in_turn(OK)) as server,
        Asker(server.url, auth=auth, values=OAUTH_VALUES) as asker,
        pytest.raises(ConfigError, match="use https in token_url"),
    ):
        asker.ask()


def test_base_url_may_come_from_the_token() -> None:
    with serve(in_turn(OK)) as instance:
        body = json.dumps({"access_token": "a-token", "instance_url": instance.url}).encode()
        with serve(in_turn(Answer(body=body))) as login:
            auth = [oauth(login.url)]
            with Asker("{token.instance_url}", auth=auth, values=OAUTH_VALUES) as asker:
                address = asker.client.token()["instance_url"]
                asker.ask(f"{address}/orders")
        assert instance.seen[0].headers["Authorization"] == "Bearer a-token"


def test_a_token_renewed_while_waiting_for_a_budget_is_not_sent_dead(sandbox: str) -> None:
    requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 1}, timeout=5)
    budgets = {"all": {"limits": [{"requests": 1, "per": "1s"}], "match": "/orders"}}
    try:
        requests.delete(f"{sandbox}/_requests", timeout=5)
        with logging_in(sandbox, budgets=budgets) as asker:
            for _ in range(3):
                asker.ask()
        counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
        assert not [status for _, _, status in counts["times"] if status == 401]
    finally:
        requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 30}, timeout=5)
