"""What the API admits in a window, on its own clock, and what it counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.sandbox.limits import Limits, matches
from tap_saas.sandbox.refusal import RefusalError
from tap_saas.sandbox.world import World

from .conftest import Api


@given(
    quarters=st.lists(st.integers(0, 160), max_size=120),
    requests=st.integers(1, 9),
    per_s=st.integers(1, 100),
)
def test_window_is_full_but_never_over(quarters: list[int], requests: int, per_s: int) -> None:
    now = 0.0
    limits = Limits(lambda: now)
    limits.set("/orders", requests, per_s)
    admitted: list[float] = []
    for quarter in quarters:
        now += quarter / 4
        room = requests - sum(then > now - per_s for then in admitted)
        if room:
            limits.admit("/orders")
            admitted.append(now)
            continue
        with pytest.raises(RefusalError) as refused:
            limits.admit("/orders")
        assert refused.value.headers is not None
        wait_s = float(refused.value.headers["Retry-After"])
        assert sum(then > now + wait_s - per_s for then in admitted) < requests


def test_events_may_be_asked_a_thousand_times_an_hour(shared_api: Api) -> None:
    now = 0.0
    shared_api.serve(World(customers=1, orders=1, events=1), clock=lambda: now)
    paths = ["/events", "/next/events", "/link/events", "/events?page=1"]
    for i in range(1_000):
        now = float(i)
        assert shared_api.get(paths[i % 4]).status_code == 200
    refused = shared_api.get("/events")
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "2601"
    assert shared_api.get("/customers").status_code == 200
    now = 3_599.5
    assert shared_api.get("/events").headers["Retry-After"] == "1"
    now = 3_600.0
    assert shared_api.get("/events").status_code == 200
    assert shared_api.get("/events").status_code == 429
    counts = shared_api.read("/_requests")["by_path"]
    assert sum(sum(counts[path].values()) for path in counts if "events" in path) == 1_004


def test_limit_of_another_path_can_be_set_and_taken_away(api: Api) -> None:
    api.post("/_limits", path="/orders", requests=2, per_s=60)
    assert [api.get("/orders").status_code for _ in range(3)] == [200, 200, 429]
    assert api.get("/orders/1/lines").status_code == 200
    api.post("/_limits", path="/orders", requests=None)
    assert api.get("/orders").status_code == 200
    api.post("/_limits", path="/orders*", requests=1, per_s=60)
    assert [api.get(path).status_code for path in ("/orders/1/lines", "/orders")] == [200, 429]
    api.delete("/_limits")
    assert [limit["path"] for limit in api.read("/_limits")] == ["/events"]


def test_who_is_unknown_uses_nothing_up(api: Api) -> None:
    api.post("/_limits", path="/orders", requests=1, per_s=60)
    assert api.get("/orders", key=False).status_code == 401
    assert api.get("/orders").status_code == 200


def test_a_path_means_every_spelling_of_the_list() -> None:
    assert matches("/orders", "/next/orders")
    assert matches("/next/orders", "/next/orders")
    assert not matches("/next/orders", "/orders")
    assert not matches("/orders", "/orders/1/lines")
    assert matches("/orders/*/lines", "/link/orders/1/lines")


def test_requests_are_counted_by_path_status_and_arrival(shared_api: Api) -> None:
    now = 5.0
    shared_api.serve(World(customers=1, orders=2, events=1), clock=lambda: now)
    shared_api.get("/orders")
    now = 6.5
    shared_api.get("/orders/1/lines")
    shared_api.get("/orders/2/lines", key=False)
    shared_api.get("/no/such")
    assert shared_api.read("/_requests") == {
        "total": 4,
        "refresh_reuse": 0,
        "by_path": {
            "(unknown)": {"404": 1},
            "/orders": {"200": 1},
            "/orders/{order_id}/lines": {"200": 1, "401": 1},
        },
        "times": [
            [5.0, "/orders", 200],
            [6.5, "/orders/{order_id}/lines", 200],
            [6.5, "/orders/{order_id}/lines", 401],
            [6.5, "(unknown)", 404],
        ],
    }
    shared_api.delete("/_requests")
    assert shared_api.read("/_requests", times=0) == {
        "total": 0,
        "refresh_reuse": 0,
        "by_path": {},
    }
