"""Events into tables: routed, asked for, put off, given up, gone, and never lost silently."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from push_api import NAMED, Shop, shop, shop_yaml
from sandbox_api import Answer, serve
from singer_output import identity

from tap_saas.errors import ApiError, StateError
from tap_saas.sandbox.world import World
from tap_saas.sync.details import ATTEMPTS, Want, is_outage, keep_pending, read_pending
from tap_saas.sync.event_feed import Came
from tap_saas.sync.queue_feed import QueueFeed

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def sells(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path) as made:
        yield made


def pending(mill: Shop) -> list[Any]:
    found: list[Any] = mill.kept()["bookmarks"]["webhooks.main"]["pending"]
    return found


def drained(mill: Shop, **more: Any) -> list[dict[str, Any]]:
    """Drain the queue, take the state as proven, give the customers that were written."""
    done = mill.drain(**more)
    assert done.code == 0, done.told
    mill.keep_state(done)
    return done.records("customers")


def test_records_and_tombstones_come_as_events_say(sells: Shop) -> None:
    change = sells.world.change("orders", update=3, insert=1, delete=1)
    sells.receive(sells.new_events())
    done = sells.drain()
    (gone,) = change.deleted
    *written, last = done.records("orders")
    assert [str(row["id"]) for row in written] == change.updated + change.inserted
    assert all("_sdc_deleted_at" not in row for row in written)
    assert str(last["id"]) == gone
    assert last.keys() == {"id", "updated_at", "_sdc_deleted_at"}
    assert last["updated_at"][:23] == last["_sdc_deleted_at"][:23]
    assert last["updated_at"][23:] == "999Z", "the END of the millisecond"
    done.assert_singer()


def test_what_an_event_only_names_is_asked_for_once(sells: Shop) -> None:
    sells.world.change("customers", update=["3"])
    sells.world.change("customers", update=["3", "4"])
    sells.receive(sells.new_events())
    rows = drained(sells)
    truth = dict(sells.box.truth("customers"))
    assert {str(row["id"]): row["updated_at"] for row in rows} == {k: truth[k] for k in ("3", "4")}
    assert len(sells.box.arrivals("/customers/{id}")) == 2


def test_an_older_event_that_comes_later_is_asked_for_anew_or_written_as_it_came(
    sells: Shop,
) -> None:
    versions = []
    for _ in range(2):
        sells.world.change("customers", update=["3"])
        sells.world.change("orders", update=["3"])
        versions.append(sells.new_events())
    for version in reversed(versions):
        sells.receive(version)
        done = sells.drain()
        sells.keep_state(done)
        truth = [one for one in sells.box.truth("customers") if one[0] == "3"]
        assert done.versions("customers") == truth, "as it is now"
        (told,) = (json.loads(entry.text()) for entry in version if b'"order.' in entry.text())
        assert done.versions("orders") == [identity(told["data"]["object"])]


def test_gone_is_a_tombstone_as_new_as_the_answer(sells: Shop) -> None:
    sells.world.change("customers", update=["5"])
    sells.receive(sells.new_events())
    sells.world.change("customers", delete=["5"])
    (row,) = drained(sells, after=DAY)
    assert row.keys() == {"id", "updated_at", "_sdc_deleted_at"}
    at = datetime.fromisoformat(row["updated_at"])
    assert abs(at - datetime.now(UTC)) < 5 * MINUTE, "by the API's clock, not by ours"
    assert row["updated_at"][19:] == ".999999Z", "the END of the answer's second"
    assert row["updated_at"] > sells.box.tell("GET", "/_truth?stream=customers")["max_version"]


def test_a_failed_request_waits_its_time_and_is_asked_again(sells: Shop) -> None:
    sells.world.change("customers", update=["1", "2"])
    sells.receive(sells.new_events())
    sells.box.fault("/customers/1", "503", times=None)
    assert [row["id"] for row in drained(sells)] == [2]
    ((_, _, values, _, offset, attempts, _),) = pending(sells)
    assert (json.loads(values), offset, attempts) == ({"id": 1}, 1, 1)
    sells.box.calm()
    assert drained(sells, after=MINUTE) == [], "two minutes have not passed"
    assert len(pending(sells)) == 1
    assert sells.box.arrivals("/customers/{id}") == []
    assert [row["id"] for row in drained(sells, after=3 * MINUTE)] == [1]
    assert pending(sells) == []


def test_after_its_attempts_it_is_a_reject(sells: Shop) -> None:
    sells.world.change("customers", update=["1"])
    sells.receive(sells.new_events())
    sells.box.fault("/customers/1", "503", times=None)
    waited = timedelta(0)
    for attempt in range(1, ATTEMPTS + 1):
        sells.world.change("customers", update=["2"])
        sells.receive([e for e in sells.new_events() if e.draft.slot == 1])
        done = sells.drain(after=waited)
        assert [row["id"] for row in done.records("customers")] == [2]
        sells.keep_state(done)
        assert len(pending(sells)) == (attempt < ATTEMPTS)
        waited += timedelta(hours=1, seconds=1)
    (reject,) = done.records("_rejects")
    assert (reject["error"], reject["stream"]) == ("not_fetched", "webhooks.main")
    assert json.loads(reject["payload"]) == {"id": 1}


def test_an_api_that_is_down_stops_the_source_and_loses_nothing(
    sells: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = QueueFeed.pages

    def three_at_once(feed: QueueFeed) -> Iterator[Came]:
        feed._queue.read = partial(feed._queue.read, max_events=3)  # type: ignore[method-assign]
        yield from read(feed)

    monkeypatch.setattr(QueueFeed, "pages", three_at_once)
    sells.world.change("customers", update=["1", "2", "3", "4", "5"])
    sells.world.change("orders", update=["1"])
    sells.receive(sells.new_events())
    sells.box.fault("*", "503", times=None)
    for hours in range(10):
        done = sells.drain(after=timedelta(hours=hours))
        assert done.code == ApiError.exit_code
        sells.keep_state(done)
        assert len(pending(sells)) == min(3 * hours + 3, 5)
        assert done.records("_rejects") == []
    sells.box.calm()
    assert {row["id"] for row in drained(sells, after=DAY)} == {1, 2, 3, 4, 5}
    assert pending(sells) == []


def test_a_record_that_waits_alone_blocks_nothing(sells: Shop) -> None:
    sells.world.change("customers", update=["1"])
    sells.world.change("orders", update=["1"])
    sells.receive(sells.new_events())
    sells.box.fault("/customers/1", "503", times=None)
    done = sells.drain()
    assert done.code == ApiError.exit_code
    assert len(done.records("orders")) == 1
    sells.keep_state(done)
    sells.world.change("orders", update=["2", "3"])
    sells.receive(sells.new_events())
    done = sells.drain()
    assert done.code == 0
    assert [row["id"] for row in done.records("orders")] == [2, 3]


def test_a_record_waits_once_however_many_events_name_it(sells: Shop) -> None:
    sells.box.fault("/customers/1", "503", times=None)
    for attempts in (1, 2, 3):
        sells.world.change("customers", update=["1"])
        sells.world.change("customers", update=["1", "2"])
        sells.receive(sells.new_events())
        drained(sells)
        (want,) = pending(sells)
        assert want[5] == attempts
    assert len(sells.box.arrivals("/customers/{id}")) == 6


def test_one_record_that_is_refused_stops_nothing(sells: Shop) -> None:
    """The only thing that is asked for is refused: that is about this record, no outage."""
    sells.world.change("customers", update=["1"])
    sells.world.change("orders", update=1)
    text = sells.yaml.read_text().replace("records: $,", "records: $, gone: [],")
    sells.yaml.write_text(text)
    sells.world.change("customers", delete=["1"])
    sells.receive(sells.new_events())
    done = sells.drain()
    assert done.code == 0
    assert len(done.records("orders")) == 1
    sells.keep_state(done)
    assert {json.loads(want[2])["id"] for want in pending(sells)} == {1}


@pytest.mark.parametrize(
    ("status", "told"),
    [(None, True), (500, True), (200, True), (401, True), (429, True), (404, False), (422, False)],
)
def test_which_failures_are_outages(status: int | None, told: bool) -> None:
    assert is_outage(ApiError("no", status=status)) is told


def test_too_many_that_wait_stop_the_source(sells: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_saas.sync.landing.MAX_PENDING", 2)
    sells.world.change("customers", update=["1", "2", "3", "4"])
    sells.receive(sells.new_events())
    for key in (1, 2, 3):
        sells.box.fault(f"/customers/{key}", "500", times=None)
    done = sells.drain()
    assert done.code == ApiError.exit_code
    assert "3 records of events could not be asked for" in done.told
    assert done.last_state["bookmarks"]["webhooks.main"]["queue"] == []


def test_what_no_route_can_take_is_a_reject_and_the_rest_goes_on(sells: Shop) -> None:
    sells.world.change("orders", update=1)
    (entry,) = sells.new_events()
    event = json.loads(entry.text())
    bad = [
        b"no json",
        b"[1, 2]",
        json.dumps({**event, "data": {}}).encode(),
        json.dumps({**event, "occurred_at": "yesterday"}).encode(),
        json.dumps({**event, "type": "invoice.paid"}).encode(),
        b'{"id": "e", "type": "customer.deleted", "data": {"object": {}}}',
    ]
    sells.receive_bodies([*bad, entry.text()])
    done = sells.drain()
    assert done.code == 0
    assert len(done.records("orders")) == 1
    errors = [row["error"] for row in done.records("_rejects")]
    assert errors == ["bad_event", "missing_field", "missing_field", "bad_date", "missing_field"]


def test_a_form_is_read_too(sells: Shop) -> None:
    form = b"id=e&type=customer.touched&occurred_at=2026-01-01T00%3A00%3A00Z&key=3"
    sells.yaml.write_text(sells.yaml.read_text().replace("$.data.object.id", "$.key"))
    sells.receive_bodies([form], headers={"content-type": "application/x-www-form-urlencoded"})
    assert [row["id"] for row in drained(sells)] == [3]


DECIMALS = """\
  orders:
    path: /orders
    pagination: {type: single}
    version: rev
    incremental: null
    schema:
      type: object
      properties:
        id: {type: integer}
        rev: {type: number}
