"""P1: kill the tap or the target at any byte, any number of times: nothing is missing then."""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Death, Pipeline
from sandbox_api import Sandbox, connector, sandbox
from singer_output import canonical, identity

from tap_saas.sandbox.table import SLOT_BITS, SLOT_MASK

STREAMS = ("customers", "orders", "order_lines", "events")
CONNECTOR = connector(
    """\
  customers:
    path: /customers
    pagination: {size: {value: 7}}
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
  order_lines:
    path: /orders/{order_id}/lines
    pagination: {size: {value: 2}}
    primary_key: [order_id, line_no]
    version: updated_at
    parents: [{stream: orders, values: {order_id: $.id}}]
    schema:
      type: object
      properties:
        order_id: {type: integer}
        line_no: {type: integer}
        sku: {type: string}
        quantity: {type: integer}
        price: {type: number}
        updated_at: {type: string, format: date-time}
  events:
    path: /events
    pagination: {size: {value: 20}}
    incremental: {key: updated_at, start: {send: param:updated_after}, lag: 0s}
"""
)
KILLS = 10
KILLED = 128 + 9
Written = frozenset[tuple[str, str, str]]
"""(stream, key, version) of records that have left the tap."""


class Honesty:
    """Checks that no STATE line speaks of a record that was not written before it.

    A run goes on from what had been written when the state that it starts with was written.
    """

    def __init__(self) -> None:
        self._written: dict[str, Written] = {_text({}): frozenset()}

    def check(self, box: Sandbox, begun: dict[str, Any], messages: list[dict[str, Any]]) -> int:
        """Check the output of a run that began with a state; how many STATE lines it had."""
        truths = {stream: box.truth(stream) for stream in STREAMS}
        written = set(self._written[_text(begun)])
        states = 0
        for message in messages:
            if message["type"] == "RECORD" and message["stream"] in STREAMS:
                written.add((message["stream"], *identity(message["record"])))
            elif message["type"] == "STATE":
                states += 1
                for claim in _claims(message["value"]["bookmarks"], truths):
                    assert claim in written, f"STATE speaks of {claim}, which is not written"
                self._written[_text(message["value"])] = frozenset(written)
        return states


def _text(state: dict[str, Any]) -> str:
    return json.dumps(state, sort_keys=True)


def _claims(
    bookmarks: dict[str, Any], truths: dict[str, list[tuple[str, str]]]
) -> Iterator[tuple[str, str, str]]:
    """What a state says is written, of all that the API lists."""
    for stream, bookmark in bookmarks.items():
        if stream not in STREAMS:
            continue
        mark = _canonical(bookmark["replication_key_value"])
        since, place = "9", _place(None)
        if bookmark["resume"]:
            walk = bookmark["resume"][0]
            token = walk["page_token"]
            if stream == "order_lines":
                yield from _children(walk, truths[stream])
                first = token[0][0] if token else None
                token = first and first[2]
            since, place = _canonical(walk["since"]), _place(token)
        for key, version in truths[stream]:
            if version < mark or (since <= version and (version, _slot(key)) <= place):
                yield stream, key, version


def _canonical(instant: str | None) -> str:
    return canonical(instant) if instant else ""


def _children(walk: dict[str, Any], truth: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """The lines of the orders that are done; what has changed since may have been read before."""
    groups = walk["page_token"] or []
    done = {str(context["order_id"]) for _, contexts, _ in groups for context in contexts}
    for key, version in truth:
        if key.split(":")[0] in done and version < canonical(walk["started_at"]):
            yield "order_lines", key, version


def _slot(key: str) -> int:
    """The number of a record: the sandbox sorts by it where versions are equal."""
    return int(key.split(":")[0].removeprefix("evt_")) - 1


def _place(token: str | None) -> tuple[str, int]:
    """Up to which version and number a cursor of the sandbox has been read."""
    if not token:
        return "", 0
    place = int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).split(b":")[1])
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=place >> SLOT_BITS)
    return canonical(at.isoformat()), place & SLOT_MASK


def _change(box: Sandbox, chance: random.Random) -> None:
    for stream, update, insert in (("customers", 4, 2), ("orders", 4, 2), ("events", 0, 9)):
        if chance.random() < 0.7:
            box.change(stream, update=update, insert=insert)


def _death(who: str, state: dict[str, Any], chance: random.Random) -> Death:
    """Anywhere in what a run would write: all order lines at least, a first run twice as much."""
    is_first = not state.get("bookmarks", {}).get("orders", {}).get("last_success_ts")
    at = chance.randrange(1, 110_000 if is_first else 50_000)
    return Death(who, at, chance.random() < 0.7, chance.uniform(0, 0.4))


@pytest.mark.parametrize("who", ["tap", "target"])
def test_killed_ten_times_and_then_exact(who: str, folder: Path, database: str) -> None:
    seed = int(os.environ.get("PROMISES_SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    chance = random.Random(seed)
    honesty = Honesty()
    killed = states = 0
    with sandbox(seed=seed, events=150) as box:
        shop = Pipeline(folder, box.url, CONNECTOR, database=database)
        shop.prepare()
        while killed < KILLS:
            state = shop.kept()
            death = _death(who, state, chance)
            if who == "target" and killed == KILLS // 2 and not state:
                # A killed target echoes nothing: from here on there is a state to go on from.
                death = Death("tap", 30_000, whole=True)
            done = shop.run(death=death)
            states += honesty.check(box, state, done.tap.messages)
            killed += (done.tap if who == "tap" else done.target).code == KILLED
            _change(box, chance)
        shop.run().assert_good()
        shop.assert_exact(box, *STREAMS)
    assert states > KILLS


def test_a_run_goes_on_at_the_page_where_the_last_one_was_killed(
    folder: Path, database: str
) -> None:
    text = connector("  orders:\n    path: /orders\n", size=5)
    with sandbox(orders=40) as box:
        shop = Pipeline(folder, box.url, text, database=database)
        whole = shop.tap().out
        shop.run(death=Death("tap", _end_of_page(whole, 3), whole=True))
        assert shop.bookmark("orders")["resume"][0]["page_token"]
        box.calm()
        done = shop.run()
        done.assert_good()
        assert len(done.tap.records("orders")) == 40 - 3 * 5
        assert len(box.arrivals("/orders")) == 8 - 3
        shop.assert_exact(box, "orders")


def _end_of_page(out: bytes, page: int) -> int:
    """Where the STATE after a page of the only stream ends."""
    end = states = 0
    seen_records = False
    for line in out.splitlines(keepends=True):
        end += len(line)
        seen_records = seen_records or b'"RECORD"' in line
        states += seen_records and b'"STATE"' in line
        if states == page:
            break
    return end
