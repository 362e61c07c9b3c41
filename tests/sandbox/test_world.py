"""The data: repeatable, moving, light, and its truth is what the lists say."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_saas.sandbox import table
from tap_saas.sandbox.lists import Query, take
from tap_saas.sandbox.world import STREAMS, World

from .conftest import Api, digest, orders_alone, walk

EVERYTHING = Query(style="cursor", sort="updated_at", limit=10_000)


def texts(world: World) -> list[bytes]:
    return [text for name in STREAMS for text in take(world.listing(name), EVERYTHING).texts]


def listed(api: Api, stream: str) -> list[tuple[str, str]]:
    """Key and version of every record, through the API."""
    if stream != "order_lines":
        records = [r for page in walk(api, "next", f"/{stream}", 500) for r in page]
        return [(str(r["id"]), r["updated_at"]) for r in records]
    keys = [key for key, _ in listed(api, "orders")]
    lines = [(key, line) for key in keys for line in api.read(f"/orders/{key}/lines")["data"]]
    return [(f"{key}:{line['line_no']}", line["updated_at"]) for key, line in lines]


@pytest.mark.parametrize("stream", [*STREAMS, "order_lines"])
def test_truth_is_what_is_listed(api: Api, stream: str) -> None:
    for _ in range(2):
        pairs = listed(api, stream)
        truth = api.read("/_truth", stream=stream, full=1)
        assert truth["count"] == len(pairs) == len(set(pairs)) > 30 - 1
        assert truth["digest"] == digest(pairs)
        assert truth["max_version"] == max(version for _, version in pairs)[:-1] + "000Z"
        assert sorted(map(tuple, truth["records"])) == sorted(
            (k, v[:-1] + "000Z") for k, v in pairs
        )
        api.post("/_world/change", stream="orders", update=20, insert=3)
        if stream in STREAMS:
            api.post("/_world/change", stream=stream, update=20, insert=3)


def test_truth_of_nothing(api: Api) -> None:
    api.serve(World(customers=0, orders=0, events=0))
    truth = api.read("/_truth", stream="orders")
    assert (truth["count"], truth["digest"], truth["max_version"]) == (0, digest([]), None)
    assert api.get("/_truth", stream="nix").status_code == 400


def test_same_seed_same_records() -> None:
    one, same, other = (
        texts(World(seed=seed, customers=20, orders=50, events=50)) for seed in (1, 1, 2)
    )
    assert one == same
    assert not set(one) & set(other)


def test_known_drift_and_ties_are_there(api: Api) -> None:
    api.serve(World(customers=0, orders=400, events=400))
    orders = api.read("/orders", sort="id", limit=400)["data"]
    discounts = [type(order["discount"]) for order in orders]
    assert discounts == [int] * 240 + [float] * 160
    assert {type(order["note"]) for order in orders} == {str, type(None)}
    assert len({order["updated_at"] for order in orders}) < 400
    values = [type(event["data"]["value"]) for event in api.read("/events", limit=400)["data"]]
    assert values.count(str) == 57
    assert set(values) == {int, str}


@settings(max_examples=30, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 70), st.integers(0, 5), st.integers(0, 40)), max_size=8
    )
)
def test_versions_only_grow_and_the_list_stays_in_order(
    changes: list[tuple[int, int, int]],
) -> None:
    now = 1_790_000_000_000
    world = orders_alone(60, clock_ms=lambda: now)
    newest = world.truth("orders").max_version or ""
    for update, insert, pause_ms in changes:
        now += pause_ms
        before = dict(world.truth("orders").pairs())
        change = world.change("orders", update=update, insert=insert)
        after = dict(world.truth("orders").pairs())
        touched = change.updated + change.inserted
        stamps = [after[key] for key in touched]
        assert stamps == sorted(set(stamps))
        assert all(stamp > newest for stamp in stamps)
        newest = max([newest, *stamps])
        assert {key for key in after if before.get(key) != after[key]} == set(touched)
        keys = list(world.listing("orders").keys)
        assert keys == sorted(keys)
        assert len(keys) == len(after)


def test_change_answers_when_its_stamps_have_passed(api: Api) -> None:
    world = orders_alone(60)
    api.serve(world)
    api.post("/_world/change", stream="orders", update=60)
    assert world.ahead_s() == 0


def test_large_change_stays_within_a_second_of_the_clock() -> None:
    world = orders_alone(5_000, clock_ms=lambda: 1_790_000_000_000)
    assert len(set(world.change("orders", update=5_000).updated)) == 5_000
    assert 0.5 < world.ahead_s() <= 1.0


def test_new_field_stays_with_the_records_that_gained_it(api: Api) -> None:
    change = api.post("/_world/change", stream="orders", update=7, new_field=True)
    api.post("/_world/change", stream="orders", update=60)
    have = {str(r["id"]) for r in api.read("/orders")["data"] if "channel" in r}
    assert have == set(change["updated"])


def test_update_changes_content_and_insert_adds_at_the_end(api: Api) -> None:
    before = {r["id"]: r for r in api.read("/events")["data"]}
    api.post("/_world/change", stream="events", update=40, insert=2)
    after = {r["id"]: r for r in api.read("/events")["data"]}
    assert set(after) - set(before) == {"evt_000041", "evt_000042"}
    assert all(after[key]["updated_at"] > before[key]["updated_at"] for key in before)
    assert sum(after[key]["data"] != before[key]["data"] for key in before) > 30


@pytest.mark.parametrize("stream", STREAMS)
def test_late_version_is_older_and_on_a_later_page(api: Api, stream: str) -> None:
    truth = api.read("/_truth", stream=stream)
    ids = api.post("/_world/late", stream=stream, n=3)["late"]
    pages = list(walk(api, "cursor", f"/{stream}", 10))
    met: dict[str, list[tuple[int, str]]] = {}
    for number, page in enumerate(pages):
        for record in page:
            met.setdefault(str(record["id"]), []).append((number, record["updated_at"]))
    twice = {key: found for key, found in met.items() if len(found) > 1}
    assert sorted(twice) == sorted(ids)
    for (first, newest), (later, older) in twice.values():
        assert first < later
        assert newest > older
    assert api.read("/_truth", stream=stream) == truth
    assert api.read(f"/{stream}", sort="id")["total"] == truth["count"]


def test_late_version_is_seen_by_a_reader_of_changes(api: Api) -> None:
    since = api.read("/_truth", stream="customers")["max_version"]
    api.post("/_world/late", stream="customers", n=2)
    records = api.read("/customers", updated_after=since)["data"]
    assert len(records) >= 2
    assert all(record["updated_at"] < since for record in records[-2:])


def test_churn_goes_on_until_it_is_stopped(api: Api) -> None:
    api.post("/_world/churn", stream="customers", every_ms=1)
    seen: set[str] = set()
    while len(seen) < 4:
        seen.add(api.read("/_truth", stream="customers")["digest"])
    api.delete("/_world/churn")
    (shown,) = api.read("/_world")["churn"]
    assert not shown["is_running"]
    assert shown["changed"] >= 3
    still = {api.read("/_truth", stream="customers")["digest"] for _ in range(10)}
    assert len(still) == 1


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/_world/change", {"stream": "oddities", "update": 1}),
        ("/_world/change", {"stream": "orders", "update": -1}),
        ("/_world/change", {"stream": "orders", "remove": 1}),
        ("/_world/change", {"stream": "orders", "delete": ["1", True]}),
        ("/_world/change", {"stream": "orders", "delete": ["61"]}),
        ("/_world/change", {"stream": "orders", "restore": [1]}),
        ("/_world/change", {"stream": "orders", "update": ["x"]}),
        ("/_world/forget", {"keep": -1}),
        ("/_webhooks", {"double_every": "2"}),
        ("/_world/change", {"stream": "orders", "insert": 5_000_000}),
        ("/_world/late", {"stream": "orders", "n": "3"}),
        ("/_world/churn", {"stream": "orders", "every_ms": 0}),
        ("/_limits", {"requests": 5}),
    ],
)
def test_wrong_orders_are_refused(api: Api, path: str, members: dict[str, Any]) -> None:
    response = api.session.post(api.url + path, json=members, timeout=5)
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}


def test_rendered_records_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CACHE_BYTES", 150_000)
    world = orders_alone(3_000)
    listing = world.listing("orders")
    tracemalloc.start()
    try:
        for slot in range(3_000):
            listing.render(slot)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 300_000


def test_stale_text_is_never_served_from_the_cache() -> None:
    world = orders_alone(20)
    before = take(world.listing("orders"), EVERYTHING).texts
    world.change("orders", update=20)
    assert not set(before) & set(take(world.listing("orders"), EVERYTHING).texts)
