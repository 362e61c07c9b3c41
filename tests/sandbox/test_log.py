"""The event log: in order, in both directions, late where it is told to be, and forgetful."""

from __future__ import annotations

from typing import Any

from tap_saas.sandbox import log
from tap_saas.sandbox.world import World

from .conftest import Api, orders_alone, walk


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events]


def read(api: Api, **params: Any) -> list[int]:
    return seqs([event for page in walk(api, "cursor", "/log", 4, **params) for event in page])


def test_every_change_is_an_event_with_the_record_as_it_was(api: Api) -> None:
    api.post("/_world/change", stream="orders", update=["5"])
    first = api.read("/orders/5")
    api.post("/_world/change", stream="orders", update=["5"], delete=["6"])
    api.post("/_world/change", stream="customers", insert=1, update=["2"])
    api.post("/_world/change", stream="orders", restore=["6"])
    api.post("/_world/change", stream="events", update=3, insert=1)
    events = api.read("/log")["data"]
    assert [event["type"] for event in events] == [
        "order.updated",
        "order.updated",
        "order.deleted",
        "customer.updated",
        "customer.created",
        "order.restored",
    ]
    assert seqs(events) == [1, 2, 3, 4, 5, 6]
    assert events[0]["data"]["object"] == first
    assert events[1]["data"]["object"] == api.read("/orders/5")
    assert events[2]["data"]["object"] == {"id": 6}
    assert all(event["occurred_at"][:19] for event in events)
    for event in events:
        record = event["data"]["object"]
        assert record.get("updated_at", event["occurred_at"]) == event["occurred_at"]


def test_all_ways_through_the_log(api: Api) -> None:
    api.post("/_world/change", stream="orders", update=11)
    everything = list(range(1, 12))
    assert read(api) == everything
    assert read(api, sort="seq") == everything
    assert read(api, sort="-created") == everything[::-1]
    assert seqs(api.read("/log", after="7")["data"]) == everything[7:]
    assert seqs(api.read("/log", after="0", limit=3)["data"]) == [1, 2, 3]
    fifth = api.read("/log", limit=5)["data"][-1]["occurred_at"]
    assert read(api, created_after=fifth) == everything[4:]
    assert read(api, created_before=fifth) == everything[:4]
    assert api.get("/log", sort="updated_at").status_code == 400
    assert api.get("/log", key=False).status_code == 401


def test_held_events_come_after_younger_ones(api: Api) -> None:
    api.post("/_world/hold", n=2)
    api.post("/_world/change", stream="orders", update=4)
    assert read(api) == [3, 4]
    cursor = api.read("/log", limit=1)["next_cursor"]
    assert api.read("/_world")["log"]["held"] == [1, 2]
    assert api.post("/_world/release")["released"] == [1, 2]
    assert read(api) == [1, 2, 3, 4]
    assert seqs(api.read("/log", cursor=cursor)["data"]) == [4]
    api.post("/_world/change", stream="orders", update=1)
    assert read(api)[-1] == 5


def test_old_events_are_forgotten(api: Api) -> None:
    api.post("/_world/change", stream="orders", update=9)
    assert api.post("/_world/forget", keep=2) == {"events": 2}
    assert read(api) == [8, 9]
    assert seqs(api.read("/log", after="3")["data"]) == [8, 9]


def test_the_log_is_bounded() -> None:
    world = orders_alone(2_000)
    for _ in range(28):
        world.change("orders", update=2_000)
    assert log.KEPT <= len(world.log) <= log.KEPT * 1.1
    assert world.log.entry(56_000).seq == 56_000


def test_the_same_seed_chooses_the_same_records() -> None:
    """What the log and deletes came to later must not have changed what numbers choose."""
    world = World(seed=7, customers=30, orders=60, events=40)
    change = world.change("orders", update=5, insert=2)
    assert change.updated == ["21", "10", "26", "42", "4"]
    assert change.inserted == ["61", "62"]
