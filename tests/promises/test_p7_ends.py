"""P7 and the ends of a run: stdout is Singer alone, whole lines, a STATE that goes on."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Child, Pipeline
from sandbox_api import Sandbox, connector, sandbox
from singer_output import Done, identity

STREAMS = ("customers", "orders", "order_lines")
CONNECTOR = """\
  customers:
    path: /customers
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
  order_lines:
    path: /orders/{order_id}/lines
    pagination: {size: {value: 100}}
    primary_key: [order_id, line_no]
    version: updated_at
    parents: [{stream: orders, values: {order_id: $.id}}]
"""
ORDERS = "  orders:\n    path: /orders\n"
SIGTERM = 128 + signal.SIGTERM
TARGET_GONE = 9


def keys(done: Done, stream: str) -> set[str]:
    """The keys of a stream's records, as the sandbox writes them."""
    return {identity(record)[0] for record in done.records(stream)}


def truth(box: Sandbox, stream: str) -> set[str]:
    return {key for key, _ in box.truth(stream)}


def read_lines(tap: Child, n: int) -> bytes:
    """The first lines that a tap writes; it goes on."""
    return b"".join(tap.stdout.readline() for _ in range(n))


def ended(tap: Child, out: bytes) -> Done:
    out += tap.stdout.read()
    return Done(tap.wait(), out, tap.told())


def keep(shop: Pipeline, done: Done) -> None:
    """What a target that has written everything would echo."""
    shop.state.write_text(json.dumps(done.last_state))


def test_the_smallest_limit_of_requests_still_comes_to_the_end(folder: Path) -> None:
    # The first stream has its whole list read in every run: as much as the limit allows.
    whole = re.sub("    incremental: .* order: asc}\n", "", CONNECTOR)
    with sandbox(customers=10, orders=2, events=0) as box:
        shop = Pipeline(folder, box.url, connector(whole, size=5))
        assert shop.tap("--discover").code == 0
        shop.configure(max_requests=2)
        wanted = {stream: truth(box, stream) for stream in STREAMS}
        seen: dict[str, set[str]] = {stream: set() for stream in STREAMS}
        for _ in range(5):
            done = shop.tap()
            assert done.code == 0, done.told
            assert any("incomplete: max_requests is reached" in line for line in done.warnings)
            for stream in STREAMS:
                seen[stream] |= keys(done, stream)
            keep(shop, done)
            if seen == wanted:
                break
        assert seen == wanted
        shop.configure()
        assert shop.tap().code == 0


def test_a_longest_duration_ends_a_run_resumably_with_the_code_that_was_asked_for(
    folder: Path, box: Sandbox
) -> None:
    box.fault("/orders", "slow", times=None, delay_ms=150)
    limits = {"max_duration": "600ms", "partial_exit": 12}
    shop = Pipeline(folder, box.url, connector(ORDERS, size=4), config=limits)
    first = shop.tap()
    assert first.code == 12, first.told
    assert len([line for line in first.warnings if "max_duration is reached" in line]) == 1
    box.calm()
    keep(shop, first)
    second = shop.tap()
    assert second.code == 0, second.told
    assert 0 < len(first.records("orders")) < 40
    assert len(first.records("orders")) + len(second.records("orders")) == 40
    assert keys(first, "orders") | keys(second, "orders") == truth(box, "orders")


def test_sigterm_ends_after_the_page_in_hand(folder: Path, box: Sandbox) -> None:
    box.fault("/orders", "slow", times=None, delay_ms=100)
    shop = Pipeline(folder, box.url, connector(ORDERS, size=4))
    tap = shop.start_tap()
    out = read_lines(tap, 12)
    tap.send(signal.SIGTERM)
    first = ended(tap, out)
    assert first.code == SIGTERM, first.told
    first.assert_singer()
    last = [message for message in first.messages if message.get("stream") != "_runs"][-1]
    assert last["type"] == "STATE"
    assert first.last_state["bookmarks"]["orders"]["resume"]
    assert not first.lines
    box.calm()
    keep(shop, first)
    second = shop.tap()
    assert len(first.records("orders")) + len(second.records("orders")) == 40
    assert keys(first, "orders") | keys(second, "orders") == truth(box, "orders")


