"""What `budgets:` says: limits, shares, which requests, and what an API tells of its own count."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.budget import Allowance, Budget, Learnt
from tap_saas.connector.exchange import Headers, Response
from tap_saas.connector.notation import decode_notation
from tap_saas.errors import ApiError

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
DATE = "Wed, 01 Jan 2025 12:00:00 GMT"
LIMITS = [{"requests": 100, "per": "1s"}]


def budget(**raw: Any) -> Budget:
    return msgspec.convert(raw, Budget, dec_hook=decode_notation)


def response(headers: dict[str, str], body: bytes = b"{}") -> Response:
    return Response(
        status=200, headers=Headers(headers), body=body, url="http://x/", received_at=NOW
    )


def test_limits_of_all_kinds_are_read() -> None:
    got = budget(
        limits=[
            {"requests": 100, "per": "1s"},
            {"requests": 50000, "per": "1d", "reserve": "20%", "spent": "stop"},
            {"concurrent": 8},
        ]
    )
    assert got.allowances == (Allowance(100, 1.0, False), Allowance(40000, 86400.0, True))
    assert got.concurrent == 8


def test_share_and_reserve_take_from_every_limit() -> None:
    limits = [{"requests": 10, "per": "1s", "reserve": "30%"}, {"concurrent": 5}]
    got = budget(limits=limits, share="50%")
    assert got.allowances == (Allowance(3, 1.0, False),)
    assert got.concurrent == 2
    assert budget(limits=[{"requests": 10, "per": "1s", "reserve": "30%"}]).allowances[0][0] == 7


def test_less_than_one_request_is_one_in_a_longer_time() -> None:
    got = budget(limits=[{"requests": 1, "per": "1s"}, {"concurrent": 1}], share="25%")
    assert got.allowances == (Allowance(1, 4.0, False),)
    assert got.concurrent == 1


@given(st.integers(1, 10**6), st.integers(0, 99), st.integers(1, 100))
def test_never_more_than_the_share_of_a_limit(requests: int, reserve: int, share: int) -> None:
    limits = [{"requests": requests, "per": "10s", "reserve": f"{reserve}%"}]
    ours = budget(limits=limits, share=f"{share}%").allowances[0]
    allowed_a_second = requests * (100 - reserve) * share / 10**4 / 10
    assert ours.requests / ours.per_s <= allowed_a_second * (1 + 1e-9)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({}, "needs limits"),
        ({"limits": [{"requests": 5}]}, "go together"),
        ({"limits": [{"per": "1s"}]}, "go together"),
        ({"limits": [{}]}, "either requests and per, or concurrent"),
        ({"limits": [{"requests": 5, "per": "1s", "concurrent": 2}]}, "either"),
        ({"limits": [{"requests": 0, "per": "1s"}]}, "at least 1"),
        ({"limits": [{"concurrent": -1}]}, "at least 1"),
        ({"limits": [{"requests": 5, "per": "0s"}]}, "longer than nothing"),
        ({"limits": [{"requests": 5, "per": "1s", "reserve": "100%"}]}, "leaves nothing"),
        ({"limits": [{"concurrent": 5, "spent": "stop"}]}, "spent belongs"),
        ({"limits": LIMITS, "share": "0%"}, "share leaves nothing"),
        ({"limits": [{"concurrent": 5}], "spread": True}, "spread needs"),
        ({"remaining": "header:X-Left"}, "go together"),
        ({"limits": LIMITS, "match": "search"}, "is not a path"),
        ({"limits": LIMITS, "match": "post /search"}, "is not a path"),
        ({"limits": LIMITS, "matches": "/search"}, "matches"),
    ],
)
def test_mistakes_are_told(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        budget(**raw)


@pytest.mark.parametrize(
    ("match", "method", "path", "applies"),
    [
        (None, "GET", "/any/thing", True),
        ("POST /search/*", "POST", "/search/a/b", True),
        ("POST /search/*", "GET", "/search/a", False),
        ("POST /search/*", "POST", "/research/a", False),
        ("/orders", "DELETE", "/orders", True),
        ("/orders", "GET", "/orders/7", False),
        ("GET /orders/{order_id}/lines", "GET", "/orders/7/lines", True),
        ("GET /orders/{order_id}/lines", "GET", "/orders/7/8/lines", False),
        ("*", "GET", "/x", True),
        ("/a.b(c)", "GET", "/a.b(c)", True),
        ("/a.b", "GET", "/aXb", False),
        ("https://files.example/*", "GET", "https://files.example/x", True),
    ],
)
def test_match_says_which_requests(
    match: str | None, method: str, path: str, applies: bool
) -> None:
    raw = {"limits": LIMITS} if match is None else {"limits": LIMITS, "match": match}
    assert budget(**raw).applies(method, path) is applies


def test_key_makes_one_bucket_a_value_and_hides_it() -> None:
    keyed = budget(limits=LIMITS, key="{api_key}-{base}")
    one = keyed.bucket("base", {"api_key": "s3cr3t", "base": 1})
    two = keyed.bucket("base", {"api_key": "s3cr3t", "base": 2})
    assert keyed.names == {"api_key", "base"}
    assert one != two
    assert one == keyed.bucket("base", {"api_key": "s3cr3t", "base": 1})
    assert one is not None
    assert one.startswith("base:")
    assert "s3cr3t" not in one
    assert keyed.bucket("base", {"api_key": "s3cr3t"}) is None
    assert budget(limits=LIMITS).bucket("all", {}) == "all"


@pytest.mark.parametrize(
    ("kind", "value", "seconds"),
    [
        ("delta_s", "30", 30.0),
        ("delta_s", "0.5", 0.5),
        ("delta_s", "-3", 0.0),
        ("epoch_s", str(int(NOW.timestamp()) + 90), 90.0),
        ("epoch_ms", str(int(NOW.timestamp() * 1000) + 1500), 1.5),
        ("http_date", "Wed, 01 Jan 2025 12:01:00 GMT", 60.0),
    ],
)
def test_what_an_api_tells_of_its_count_is_learnt(kind: str, value: str, seconds: float) -> None:
    reset = {"take": "header:X-Reset", "as": kind}
    learnt = budget(remaining="header:X-Left", reset=reset)
    told = {"X-Left": "7", "X-Reset": value}
    assert learnt.learn(response(told)) == Learnt(7, pytest.approx(seconds))
    assert learnt.learn(response({"X-Reset": value})) is None
    assert learnt.learn(response({"X-Left": "many", "X-Reset": value})) is None
    assert learnt.learn(response({"X-Left": "7", "X-Reset": "soon"})) is None


def test_a_reset_is_measured_by_the_clock_of_the_api() -> None:
    reset = {"take": "header:X-Reset", "as": "epoch_s"}
    learnt = budget(remaining="header:X-Left", reset=reset)
    told = {"X-Left": "7", "X-Reset": str(int(NOW.timestamp()) + 90), "Date": DATE}
    late = msgspec.structs.replace(response(told), received_at=NOW.replace(year=2026))
    assert learnt.learn(late) == Learnt(7, 90.0)


def test_remaining_may_stand_in_the_body() -> None:
    learnt = budget(remaining="$.rate.left", reset={"take": "$.rate.reset"})
    assert learnt.learn(response({}, b'{"rate": {"left": 3, "reset": 5}}')) == Learnt(3, 5.0)
    assert budget(limits=LIMITS).learn(response({})) is None


def test_an_impossible_reset_names_the_key_to_correct() -> None:
    learnt = budget(remaining="header:X-Left", reset={"take": "header:X-Reset"})
    with pytest.raises(ApiError, match=r"as delta_s is .* days from now; correct `as`"):
        learnt.learn(response({"X-Left": "7", "X-Reset": str(int(NOW.timestamp()))}))
