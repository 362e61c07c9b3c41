"""Partitions and windows side by side: one that is slow, forbidden or broken holds up no other."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from push_api import Shop
from sandbox_api import Answer, serve
from singer_output import Done

from tap_saas.sandbox.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_S = 20
SIZE = 2
YAML = """
name: shop
settings:
  url: {}
  accounts: {type: array, default: [1, 2, 3, 4]}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
retry: {attempts: 1}
responses: [{status: 403, then: skip}]
defaults:
  records: $.data
  primary_key: [id]
  pagination: {type: cursor, next: $.next, send: param:page}
  schema: {type: object, properties: {id: {type: integer}, at: {type: string, format: date-time}}}
streams:
"""
MOVES = "    incremental: {key: at, start: {send: param:since}, lag: 0s}\n"
OF_ACCOUNTS = f"""\
  orders:
    path: /accounts/{{account}}/orders
    for_each: {{setting: accounts, as: account}}
{MOVES}"""
PARENTS = f"  accounts:\n    path: /accounts\n{MOVES}"
CHILDREN = f"""\
{PARENTS}  orders:
    path: /accounts/{{account}}/orders
    parents: [{{stream: accounts, values: {{account: $.id}}MORE}}]
"""
OWN = CHILDREN.replace("MORE", "") + MOVES
SINCE = CHILDREN.replace("MORE", ", since: $.at") + MOVES
CHANGED = CHILDREN.replace("MORE", ", changed: {full_every: 7d}") + "    version: at\n"
KINDS = {"accounts": OF_ACCOUNTS, "own": OWN, "since": SINCE, "changed": CHANGED}
WINDOWS = """\
  orders:
    path: /accounts/1/orders
    incremental:
      {key: at, first: 2026-01-01, start: {send: param:since}, end: {send: param:until},
       window: {size: 1d}, lag: 0s}
"""
kinds = pytest.mark.parametrize("kind", KINDS)


def at(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


class Api:
    """Accounts with orders, all `id -> minute of the last change`; some accounts say no.

    A request of the account or window `held` is answered when one that has `frees` came.
    """

    def __init__(self) -> None:
        self.accounts = dict.fromkeys(range(1, 5), 0)
        self.orders = {one: {10 * one + n: n for n in range(3)} for one in self.accounts}
        self.statuses: dict[int, int] = {}
        self.asked: list[str] = []
        self.held = self.frees = "nothing"
        self._freed = threading.Event()

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if self.frees in path:
            self._freed.set()
        if self.held in path:
            assert self._freed.wait(PATIENCE_S), "the others are not asked for meanwhile"
        parts = urlsplit(path)
        account = 0 if parts.path == "/accounts" else int(parts.path.split("/")[2])
        if account in self.statuses:
            return Answer(b"{}", self.statuses[account])
        asked = dict(parse_qsl(parts.query))
        listed = self.accounts if not account else self.orders[account]
        found = [{"id": key, "at": at(minute)} for key, minute in listed.items()]
        found = [one for one in found if str(one["at"]) >= asked.get("since", "")]
        found = [one for one in found if str(one["at"]) < asked.get("until", "9")]
        start = int(asked.get("page", "0"))
        told: dict[str, Any] = {"data": found[start : start + SIZE]}
        told["next"] = start + SIZE if start + SIZE < len(found) else None
        return Answer(json.dumps(told).encode())

    def change(self, account: int, order: int, minute: int) -> None:
        """An order is new or has changed, and its account with it."""
        self.accounts[account] = self.orders.setdefault(account, {})[order] = minute

    @property
    def truth(self) -> set[tuple[int, str]]:
        return {(key, at(n)) for orders in self.orders.values() for key, n in orders.items()}


@contextlib.contextmanager
def shop(folder: Path, streams: str, **config: Any) -> Iterator[tuple[Api, Shop]]:
    api = Api()
    with serve(api.answer) as url:
        mill = Shop(folder, World(customers=1, orders=1, events=0), url, YAML + streams)
        mill.configure(**config)
        yield api, mill


def pull(mill: Shop, **config: Any) -> Done:
    """A run whose state is kept, whether it fails or not."""
    done = mill.drain("pull", **config)
    mill.keep_state(done)
    return done


def settings(mill: Shop, api: Api) -> dict[str, Any]:
    """The tap's settings, with all accounts that there are."""
    given: dict[str, Any] = json.loads(mill.config.read_text())["settings"]
    return {**given, "accounts": list(api.accounts)}


def read(*runs: Done) -> set[tuple[int, str]]:
    """The orders that these runs gave."""
    return {
        (one["id"], one["at"].replace(".000000", ""))
        for run in runs
        for one in run.records("orders")
    }


