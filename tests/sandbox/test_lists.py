"""Every way to walk a list gives every record once; where records move, only some ways do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_saas.sandbox.world import World

from .conftest import Api, orders_alone, walk

WAYS: list[tuple[str, dict[str, Any]]] = [
    ("cursor", {}),
    ("cursor", {"sort": "-updated_at"}),
    ("cursor", {"sort": "id"}),
    ("page", {}),
    ("page", {"sort": "id"}),
    ("offset", {}),
    ("offset", {"sort": "-updated_at"}),
    ("seek", {"sort": "id"}),
    ("next", {}),
    ("link", {"sort": "id"}),
]
STABLE = [way for way in WAYS if way[0] in {"cursor", "next", "link"}]
few = settings(max_examples=12, deadline=None)


def in_order(records: list[Any], sort: str) -> bool:
    keys = [(r["updated_at"], r["id"]) if sort != "id" else r["id"] for r in records]
    return keys == sorted(keys, reverse=sort == "-updated_at")


@pytest.mark.parametrize(("kind", "params"), WAYS)
@few
@given(n=st.integers(0, 60), limit=st.integers(1, 65), seed=st.integers(0, 5))
def test_each_way_gives_every_record_once(
    shared_api: Api, kind: str, params: dict[str, Any], n: int, limit: int, seed: int
) -> None:
    shared_api.serve(World(seed=seed, customers=0, orders=0, events=n))
    pages = list(walk(shared_api, kind, "/events", limit, **params))
    records = [record for page in pages for record in page]
    assert sorted(r["id"] for r in records) == [f"evt_{i:06d}" for i in range(1, n + 1)]
    assert in_order(records, params.get("sort", "updated_at"))
    assert len(pages) == max(1, -(-n // limit))


@pytest.mark.parametrize(("kind", "params"), [way for way in WAYS if way[0] != "seek"])
def test_lines_are_a_list_like_any_other(api: Api, kind: str, params: dict[str, Any]) -> None:
    world = orders_alone(400)
    api.serve(world)
    long = max(range(1, 401), key=lambda i: sum(1 for _ in lines_of(world, i)))
    pages = list(walk(api, kind, f"/orders/{long}/lines", 7, **params))
    assert [len(page) for page in pages] == [7, 7, 7, 4]
    assert {line["line_no"] for page in pages for line in page} == set(range(1, 26))
    assert all("order_id" not in line for page in pages for line in page)


def lines_of(world: World, order_id: int) -> Iterable[int]:
    listing = world.lines(str(order_id))
    assert listing is not None
    return listing.keys


def test_lines_are_found_after_a_line_number(api: Api) -> None:
    total = api.read("/orders/3/lines")["total"]
    body = api.read("/orders/3/lines", after=1)
    assert [line["line_no"] for line in body["data"]] == list(range(2, total + 1))


def test_lines_of_no_order_are_not_found(api: Api) -> None:
    for order_id in ("61", "0", "-1", "x"):
        assert api.get(f"/orders/{order_id}/lines").status_code == 404


@few
@given(
    since=st.integers(0, 59),
    until=st.integers(0, 59),
    form=st.sampled_from(["iso", "iso_offset", "epoch_s", "epoch_ms"]),
    sort=st.sampled_from(["updated_at", "-updated_at", "id"]),
)
def test_filters_include_the_start_and_exclude_the_end(
    shared_api: Api, since: int, until: int, form: str, sort: str
) -> None:
    shared_api.serve(orders_alone(60))
    everything = shared_api.read("/orders", limit=500)["data"]
    start, end = everything[since]["updated_at"], everything[until]["updated_at"]
    body = shared_api.read(
        "/orders",
        limit=500,
        sort=sort,
        updated_after=written(start, form),
        updated_before=written(end, form),
        format=form.removesuffix("_offset"),
    )
    expected = {r["id"] for r in everything if start <= r["updated_at"] < end}
    assert {r["id"] for r in body["data"]} == expected
    assert body["total"] == len(expected)


def written(instant: str, form: str) -> str:
    moment = datetime.fromisoformat(instant)
    ms = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000 + 0.5)
    if form == "iso_offset":
        return instant.replace("Z", "+00:00")
    return {"iso": instant, "epoch_ms": str(ms), "epoch_s": f"{ms / 1000:.3f}"}[form]


def test_limit_is_capped_without_a_word(api: Api) -> None:
    api.serve(orders_alone(600))
    assert len(api.read("/orders")["data"]) == 100
    assert len(api.read("/orders", limit=9_999)["data"]) == 500
    assert api.read("/orders", page=2, per_page=9_999)["per_page"] == 500


def test_page_beyond_the_end_is_empty(api: Api) -> None:
    assert api.read("/orders", page=7, per_page=10)["data"] == []
    assert api.read("/orders", offset=60)["data"] == []
    assert api.read("/orders", after=60) == {"data": [], "has_more": False}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "0"}, "invalid_parameter"),
        ({"limit": "ten"}, "invalid_parameter"),
        ({"page": "0"}, "invalid_parameter"),
        ({"offset": "-1"}, "invalid_parameter"),
        ({"page": "1", "offset": "3"}, "invalid_parameter"),
        ({"after": "evt_000001"}, "invalid_parameter"),
        ({"sort": "amount"}, "invalid_parameter"),
        ({"after": "1", "sort": "updated_at"}, "invalid_parameter"),
        ({"updated_after": "2025-02-30"}, "invalid_parameter"),
        ({"updated_after": "2025-01-01", "format": "epoch_s"}, "invalid_parameter"),
        ({"updated_after": "NaN", "format": "epoch_s"}, "invalid_parameter"),
        ({"updated_after": "1", "format": "unix"}, "invalid_parameter"),
        ({"cursor": "not-one"}, "invalid_cursor"),
        ({"cursor": "aWQ6NQ"}, "invalid_cursor"),
    ],
)
def test_bad_parameters_are_named(api: Api, params: dict[str, str], code: str) -> None:
    response = api.get(f"/orders?{urlencode(params)}")
    assert (response.status_code, response.json()["error"]) == (400, code)


def test_next_and_link_keep_the_question_but_no_credential(api: Api) -> None:
    response = api.get("/next/orders", key=False, limit=5, sort="id", api_key="sandbox-key")
    address = response.json()["next"]
    assert address.startswith(f"{api.url}/next/orders?")
    assert "limit=5" in address
    assert "sort=id" in address
    assert "api_key" not in address
    assert api.get("/link/orders", page=2).status_code == 400


@pytest.mark.parametrize(("kind", "params"), STABLE)
@few
@given(limit=st.integers(1, 30), moves=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_cursor_loses_no_untouched_record(
    shared_api: Api, kind: str, params: dict[str, Any], limit: int, moves: list[int]
) -> None:
    world = orders_alone(60)
    shared_api.serve(world)
    touched: set[int] = set()
    seen: list[int] = []
    todo = list(moves)
    for page in walk(shared_api, kind, "/orders", limit, **params):
        seen += [record["id"] for record in page]
        if todo:
            change = world.change("orders", update=todo.pop(), insert=1)
            touched |= {int(text) for text in change.updated + change.inserted}
    for untouched in set(range(1, 61)) - touched:
        assert seen.count(untouched) == 1


def test_cursor_loses_nothing_while_the_server_churns(api: Api) -> None:
    api.serve(orders_alone(3_000))
    before = dict(api.read("/_truth", stream="orders", full=1)["records"])
    api.post("/_world/churn", stream="orders", every_ms=1, stop_after=200)
    seen = [r["id"] for page in walk(api, "cursor", "/orders", 20) for r in page]
    after = dict(api.read("/_truth", stream="orders", full=1)["records"])
    still = [int(key) for key, version in before.items() if after[key] == version]
    assert 3_000 - 200 <= len(still) < 3_000
    assert all(seen.count(key) == 1 for key in still)


def test_offset_skips_where_records_move_away(api: Api) -> None:
    world = orders_alone(60)
    api.serve(world)
    expected = [r["id"] for r in api.read("/orders", offset=10, limit=10)["data"]]
    first = {r["id"] for r in api.read("/orders", offset=0, limit=10)["data"]}
    moved = 0
    while not moved:
        moved = len(first & {int(key) for key in world.change("orders", update=1).updated})
    assert [r["id"] for r in api.read("/orders", offset=10, limit=10)["data"]] != expected


def test_total_counts_what_the_filter_lets_through(api: Api) -> None:
    body = api.read("/customers", updated_after="2100-01-01")
    assert body == {"data": [], "next_cursor": None, "has_more": False, "total": 0}


def test_every_answer_has_an_id_and_a_date(api: Api) -> None:
    answers = [api.get(path) for path in ("/", "/orders", "/nothing", "/orders?limit=x")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 400]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4
    assert all(answer.headers["Date"].endswith("GMT") for answer in answers)
