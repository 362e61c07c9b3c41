"""Sync tokens over a real server: moved by whole passes only, and full passes when they expire."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from push_api import Shop
from sandbox_api import Answer, serve
from singer_output import Done

from tap_saas.sandbox.world import World

SIZE = 3
YAML = """
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
retry: {attempts: 1}
streams:
  orders:
    path: /orders
    records: $.data
    primary_key: [id]
    version: n
    schema: {type: object, properties: {id: {type: integer}, n: {type: integer}}}
    pagination: {type: cursor, next: $.next, send: param:page}
    incremental: {key: {token: $.sync, send: param:sync, expired: status == 410}}
"""
SWEPT = "    deletes: {sweep: {every: 365d, max: 100%}}\n"
ACCOUNTS = "    for_each: {setting: accounts, as: account}\n"


class Api:
    """Changes by number; a sync token is the number of the last one, good from `known` on."""

    def __init__(self) -> None:
        self.changes: list[dict[str, int]] = []
        self.known = 0
        self.asked: list[dict[str, str]] = []
        self.broken: set[int] = set()
        self.forgets_to_tell = False

    def change(self, *ids: int) -> None:
        for one in ids:
            self.changes.append({"id": one, "n": len(self.changes) + 1})

    def answer(self, path: str) -> Answer:
        asked = dict(parse_qsl(urlsplit(path).query))
        self.asked.append(asked)
        if len(self.asked) in self.broken:
            return Answer(b"{}", 400)
        since = int(asked.get("sync", "0"))
        if "sync" in asked and since < self.known:
            return Answer(b'{"error": "the token is too old"}', 410)
        newest = {one["id"]: one for one in self.changes if one["n"] > since}
        found = sorted(newest.values(), key=lambda one: one["n"])
        start = int(asked.get("page", "0"))
        end = start + SIZE
        told: dict[str, Any] = {"data": found[start:end]}
        if end < len(found):
            told["next"] = str(end)
        elif not self.forgets_to_tell:
            told["sync"] = str(len(self.changes))
        return Answer(json.dumps(told).encode())

    @property
    def tokens(self) -> list[str | None]:
        """The sync tokens that were sent since the last call."""
        told = [asked.get("sync") for asked in self.asked]
        self.asked.clear()
        return told


@contextlib.contextmanager
def shop(folder: Path, more: str = "") -> Iterator[tuple[Api, Shop]]:
    api = Api()
    text = YAML + more
    if "for_each" in more:
        text = text.replace("  url: {}", "  url: {}\n  accounts: {type: array, default: [1, 2]}")
    with serve(api.answer) as url:
        yield api, Shop(folder, World(customers=1, orders=1, events=0), url, text)


def pull(mill: Shop, **config: Any) -> Done:
    """A run whose state is kept, whether it fails or not."""
    done = mill.drain("pull", **config)
    mill.keep_state(done)
    return done


def ids(done: Done) -> list[int]:
    return [row["id"] for row in done.records("orders")]


def bookmark(mill: Shop) -> dict[str, Any]:
    return dict((mill.kept() or {})["bookmarks"]["orders"])


def test_the_token_of_the_last_page_is_sent_by_the_next_pass(tmp_path: Path) -> None:
    with shop(tmp_path) as (api, mill):
        api.change(*range(7))
        assert ids(pull(mill)) == list(range(7))
        assert api.tokens == [None, None, None]
        assert bookmark(mill)["replication_key"] == "token"
        assert bookmark(mill)["replication_key_value"] == "7"
        api.change(2, 9)
        assert ids(pull(mill)) == [2, 9]
        assert api.tokens == ["7"]
        assert ids(pull(mill)) == []
        assert api.tokens == ["9"]


def test_a_pass_that_fails_keeps_the_token_and_goes_on_with_it(tmp_path: Path) -> None:
    with shop(tmp_path) as (api, mill):
        api.change(*range(3))
        pull(mill)
        api.change(*range(8))
        api.asked.clear()
        api.broken = {3}
        done = pull(mill)
        assert done.code != 0
        assert ids(done) == list(range(6))
        assert bookmark(mill)["replication_key_value"] == "3"
        assert ids(pull(mill)) == [6, 7]
        assert api.tokens == ["3"] * 4
        assert bookmark(mill)["replication_key_value"] == "11"


def test_an_expired_token_means_a_full_pass(tmp_path: Path) -> None:
    with shop(tmp_path) as (api, mill):
        api.change(*range(4))
        pull(mill)
        api.change(5)
        api.known = 5
        api.asked.clear()
        done = pull(mill)
        assert done.code == 0, done.told
        assert ids(done) == [0, 1, 2, 3, 5]
        assert api.tokens == ["4", None, None]
        assert bookmark(mill)["replication_key_value"] == "5"
        assert bookmark(mill)["sweep"] == bookmark(mill)["activate"] == []


def test_a_full_pass_after_an_expired_token_survives_a_failure(tmp_path: Path) -> None:
    with shop(tmp_path) as (api, mill):
        api.change(*range(4))
        pull(mill)
        api.known = 5
        api.asked.clear()
        api.broken = {3}
        assert pull(mill).code != 0
        assert bookmark(mill)["replication_key_value"] is None
        assert ids(pull(mill)) == [3]
        assert api.tokens == ["4", None, None, None]
        assert bookmark(mill)["replication_key_value"] == "4"


def test_an_expired_token_of_a_stream_with_deletes_means_a_sweep(tmp_path: Path) -> None:
    with shop(tmp_path, SWEPT) as (api, mill):
        api.change(*range(4))
        pull(mill)  # the first sweep
        pull(mill)
        api.change(5)
        api.changes = [one for one in api.changes if one["id"] != 1]
        api.changes.append({"id": 5, "n": 6})
        api.known = 6
        api.asked.clear()
        done = pull(mill)
        assert done.code == 0, done.told
        assert set(ids(done)) == {0, 2, 3, 5}
        assert api.tokens == ["4", None, None]
        swept = bookmark(mill)["activate"]
        assert swept[2] == 4
        assert bookmark(mill)["due"] == []
        sent = pull(mill).messages
        assert [one["version"] for one in sent if one["type"] == "ACTIVATE_VERSION"] == [swept[0]]


def test_each_partition_has_its_token(tmp_path: Path) -> None:
    with shop(tmp_path, ACCOUNTS) as (api, mill):
        api.change(1, 2)
        done = pull(mill)
        assert done.code == 0, done.told
        parts = bookmark(mill)["partitions"]
        assert [part["replication_key_value"] for part in parts] == ["2", "2"]
        assert api.tokens == [None, None]
        assert ids(pull(mill)) == []
        assert api.tokens == ["2", "2"]


@pytest.mark.parametrize("first", [True, False])
def test_a_last_page_without_a_token_leaves_it_where_it_is(tmp_path: Path, first: bool) -> None:
    with shop(tmp_path) as (api, mill):
        api.change(1, 2)
        if not first:
            pull(mill)
        api.forgets_to_tell = True
        done = pull(mill)
        assert done.code == 0
        assert bookmark(mill)["replication_key_value"] == (None if first else "2")
