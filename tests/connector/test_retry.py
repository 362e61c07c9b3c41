"""Retry numbers: waits grow, are never longer than `max`, never shorter than Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_saas.connector.exchange import Headers
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.retry import Retry, read_http_date, retry_after

NOW = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)
SECONDS = st.floats(0, 86_400).map(lambda seconds: timedelta(seconds=seconds))


def decoded(raw: dict[str, object]) -> Retry:
    return msgspec.convert(raw, Retry, dec_hook=decode_notation)


@given(count=st.integers(1, 10_000), chance=st.floats(0, 1), asked=st.none() | SECONDS)
@example(count=10_000, chance=1.0, asked=None)
def test_a_wait_is_never_before_retry_after_and_else_at_most_max(
    count: int, chance: float, asked: timedelta | None
) -> None:
    retry = Retry()
    wait = retry.wait(count, chance, asked)
    assert wait >= (asked or timedelta(0))
    assert wait <= max(retry.max, asked or timedelta(0))


def test_full_jitter_reaches_from_nothing_to_a_doubling_limit() -> None:
    retry = decoded({"first": "2s", "max": "10s"})
    assert [retry.wait(n, 1.0).total_seconds() for n in range(1, 6)] == [2, 4, 8, 10, 10]
    assert retry.wait(3, 0.0) == timedelta(0)
    assert retry.wait(3, 0.25) == timedelta(seconds=2)


def test_the_defaults_are_those_of_the_language() -> None:
    assert decoded({}) == decoded({"attempts": 8, "first": "1s", "max": "60s", "total": "15m"})


@pytest.mark.parametrize("raw", [{"attempts": 0}, {"attempt": 3}, {"first": "soon"}])
def test_a_mistake_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(raw)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("0", 0), ("1.5", 1.5), (" 7 ", 7), ("-3", 0), ("99999999999999999999", None)],
)
def test_seconds(text: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(Headers({"retry-after": text}), NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "2025-03-01", "Foo, 99 Bar 2025"])
def test_what_says_nothing_asks_for_nothing(text: str) -> None:
    assert retry_after(Headers({"Retry-After": text}), NOW) is None


def test_no_header_asks_for_nothing() -> None:
    assert retry_after(Headers({}), NOW) is None


@given(ahead=st.integers(-1_000, 1_000_000), skew=st.integers(-1_000_000, 1_000_000))
def test_a_date_is_measured_against_the_answers_own_date(ahead: int, skew: int) -> None:
    served = NOW + timedelta(seconds=skew)
    until = served + timedelta(seconds=ahead)
    headers = Headers({"Date": format_datetime(served), "Retry-After": format_datetime(until)})
    assert retry_after(headers, NOW) == timedelta(seconds=max(0, ahead))


def test_a_date_without_the_answers_date_is_measured_against_our_clock() -> None:
    headers = Headers({"Retry-After": "Sat, 01 Mar 2025 12:00:09 GMT"})
    assert retry_after(headers, NOW) == timedelta(seconds=9)


def test_the_three_forms_of_an_http_date() -> None:
    instant = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    # RFC 9110 section 5.6.7
    assert read_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == instant
    assert read_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == instant
    assert read_http_date("Sun Nov  6 08:49:37 1994") == instant