@kinds
def test_one_that_fails_again_and_again_keeps_no_other_from_new_orders(
    kind: str, tmp_path: Path
) -> None:
    with shop(tmp_path, KINDS[kind]) as (api, mill):
        api.statuses = {2: 500}
        first = pull(mill)
        assert first.code == 5
        api.change(1, 17, 60)
        second = pull(mill)
        assert second.code == 5
        assert (17, at(60)) in read(second)
        api.change(3, 37, 90)
        assert (37, at(90)) in read(pull(mill))
        api.statuses = {}
        last = pull(mill)
        assert last.code == 0, last.told
        assert {one for one in api.truth if one[0] // 10 == 2} <= read(last)


@pytest.mark.parametrize("kind", ["since", "changed"])
@pytest.mark.parametrize("parallel", [1, 3])
def test_those_that_fail_for_good_keep_neither_others_nor_each_other_waiting(
    kind: str, parallel: int, tmp_path: Path
) -> None:
    with shop(tmp_path, KINDS[kind], parallel=parallel) as (api, mill):
        for account in range(1, 14):
            api.change(account, 10 * account, 0)
        api.statuses = dict.fromkeys((2, 4, 6, 8, 10, 12), 500)
        assert pull(mill).code == 5
        api.change(1, 17, 60)
        api.statuses = dict.fromkeys((2, 4, 6), 500)  # what was left out first: asked for first
        api.asked.clear()
        second = pull(mill)
        asked = any("/accounts/12/" in path for path in api.asked)
        runs = [second, pull(mill)]
        if parallel == 1:
            assert (17, at(60)) in read(second)
            assert not asked, "three in a row: the others wait for a later pass"
        else:  # who is the third in a row is chance
            runs += [pull(mill), pull(mill)]
        assert (17, at(60)) in read(*runs)
        assert {80, 100, 120} <= {key for key, _ in read(*runs)}
        assert sorted(one["account"] for one, _ in mill.bookmark("orders")["unfinished"]) == [
            2, 4, 6,
        ]  # fmt: skip


@kinds
@pytest.mark.parametrize("parallel", [1, 2])
def test_several_that_fail_in_a_row_end_the_run_but_not_the_next_one(
    kind: str, parallel: int, tmp_path: Path
) -> None:
    with shop(tmp_path, KINDS[kind], parallel=parallel) as (api, mill):
        for account in range(1, 13):
            api.change(account, 10 * account, 0)
        api.statuses = dict.fromkeys(range(3, 8), 500)
        mill.configure(parallel=parallel, settings=settings(mill, api))
        first = pull(mill)
        runs = [first, pull(mill), pull(mill)]
        if parallel == 1:
            what = "three in a row: it looks as if the API were down"
            assert (80, at(0)) not in read(first), what
        else:  # who is the third in a row is chance
            runs += [pull(mill), pull(mill)]
        assert {one.code for one in runs} == {5}
        assert {one for one in api.truth if not 3 <= one[0] // 10 < 8} <= read(*runs)
        api.statuses = {}
        runs.append(pull(mill))
        assert runs[-1].code == 0, runs[-1].told
        assert read(*runs) == api.truth
        assert mill.bookmark("orders")["unfinished"] == []


@kinds
def test_one_that_was_forbidden_is_read_whole_once_it_is_allowed(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, KINDS[kind]) as (api, mill):
        api.statuses = {2: 403}
        first = pull(mill)
        assert first.code == 0, first.told
        api.change(1, 17, 60)
        second = pull(mill)
        api.statuses = {}
        third = pull(mill)
        assert (second.code, third.code) == (0, 0), second.told + third.told
        assert {one for one in api.truth if one[0] // 10 == 2} <= read(third)
        assert read(first, second, third) == api.truth


@kinds
def test_a_new_one_is_read_whole(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, KINDS[kind]) as (api, mill):
        api.change(1, 17, 60)
        first = pull(mill)
        api.change(9, 91, 30)  # older than what has been read of the others
        api.accounts[9] = 70
        second = pull(mill, settings=settings(mill, api))
        assert second.code == 0, second.told
        assert read(first, second) == api.truth


@kinds
def test_a_slow_one_stops_no_other(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, KINDS[kind], parallel=2) as (api, mill):
        api.held, api.frees = "/accounts/1/", "/accounts/4/"
        done = pull(mill)
        assert done.code == 0, done.told
        assert read(done) == api.truth


def test_a_slow_window_stops_no_other(tmp_path: Path) -> None:
    with shop(tmp_path, WINDOWS, parallel=2) as (api, mill):
        api.orders[1] = {n: 1_440 * n for n in range(6)}
        api.held, api.frees = "since=2026-01-01", "since=2026-01-06"
        done = mill.drain("pull", after=START + timedelta(days=7) - datetime.now(UTC))
        assert done.code == 0, done.told
        assert read(done) == {(n, at(1_440 * n)) for n in range(6)}


def test_more_than_so_many_bookmarks_are_refused(tmp_path: Path) -> None:
    with shop(tmp_path, OWN, max_partitions=3) as (_, mill):
        done = pull(mill)
        assert done.code == 7
        assert "more than 3 partitions, each with its own bookmark; say parents.since" in done.told
        assert len(mill.bookmark("orders")["partitions"]) <= 4
