"""P7 and the ends of a run: stdout is Singer alone, whole lines, a STATE that goes on."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Done, Pipeline, Sandbox, connector, finish, sandbox

ORDERS = """\
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
STREAMS = ("customers", "orders", "order_lines")
SINGER = {"SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION"}


def keys(done: Done, stream: str) -> set[str]:
    """The keys of a stream's records, as the sandbox writes them."""
    if stream == "order_lines":
        return {f"{r['order_id']}:{r['line_no']}" for r in done.records(stream)}
    return {str(record["id"]) for record in done.records(stream)}


def last_state(done: Done) -> dict[str, Any]:
    """The last STATE of a run, as the state file would hold it."""
    states = [message["value"] for message in done.messages if message["type"] == "STATE"]
    return dict(states[-1])


def test_the_smallest_limit_of_requests_still_comes_to_the_end(folder: Path) -> None:
    with sandbox(customers=10, orders=4, events=0) as box:
        shop = Pipeline(folder, box.url, connector(ORDERS, size=5))
        shop.tap("--discover")
        shop.configure(max_requests=2)
        truth = {stream: {key for key, _ in box.truth(stream)} for stream in STREAMS}
        seen: dict[str, set[str]] = {stream: set() for stream in STREAMS}
        for _ in range(7):
            done = shop.tap()
            assert done.code == 0, done.told
            assert any("incomplete: max_requests is reached" in line for line in done.warnings)
            for stream in STREAMS:
                seen[stream] |= keys(done, stream)
            shop.state.write_text(json.dumps(last_state(done)))
            if seen == truth:
                break
        assert seen == truth
        shop.configure()
        assert shop.tap().code == 0
