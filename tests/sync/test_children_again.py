"""Children whose walk begins again: a cursor that works once and fails, page tokens that are old."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from push_api import Shop
from sandbox_api import Answer, serve
from singer_output import Done

from tap_saas.sandbox.world import World

YAML = """
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
retry: {attempts: 1}
defaults:
  records: $.data
  primary_key: [id]
  version: id
  schema: {type: object, properties: {id: {type: integer}}}
  pagination: {type: cursor, next: $.next, send: param:page}
streams:
  orders: {path: /orders, PARENT}
  lines:
    path: /orders/{order_id}/lines
    parents: [{stream: orders, values: {order_id: $.id}}]
    CHILD
"""
ONCE = "pagination: {once: true}"
LIVES = "pagination: {token_lives: 1h}"


class Api:
    """Four orders, each with six lines, two a page; some requests for lines fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails: dict[str, int] = {}

    def answer(self, path: str) -> Answer:
        parts = urlsplit(path)
        start = int(dict(parse_qsl(parts.query)).get("page", "0"))
        name = f"{parts.path}@{start}"
        self.asked.append(name)
        if self.fails.get(name, 0) > 0:
            self.fails[name] -= 1
            return Answer(b"{}", 500)
        is_order = parts.path == "/orders"
        base = 0 if is_order else int(parts.path.split("/")[2]) * 10
        size = 4 if is_order else 6
        found = [{"id": base + n} for n in range(start, min(start + 2, size))]
        told: dict[str, Any] = {"data": found, "next": start + 2 if start + 2 < size else None}
        return Answer(json.dumps(told).encode())


@contextlib.contextmanager
def shop(
    folder: Path, *, parent: str = "version: id", child: str = ""
) -> Iterator[tuple[Api, Shop]]:
    api = Api()
    text = YAML.replace("PARENT", parent).replace("CHILD", child)
    with serve(api.answer) as url:
        yield api, Shop(folder, World(customers=1, orders=1, events=0), url, text)


def lines(done: Done) -> set[int]:
    return {row["id"] for row in done.records("lines")}


ALL = {order * 10 + n for order in range(4) for n in range(6)}


def test_a_cursor_that_works_once_begins_again_with_its_parent(tmp_path: Path) -> None:
    with shop(tmp_path, child=ONCE) as (api, mill):
        api.fails = {"/orders/1/lines@4": 3}
        done = mill.drain("pull")
        assert done.code == 0, done.told
        assert lines(done) == ALL
        of_one = [name for name in api.asked if name.startswith("/orders/1/")]
        assert of_one == ["/orders/1/lines@0", "/orders/1/lines@2", "/orders/1/lines@4"] * 4
        assert api.asked.count("/orders/0/lines@0") == 1  # the others are not read again


def test_a_cursor_that_never_gets_through_is_a_failure_of_its_parent(tmp_path: Path) -> None:
    with shop(tmp_path, child=ONCE) as (api, mill):
        api.fails = {"/orders/1/lines@4": 99}
        done = mill.drain("pull")
        assert done.code != 0
        assert "the API asked 4 times to begin again" in done.told
        assert lines(done) >= {one for one in ALL if one // 10 != 1}
        assert api.asked.count("/orders/1/lines@4") == 4


def aged(mill: Shop) -> None:
    """The state as it would be a day later."""
    state = mill.kept()
    (walk,) = state["bookmarks"]["lines"]["resume"]
    assert walk["token_at"] is not None
    walk["token_at"] = "2020-01-01T00:00:00Z"
    mill.state.write_text(json.dumps(state))


def test_old_page_tokens_of_children_are_not_asked_with(tmp_path: Path) -> None:
    with shop(tmp_path, child=LIVES) as (api, mill):
        done = mill.drain("pull", max_requests=12)
        mill.keep_state(done)
        flying = mill.bookmark("lines")["resume"][0]["page_token"]
        assert any(group[2] for group in flying)
        aged(mill)
        api.asked.clear()
        rest = mill.drain("pull")
        assert rest.code == 0, rest.told
        assert lines(done) | lines(rest) == ALL
        assert next(name for name in api.asked if "lines" in name).endswith("lines@0")


def test_old_page_tokens_of_parents_begin_the_pass_again(tmp_path: Path) -> None:
    with shop(tmp_path, parent=LIVES) as (api, mill):
        mill.keep_state(mill.drain("pull", max_requests=12))
        aged(mill)
        api.asked.clear()
        rest = mill.drain("pull")
        assert rest.code == 0, rest.told
        assert lines(rest) == ALL