"""


def test_numbers_keep_every_digit_on_the_way(tmp_path: Path) -> None:
    exact = b"12345678901234567.123456789"
    body = b'{"data":[]}'
    with serve(lambda path: Answer(body)) as url:
        routes = "      - {stream: orders, record: $.data}\n"
        text = shop_yaml(DECIMALS, routes).replace(
            "    id: $.id\n    type: $.type\n    time: $.occurred_at\n", ""
        )
        mill = Shop(tmp_path, World(customers=0, orders=0, events=0), url, text)
        mill.receive_bodies([b'{"data":{"id":1,"rev":1.5,"amount":%s}}' % exact])
        assert b'"amount":"%s"' % exact in mill.drain().out


GONE_BY_NUMBER = """\
      - stream: orders
        record: {id: $.id, rev: $.rev}
        fetch: {path: "/orders/{id}", records: $, values: {id: $.id}}
"""


def test_a_decimal_version_waits_in_the_state_as_it_is(tmp_path: Path) -> None:
    answers = {"/orders/1": Answer(b"{}", 500), "/orders/2": Answer(b"{}", 404)}
    with serve(lambda path: answers.get(path, Answer(b'{"data":[]}'))) as url:
        text = shop_yaml(DECIMALS, GONE_BY_NUMBER).replace(
            "    id: $.id\n    type: $.type\n    time: $.occurred_at\n", ""
        )
        mill = Shop(tmp_path, World(customers=0, orders=0, events=0), url, text)
        mill.receive_bodies([b'{"id":1,"rev":1.10}', b'{"id":2,"rev":2.30}'])
        done = mill.drain()
        assert b'"rev":2.30' in done.out
        mill.keep_state(done)
        answers["/orders/1"] = Answer(b"{}", 404)
        assert b'"rev":1.10' in mill.drain(after=DAY).out


json_values = st.one_of(
    st.integers(-(2**63), 2**63),
    st.text(),
    st.booleans(),
    st.decimals(allow_nan=False, allow_infinity=False),
)
wants = st.builds(
    Want,
    route=st.integers(0, 5),
    stream=st.text(),
    values=st.dictionaries(st.text(), json_values, max_size=3),
    known=st.dictionaries(st.text(), json_values, max_size=3),
    offset=st.none() | st.integers(1),
    attempts=st.integers(0, 9),
    not_before=st.none() | st.just("2026-01-01T00:00:00Z"),
)


@given(st.lists(wants, max_size=3))
def test_pending_goes_through_state_unchanged(found: list[Want]) -> None:
    kept = json.loads(json.dumps(keep_pending(found)))
    again = read_pending(kept, "webhooks.main")
    assert again == found
    digits = [[str(v) for v in want.known.values() if isinstance(v, Decimal)] for want in found]
    decimals = [
        [str(want.known[n]) for n, v in of.known.items() if isinstance(v, Decimal)]
        for want, of in zip(again, found, strict=True)
    ]
    assert decimals == digits


def test_a_broken_pending_is_one_clear_line(sells: Shop) -> None:
    sells.receive_bodies([b"{}"])
    for broken in ([["no"]], [[0, "customers", "{", "{}", 1, 0, None]]):
        sells.state.write_text(json.dumps({"bookmarks": {"webhooks.main": {"pending": broken}}}))
        done = sells.drain()
        assert done.code == StateError.exit_code
        assert "pending cannot be read" in done.told


BATCHED = """\
      - types: ["customer.*"]
        stream: customers
        fetch: {path: /customers, params: {ids: "{id}", arrays: comma}, records: $.data,
          values: {id: $.data.object.id}, batch: 3}
