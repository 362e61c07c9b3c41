"""Deleted records: in no list, marked in one, listed by themselves, and back again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_saas.sandbox.lists import Query, take
from tap_saas.sandbox.world import World

from .conftest import Api, digest, orders_alone, walk


def ids(records: list[dict[str, Any]]) -> set[str]:
    return {str(record["id"]) for record in records}


@pytest.mark.parametrize("kind", ["next", "page", "offset", "seek", "cursor"])
def test_deleted_are_in_no_list_and_not_in_the_truth(api: Api, kind: str) -> None:
    gone = api.post("/_world/change", stream="orders", delete=9)["deleted"]
    sorting = {"sort": "id"} if kind == "seek" else {}
    records = [r for page in walk(api, kind, "/orders", 10, **sorting) for r in page]
    assert len(records) == 60 - 9
    assert not ids(records) & set(gone)
    truth = api.read("/_truth", stream="orders")
    pairs = [(str(record["id"]), record["updated_at"]) for record in records]
    assert (truth["count"], truth["digest"]) == (51, digest(pairs))
    assert api.read("/_world")["streams"]["orders"] == 51


def test_deleted_by_id_is_a_404_and_so_are_its_lines(api: Api) -> None:
    record = api.read("/orders/7")
    assert record["id"] == 7
    api.post("/_world/change", stream="orders", delete=["7"])
    assert api.get("/orders/7").status_code == 404
    assert api.get("/orders/7/lines").status_code == 404
    assert api.get("/orders/nix").status_code == 404
    assert ids(api.read("/orders", ids="6,7,8,6")["data"]) == {"6", "8"}
    lines = api.read("/_truth", stream="order_lines", full=1)["records"]
    assert not [key for key, _ in lines if key.startswith("7:")]


def test_marked_list_has_the_deleted_at_the_time_of_their_deletion(api: Api) -> None:
    api.post("/_world/change", stream="customers", update=3)
    before = api.read("/customers/4")
    since = api.read("/_truth", stream="customers")["max_version"]
    api.post("/_world/change", stream="customers", delete=["4"])
    api.post("/_world/change", stream="customers", update=["5"])
    shown = api.read("/customers", include_deleted="true", updated_after=since)["data"]
    flags = [(record["id"], record["is_deleted"]) for record in shown]
    assert flags[-2:] == [(4, True), (5, False)]
    (gone,) = (record for record in shown if record["is_deleted"])
    assert gone["updated_at"] == gone["deleted_at"] > before["updated_at"]
    assert {**before, "updated_at": gone["updated_at"]}.items() <= gone.items()
    assert len(api.read("/customers", include_deleted="true", sort="id")["data"]) == 30


def test_list_of_deleted_begins_where_it_is_asked_to(api: Api) -> None:
    for key in ("3", "9", "1"):
        api.post("/_world/change", stream="orders", delete=[key])
    gone = api.read("/orders/deleted")["data"]
    assert [record["id"] for record in gone] == [3, 9, 1]
    later = api.read("/orders/deleted", since=gone[1]["deleted_at"])["data"]
    assert later == gone[1:]
    assert [len(page) for page in walk(api, "cursor", "/orders/deleted", 2)] == [2, 1]


def test_restored_is_a_new_version(api: Api) -> None:
    (key,) = api.post("/_world/change", stream="orders", delete=1)["deleted"]
    (gone,) = api.read("/orders/deleted")["data"]
    assert api.post("/_world/change", stream="orders", restore=1)["restored"] == [key]
    assert api.read(f"/orders/{key}")["updated_at"] > gone["updated_at"]
    assert api.read("/orders/deleted")["data"] == []
    assert api.read("/_truth", stream="orders")["count"] == 60


def test_stale_copy_of_a_deleted_record_is_gone_too(api: Api) -> None:
    late = api.post("/_world/late", stream="orders", n=3)["late"]
    api.post("/_world/change", stream="orders", delete=late)
    assert not ids(api.read("/orders", limit=100)["data"]) & set(late)
    api.post("/_world/change", stream="orders", restore=late)
    assert len(api.read("/orders", limit=100)["data"]) == 60


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["update", "insert", "delete", "restore"]), st.integers(0, 9)),
        max_size=12,
    )
)
def test_lists_and_log_follow_every_change(steps: list[tuple[str, int]]) -> None:
    world = orders_alone(20, clock_ms=lambda: 1_790_000_000_000)
    for verb, n in steps:
        world.change("orders", **{verb: n})
        everything = Query(style="cursor", sort="updated_at", limit=10_000)
        texts = take(world.listing("orders"), everything).texts
        assert len(texts) == world.sizes()["orders"] == len(world.truth("orders").lines)
        keys = list(world.listing("orders", with_deleted=True).keys)
        assert keys == sorted(keys)
        assert len(keys) == len(texts) + len(world.deleted("orders").keys)
        assert replayed(world) <= set(texts)


def replayed(world: World) -> set[bytes]:
    """The records that the log leaves when each event replaces what was known of its record."""
    known: dict[int, bytes] = {}
    for seq in world.log.by_id(0, len(world.log)):
        entry = world.log.entry(seq)
        known[entry.draft.slot] = b"" if entry.type.endswith("deleted") else entry.record()
    return set(known.values()) - {b""}