@pytest.mark.parametrize("mode", [[], ["--discover"]])
def test_sigterm_ends_a_long_wait_at_once(mode: list[str], folder: Path, box: Sandbox) -> None:
    box.fault("/orders", "429", times=None, retry_after="seconds", after_s=30)
    shop = Pipeline(folder, box.url, connector(ORDERS))
    tap = shop.start_tap(*mode)
    while not box.arrivals("/orders"):
        time.sleep(0.05)
    time.sleep(0.2)
    began = time.monotonic()
    tap.send(signal.SIGTERM)
    done = ended(tap, b"")
    assert (done.code, done.lines) == (SIGTERM, [])
    assert time.monotonic() - began < 3
    done.assert_singer()


def test_no_line_is_cut_when_a_signal_meets_a_big_write(folder: Path) -> None:
    with sandbox(orders=4_000) as box:
        shop = Pipeline(folder, box.url, connector(ORDERS, size=500))
        tap = shop.start_tap(PYTHONUNBUFFERED="1")
        out = read_lines(tap, 20)
        for _ in range(5):  # the pipe is full, the tap is in the middle of a write of 120 KB
            time.sleep(0.1)
            tap.send(signal.SIGTERM)
        done = ended(tap, out)
        assert done.code == SIGTERM, done.told
        done.assert_singer()
        keep(shop, done)
        rest = shop.tap(PYTHONUNBUFFERED="1")
        assert keys(done, "orders") | keys(rest, "orders") == truth(box, "orders")
        assert len(done.records("orders")) + len(rest.records("orders")) == 4_000


def test_a_target_that_is_gone_is_one_line(folder: Path, box: Sandbox) -> None:
    shop = Pipeline(folder, box.url, connector(CONNECTOR))
    tap = shop.start_tap()
    read_lines(tap, 3)
    tap.stdout.close()
    done = Done(tap.wait(), b"", tap.told())
    assert done.code == TARGET_GONE, done.told
    assert len(done.lines) == 1
    assert "the target has closed its input" in done.lines[0]
    assert "Traceback" not in done.told
    assert "BrokenPipe" not in done.told


def test_discovery_about_and_test_modes_write_what_they_promise(folder: Path, box: Sandbox) -> None:
    shop = Pipeline(folder, box.url, connector(CONNECTOR))
    catalog = json.loads(shop.tap("--discover").out)
    assert {entry["tap_stream_id"] for entry in catalog["streams"]} == {
        *STREAMS,
        "_readings",
        "_rejects",
        "_runs",
    }
    about = json.loads(shop.tap("--about", "--format=json").out)
    assert {"connector", "settings", "home"} <= about["settings"]["properties"].keys()
    schemas = shop.tap("--test=schema")
    schemas.assert_singer()
    assert {message["type"] for message in schemas.messages} == {"SCHEMA"}
    probe = shop.tap("--test")
    assert probe.code == 0, probe.told
    probe.assert_singer()
    assert [len(probe.records(stream)) for stream in STREAMS] == [1, 1, 1]


