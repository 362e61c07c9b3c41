"""Whole runs over lists that change all the while: what nobody touched has been read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from push_api import Shop, shop
from singer_output import Done

from tap_saas.sandbox.world import World

N = 120
SIZE = 10
YAML = """\
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
auth: {type: bearer, token: "{key}"}
streams:
  orders:
    path: PATH
    params: {sort: SORT}
    records: RECORDS
    primary_key: [id]
    version: updated_at
    schema:
      type: object
      properties:
        id: {type: integer}
        updated_at: {type: string, format: date-time}
    pagination: PAGES
"""
INCREMENTAL = """\
    incremental: {key: updated_at, start: {send: param:updated_after}, order: ORDER, lag: 0s}
"""
LIMIT = "size: {send: param:limit, value: 10}"
OFFSET = f"{{type: offset, {LIMIT}}}"
AT_ONCE = f"{{type: offset, total: $.total, parallel: 3, {LIMIT}}}"
CURSOR = f"{{type: cursor, next: $.next_cursor, send: param:cursor, total: $.total, {LIMIT}}}"
SEEK = f"{{type: seek, field: id, send: param:after, more: $.has_more, {LIMIT}}}"
LINK = f"{{type: next_url, next: $.next, {LIMIT}}}"
PAGE = "{type: page, total: $.total, size: {send: param:per_page, value: 10}}"


def text(pages: str, sort: str, *, incremental: bool = False) -> str:
    order = {"updated_at": "asc", "-updated_at": "desc"}.get(sort, "none")
    whole = YAML + (INCREMENTAL.replace("ORDER", order) if incremental else "")
    path, records = ("/next/orders", "$.items") if pages == LINK else ("/orders", "$.data")
    whole = whole.replace("PATH", path).replace("RECORDS", records)
    return whole.replace("SORT", sort).replace("PAGES", pages)


@contextmanager
def unrest(world: World, pause_s: float, **change: int) -> Iterator[list[int]]:
    """Such a change of orders, again and again, until the block ends; how many it were."""
    over, changed = threading.Event(), [0]

    def go() -> None:
        while not over.wait(pause_s):
            world.change("orders", **change)
            changed[0] += sum(change.values())

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield changed
    finally:
        over.set()
        thread.join()


def untouched(mill: Shop, before: list[tuple[str, str]]) -> set[str]:
    """The ids of orders that are as they were."""
    return {key for key, _ in set(before) & set(mill.box.truth("orders"))}


def read(done: Done) -> set[str]:
    return {str(row["id"]) for row in done.records("orders")}


KINDS = [
    (OFFSET, "id", False), (OFFSET, "updated_at", True), (OFFSET, "-updated_at", False),
    (AT_ONCE, "id", False), (AT_ONCE, "-updated_at", True),
    (CURSOR, "updated_at", True), (CURSOR, "id", False), (SEEK, "id", False),
    (LINK, "updated_at", False),
]  # fmt: skip


@pytest.mark.parametrize(("pages", "sort", "incremental"), KINDS)
def test_what_nobody_touched_is_read(
    tmp_path: Path, pages: str, sort: str, incremental: bool
) -> None:
    form = text(pages, sort, incremental=incremental)
    with shop(tmp_path, form, customers=3, orders=N) as mill:
        before = mill.box.truth("orders")
        mill.box.fault("/*", "slow", times=1_000, delay_ms=10)
        with unrest(mill.world, 0.04, update=1, insert=1, delete=1) as changed:
            done = mill.drain("pull")
        assert done.code == 0, done.told
        assert untouched(mill, before) <= read(done)
        path = "/next/orders" if pages == LINK else "/orders"
        assert len(mill.box.arrivals(path)) <= 3 * N // SIZE + 4 * changed[0]


@pytest.mark.parametrize("sort", ["updated_at", "-updated_at", "id"])
def test_a_walk_that_is_left_and_resumed_after_changes_misses_nothing(
    tmp_path: Path, sort: str
) -> None:
    with shop(tmp_path, text(OFFSET, sort), customers=3, orders=N) as mill:
        before, seen = mill.box.truth("orders"), set[str]()
        for _ in range(30):
            mill.box.calm()
            done = mill.drain("pull", max_requests=4)
            seen |= read(done)
            mill.keep_state(done)
            if not done.last_state["bookmarks"]["orders"]["resume"]:
                break
            mill.world.change("orders", update=2, insert=1, delete=2)
        else:
            pytest.fail("the pass does not end")
        assert untouched(mill, before) <= seen


def test_a_page_list_that_became_shorter_is_read_once_more(tmp_path: Path) -> None:
    with shop(tmp_path, text(PAGE, "id"), customers=3, orders=N) as mill:
        before = mill.box.truth("orders")
        mill.box.fault("/orders", "slow", times=1_000, delay_ms=20)

        def delete() -> None:
            while len(mill.box.arrivals("/orders")) < 4:
                time.sleep(0.005)
            mill.world.change("orders", delete=8)

        thread = threading.Thread(target=delete)
        thread.start()
        done = mill.drain("pull")
        thread.join()
        assert done.code == 0, done.told
        assert untouched(mill, before) <= read(done)
        assert len(mill.box.arrivals("/orders")) == 24 + 1  # the list twice, and its head
