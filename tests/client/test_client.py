"""What recovers, how long that may take, and what is told about it."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from clients import FAST, Asker, lines, stream
from loopback import OK, Answer, Seen, in_turn, serve

from tap_saas.client.client import Where
from tap_saas.client.limiter import BudgetSpentError, StoppedError
from tap_saas.connector.exchange import Response
from tap_saas.errors import ApiError


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

    def ask_later() -> None:
        said.wait(5)
        time.sleep(0.1)
        asker.ask("/b")

    with serve(answer) as server, Asker(server.url) as asker:
        other = threading.Thread(target=ask_later)
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
    drip = Answer(body=b'"' + b"x" * 198 + b'"', drip_s=0.02)
    with serve(in_turn(drip)) as server, Asker(server.url) as asker:
        timer = threading.Timer(0.2, asker.stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            asker.ask()
        assert time.monotonic() - began < 1
        timer.join()
