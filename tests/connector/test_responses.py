"""Verdicts: rules first, then the built-in ones; what the API says itself; its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.exchange import Headers, Response
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.responses import (
    Rule,
    excerpt,
    judge,
    observed_at,
    one_line,
    server_date,
    status_text,
)

NOW = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        status=status, headers=Headers(named), body=body, url="https://a.example/", received_at=NOW
    )


def rules(*raw: dict[str, Any]) -> list[Rule]:
    return msgspec.convert(list(raw), list[Rule], dec_hook=decode_notation)


@given(status=st.integers(200, 599))
def test_built_in_verdicts_cover_every_status(status: int) -> None:
    then = judge(answer(status)).then
    if status < 300:
        assert then == "ok"
    elif status in {408, 425} or status >= 500:
        assert then == "retry"
    else:
        assert then == {401: "login", 429: "wait"}.get(status, "fail")


def test_the_first_rule_that_fits_wins() -> None:
    given_rules = rules(
        {"status": [403, 404], "when": "$.code == 7", "then": "skip", "max": "10%"},
        {"status": 404, "then": "done"},
        {"status": 404, "then": "fail"},
    )
    assert judge(answer(404, b'{"code": 7}'), given_rules).rule == given_rules[0]
    assert judge(answer(404, b'{"code": 8}'), given_rules).then == "done"
    assert judge(answer(403, b'{"code": 8}'), given_rules).then == "fail"


def test_a_rule_reads_a_failure_inside_a_200_with_its_message() -> None:
    (rule,) = rules({"status": 200, "when": "$.ok == false", "then": "fail", "message": "$.error"})
    verdict = judge(answer(200, b'{"ok": false, "error": "invalid_auth"}'), [rule])
    assert (verdict.then, verdict.message) == ("fail", "invalid_auth")
    assert judge(answer(200, b'{"ok": true}'), [rule]).then == "ok"


def test_a_body_that_is_no_json_meets_no_condition() -> None:
    given_rules = rules({"when": "$.ok == true", "then": "skip"})
    assert judge(answer(200, b"<html>"), given_rules).then == "ok"


def test_a_condition_reads_headers_too() -> None:
    given_rules = rules({"when": "header:X-Remaining == 0", "then": "wait"})
    assert judge(answer(403, X_Remaining="0"), given_rules).then == "wait"
    assert judge(answer(403, X_Remaining="1"), given_rules).then == "fail"


@pytest.mark.parametrize(
    "raw",
    [
        {"then": "skip"},
        {"status": 404, "then": "ignore"},
        {"status": 404, "then": "done", "max": "5%"},
        {"status": 404},
        {"status": 404, "then": "skip", "message": "param:x"},
    ],
)
def test_a_mistake_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        rules(raw)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"message": "no such list"}', "no such list"),
        (b'{"error": {"code": 3, "message": "expired"}}', "expired"),
        (b'{"error": "bad", "error_description": "Token was revoked"}', "Token was revoked"),
        (b'{"errors": [{"detail": "limit is too large"}, {"detail": "x"}]}', "limit is too large"),
        (b'["first", "second"]', "first"),
        (b"upstream timed out", "upstream timed out"),
        (
            b"<!DOCTYPE html><html><title>\n Just a moment </title>",
            'an HTML page ("Just a moment")',
        ),
        (b"<html><body>", "an HTML page"),
        (b'{"code": 3}', '{"code": 3}'),
        (b"", None),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_what_the_api_says_itself(body: bytes, told: str | None) -> None:
    assert excerpt(answer(400, body)) == told


def test_a_shown_text_is_one_line_of_at_most_200_characters() -> None:
    assert one_line("a\nb\t c\x00\x1b[31md") == "a b c [31md"
    assert one_line("x" * 900) == "x" * 200


def test_status_text_names_the_reason_where_there_is_one() -> None:
    assert status_text(429) == "429 Too Many Requests"
    assert status_text(529) == "529"


def test_observed_is_the_servers_clock_less_the_age_of_the_answer() -> None:
    served = datetime(2025, 3, 1, 11, 59, 0, tzinfo=UTC)
    dated = "Sat, 01 Mar 2025 11:59:00 GMT"
    assert server_date(answer(Date=dated)) == served
    assert observed_at(answer(Date=dated)) == served
    assert observed_at(answer(Date=dated, Age="40")) == served - timedelta(seconds=40)
    assert observed_at(answer()) == NOW
    assert observed_at(answer(Age="-4")) == NOW
    assert server_date(answer(Date="yesterday")) is None