def test_a_catalog_leaves_out_streams_and_properties_at_every_depth(
    folder: Path, box: Sandbox, database: str
) -> None:
    shop = Pipeline(folder, box.url, connector(CONNECTOR), database=database)
    catalog = json.loads(shop.tap("--discover").out)
    _deselect(catalog, "orders", [])
    _deselect(catalog, "customers", ["properties", "email"])
    _deselect(catalog, "customers", ["properties", "id"])
    _deselect(catalog, "order_lines", ["properties", "sku"])
    _deselect(catalog, "_readings", [])
    catalog["streams"] = [one for one in catalog["streams"] if one["tap_stream_id"] != "_runs"]
    file = folder / "catalog.json"
    file.write_text(json.dumps(catalog))
    done = shop.run("--catalog", str(file))
    done.assert_good()
    done.tap.assert_singer()
    assert not done.tap.records("orders")
    assert done.tap.records("_runs")
    assert keys(done.tap, "order_lines") == truth(box, "order_lines")
    customer = done.tap.records("customers")[0]
    assert "email" not in customer
    assert {"id", "updated_at", "name"} <= customer.keys()
    shop.assert_exact(box, "customers", "order_lines")
    columns = shop.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'customers'"
    )
    assert ("email",) not in columns


def _deselect(catalog: dict[str, Any], stream: str, breadcrumb: list[str]) -> None:
    entry = next(entry for entry in catalog["streams"] if entry["tap_stream_id"] == stream)
    for part in entry["metadata"]:
        if part["breadcrumb"] == breadcrumb:
            part["metadata"]["selected"] = False
            return
    entry["metadata"].append({"breadcrumb": breadcrumb, "metadata": {"selected": False}})


NESTED = """\
  customers:
    path: /customers
    schema:
      type: object
      properties:
        id: {type: integer}
        name: {type: string}
        country: {type: string}
        address:
          type: object
          properties: {street: {type: string}, city: {type: string}, zip: {type: string}}
        updated_at: {type: string, format: date-time}
    on_new_field: ignore
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
"""


def test_a_nested_property_can_be_left_out(folder: Path, box: Sandbox) -> None:
    shop = Pipeline(folder, box.url, connector(NESTED))
    catalog = json.loads(shop.tap("--discover").out)
    _deselect(catalog, "customers", ["properties", "address", "properties", "city"])
    file = folder / "catalog.json"
    file.write_text(json.dumps(catalog))
    done = shop.tap("--catalog", str(file))
    done.assert_singer()
    assert keys(done, "customers") == truth(box, "customers")
    assert done.records("customers")[0]["address"].keys() == {"street", "zip"}


def test_stream_maps_and_flattening_give_what_a_target_takes(
    folder: Path, box: Sandbox, database: str
) -> None:
    maps = {
        "customers": {
            "id": "id",
            "full_name": "name",
            "updated_at": "updated_at",
            "address": "address",
            "__filter__": "record['country'] != 'DE'",
            "__else__": "__NULL__",
        },
        "orders": "__NULL__",
    }
    config = {"stream_maps": maps, "flattening_enabled": True, "flattening_max_depth": 2}
    shop = Pipeline(folder, box.url, connector(NESTED), database=database, config=config)
    shop.prepare()
    done = shop.run()
    done.assert_good()
    done.tap.assert_singer()
    plain = Pipeline(folder / "plain", box.url, connector(NESTED)).tap().records("customers")
    wanted = {(r["id"], r["name"], r["address"]["city"]) for r in plain if r["country"] != "DE"}
    assert 0 < len(wanted) < len(plain)
    rows = shop.query("SELECT id, full_name, address__city FROM shop.customers")
    assert set(rows) == wanted
    assert not done.tap.records("orders")
    columns = {name for name in done.tap.records("customers")[0] if not name.startswith("_")}
    assert columns == {
        "id", "full_name", "updated_at", "address__street", "address__city", "address__zip",
    }  # fmt: skip


def test_stdout_has_nothing_but_singer_even_when_everything_is_logged(
    folder: Path, box: Sandbox
) -> None:
    shop = Pipeline(folder, box.url, connector(CONNECTOR))
    done = shop.tap(TAP_SAAS_LOGLEVEL="DEBUG")
    done.assert_singer()
    assert done.code == 0
    assert re.search(r"DEBUG .* GET http\S+/customers stream=customers page=1 ", done.told)
    for stream in STREAMS:
        assert keys(done, stream) == truth(box, stream)