"""


def test_many_are_asked_for_at_once_and_what_the_answer_lacks_is_gone(tmp_path: Path) -> None:
    with shop(tmp_path, shop_yaml(routes=BATCHED)) as mill:
        mill.world.change("customers", update=["1", "2", "3", "4", "5"])
        mill.receive(mill.new_events())
        mill.world.change("customers", delete=["2", "5"])
        mill.box.calm()
        rows = drained(mill)
        gone = {row["id"] for row in rows if "_sdc_deleted_at" in row}
        assert gone == {2, 5}
        assert {row["id"] for row in rows} - gone == {1, 3, 4}
        assert len(mill.box.arrivals("/customers")) == 2


def test_values_that_are_no_columns_stay_out_of_the_record(tmp_path: Path) -> None:
    named = NAMED.replace("{id}", "{nr}").replace("values: {id:", "gone: [], values: {nr:")
    with shop(tmp_path, shop_yaml(routes=named)) as mill:
        mill.world.change("customers", update=["1"])
        mill.receive(mill.new_events())
        (row,) = drained(mill)
        assert "nr" not in row
        assert row["id"] == 1


def test_an_answer_without_any_that_was_asked_for_deletes_nothing(tmp_path: Path) -> None:
    routes = BATCHED.replace("{ids: ", "{first: ")
    with shop(tmp_path, shop_yaml(routes=routes)) as mill:
        mill.world.change("customers", insert=2)
        mill.receive(mill.new_events())
        text = mill.yaml.read_text().replace("{first: ", "{limit: 3, first: ")
        mill.yaml.write_text(text)
        done = mill.drain()
        assert done.code == ApiError.exit_code
        assert "none of the 2 records" in done.told
        assert done.records("customers") == []
