"""Children of many parents under one bookmark: resumed anywhere, nothing left out, bounded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.exchange import Headers, Page, Response
from tap_saas.connector.load import load
from tap_saas.connector.model import Connector
from tap_saas.errors import ApiError, StateError
from tap_saas.sync import children
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.children import Children
from tap_saas.sync.partitions import Partitions, parent_stream
from tap_saas.sync.shape import Seen
from tap_saas.sync.skips import Skips

START = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = 2
YAML = """
name: shop
base_url: https://api.example
defaults:
  records: $.data
  primary_key: [id]
  pagination: {type: cursor, next: $.next, send: param:cursor}
streams:
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:since}, lag: 0s}
  lines:
    path: /orders/{order_id}/lines
    version: updated_at
    parents: [{stream: orders, values: {order_id: $.id}%s}]
    %s
"""


def connector(folder: Path, parent: str = "", child: str = "") -> Connector:
    path = folder / "shop.yaml"
    path.write_text(YAML % (parent, child))
    return load(str(path)).connector


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Connector:
    return connector(tmp_path_factory.mktemp("plain"))


def at(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


class Api:
    """Orders with their lines, both `id -> minute of the last change`; `broken` ones answer 500."""

    def __init__(self, orders: dict[int, int], lines: dict[int, dict[int, int]]) -> None:
        self.orders, self.lines = orders, lines
        self.broken: set[int] = set()
        self.asked: list[tuple[int, Any]] = []
        self.tokens: list[Any] = []
        self.minute = 1_000

        self.behind = timedelta(0)  # the API's clock

    def now(self) -> datetime:
        return START + timedelta(minutes=self.minute)

    def _pages(self, records: list[dict[str, Any]], token: Any) -> Iterator[Page]:
        offset = token or 0
        while True:
            after = offset + SIZE if offset + SIZE < len(records) else None
            found = records[offset : offset + SIZE]
            yield Page(
                number=1, token=offset or None, next_token=after, records=found,
                received=len(found),
                response=Response(
                    status=200, body=b"", url="u", received_at=self.now(),
                    headers=Headers({"Date": format_datetime(self.now() - self.behind, usegmt=True)}),
                ),
            )  # fmt: skip
            if after is None:
                return
            offset = after

    def list_orders(self, _: Any, __: Any, since: Any, token: Any) -> Iterator[Page]:
        found = [
            {"id": key, "updated_at": at(minute), "born": at(minute)}
            for key, minute in self.orders.items()
            if since is None or START + timedelta(minutes=minute) >= since
        ]
        return self._pages(found, token)

    def ask(self, context: dict[str, Any], since: Any, token: Any) -> Iterator[Page]:
        order = context["order_id"]
        self.asked.append((order, since))
        self.tokens.append(token)
        if order in self.broken:
            raise ApiError("500 Internal Server Error", status=500)
        found = [
            {"id": key, "minute": minute}
            for key, minute in self.lines[order].items()
            if since is None or START + timedelta(minutes=minute) >= since
        ]
        return self._pages(found, token)

    @property
    def truth(self) -> set[tuple[int, int, int]]:
        return {
            (order, key, minute)
            for order in self.orders
            for key, minute in self.lines[order].items()
        }


class Puller:
    """Runs of one stream against an API, with what a target would have."""

    def __init__(self, of: Connector, api: Api, parallel: int = 1) -> None:
        self.of, self.api, self.parallel = of, api, parallel
        self.state: dict[str, Any] = {}
        self.written: set[tuple[int, int, int]] = set()

    def run(self, pages: int | None = None) -> None:
        """A run that is killed when so many pages have been written."""
        stream = self.of.streams["lines"]
        bookmark = Bookmark(self.state, "lines")
        form = parent_stream(stream)
        assert form is not None
        feed = Children(
            stream=stream,
            form=form,
            parent=self.of.streams["orders"],
            bookmark=bookmark,
            partitions=lambda fetch: Partitions(self.of.streams, {}, fetch),
            list_parents=self.api.list_orders,
            skips=Skips("lines"),
            ask=self.api.ask,
            now=self.api.now,
            incremental=stream.incremental,
            start_date=None,
            sweep=False,
            parallel=self.parallel,
        )
        found = feed.pages()
        try:
            while pages is None or pages > 0:
                fed = next(found, None)
                if fed is None:
                    break
                order = fed.constant["order_id"]
                self.written |= {(order, r["id"], r["minute"]) for r in fed.page.records}
                minutes = [START + timedelta(minutes=r["minute"]) for r in fed.page.records]
                fed.written(Seen(max_seen=max(minutes, default=None)))
                pages = None if pages is None else pages - 1
                self.check_claims()
            state = json.dumps(self.state)
        finally:
            found.close()
        self.state = json.loads(state)

    def check_claims(self) -> None:
        """Whoever is called done has all lines written."""
        state = json.loads(json.dumps(self.state))
        if not state["resume"]:
            return
        groups = state["resume"][0]["page_token"] or []
        named = {json.dumps(context) for _, done, _ in groups for context in done}
        named -= {json.dumps(context) for context, _ in state["unfinished"]}
        for order in self.api.orders:
            if json.dumps({"order_id": order}) in named:
                lines = self.api.lines[order].items()
                assert {(order, key, minute) for key, minute in lines} <= self.written


orders_and_lines = st.dictionaries(
    st.integers(1, 40), st.dictionaries(st.integers(1, 9), st.integers(0, 900), max_size=5),
    max_size=12,
)  # fmt: skip


@given(orders_and_lines, st.lists(st.integers(0, 6), max_size=8), st.sampled_from([1, 3]))
def test_killed_anywhere_and_resumed_gives_all(
    plain: Connector, lines: dict[int, dict[int, int]], kills: list[int], parallel: int
) -> None:
    api = Api(dict.fromkeys(lines, 0), lines)
    puller = Puller(plain, api, parallel)
    for pages in kills:
        puller.run(pages)
    puller.run()
    assert puller.written == api.truth
    assert puller.state["resume"] == []
    assert puller.state["last_success_ts"]


def test_a_resumed_pass_asks_neither_for_what_is_done_nor_for_pages_before(
    plain: Connector,
) -> None:
    api = Api(dict.fromkeys(range(1, 7), 0), {n: dict.fromkeys(range(5), 0) for n in range(1, 7)})
    puller = Puller(plain, api)
    puller.run(8)  # three pages an order: two orders, and two pages of the third
    api.asked.clear()
    api.tokens.clear()
    puller.run()
    assert [order for order, _ in api.asked] == [3, 4, 5, 6]
    assert api.tokens == [2 * SIZE, None, None, None]
    assert puller.written == api.truth


def test_one_slow_parent_does_not_hold_up_the_others(plain: Connector) -> None:
    api = Api(dict.fromkeys(range(1, 9), 0), {n: {1: 0} for n in range(1, 9)})
    puller = Puller(plain, api, parallel=2)
    wait = threading.Event()
    ask = api.ask

    def slowly(context: dict[str, Any], since: Any, token: Any) -> Iterator[Page]:
        if context["order_id"] == 1:
            assert wait.wait(20)
        elif context["order_id"] == 8:
            wait.set()
        return ask(context, since, token)

    api.ask = slowly  # type: ignore[method-assign]
    puller.run()
    assert puller.written == api.truth


def test_only_changed_parents_are_read_until_all_are_due(tmp_path: Path) -> None:
    of = connector(tmp_path, ", changed: {full_every: 7d}")
    api = Api({n: n for n in range(1, 9)}, {n: {1: 0} for n in range(1, 9)})
    puller = Puller(of, api)
    puller.run()
    api.asked.clear()
    api.orders[3], api.lines[3] = 1_001, {1: 7, 2: 7}
    api.lines[5] = {1: 8}  # a change that its parent does not show
    api.minute = 1_010
    puller.run()
    assert {order for order, _ in api.asked} == {3, 8}  # 8 is the watermark itself
    api.asked.clear()
    api.minute += 8 * 24 * 60
    puller.run()
    assert len(api.asked) == 8
    assert api.truth <= puller.written


def test_what_failed_is_read_by_the_next_pass_though_its_parent_did_not_change(
    tmp_path: Path,
) -> None:
    of = connector(tmp_path, ", changed: {full_every: 7d}")
    api = Api({n: n for n in range(1, 9)}, {n: {1: 0} for n in range(1, 9)})
    api.broken = {2}
    puller = Puller(of, api)
    with pytest.raises(ApiError, match="500"):
        puller.run()
    assert puller.state["unfinished"] == [[{"order_id": 2}, None]]
    puller.state = json.loads(json.dumps(puller.state))
    api.broken = set()
    api.asked.clear()
    api.minute += 1
    puller.run()
    assert [order for order, _ in api.asked] == [2, 8]
    assert puller.written == api.truth
    assert puller.state["unfinished"] == []


def test_without_changed_a_failure_starts_the_next_pass_anew(plain: Connector) -> None:
    api = Api(dict.fromkeys(range(1, 9), 0), {n: {1: 0} for n in range(1, 9)})
    api.broken = {2}
    puller = Puller(plain, api)
    with pytest.raises(ApiError, match="500"):
        puller.run()
    assert puller.state["last_success_ts"] is None
    assert {order for order, _, _ in puller.written} == {1, 3, 4, 5, 6, 7, 8}
    api.broken = set()
    puller.state = json.loads(json.dumps(puller.state))
    puller.run()
    assert puller.written == api.truth


def test_too_many_failures_stop_the_pass_and_nothing_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MAX_UNFINISHED", 2)
    of = connector(tmp_path, ", changed: {full_every: 7d}")
    api = Api({n: n for n in range(1, 9)}, {n: {1: 0} for n in range(1, 9)})
    api.broken = {1, 3, 5}
    puller = Puller(of, api)
    with pytest.raises(ApiError):
        puller.run()
    assert puller.state["parents"] == []
    assert puller.state["last_success_ts"] is None


INCREMENTAL = "incremental: {key: updated_at, start: {send: param:since}, lag: 0s}"


def test_one_watermark_for_all_parents_and_new_ones_are_read_whole(tmp_path: Path) -> None:
    of = connector(tmp_path, ", since: $.born", INCREMENTAL)
    api = Api({1: 10, 2: 20}, {1: {1: 100}, 2: {1: 200}})
    puller = Puller(of, api)
    puller.run()
    assert puller.state["replication_key_value"] == at(200)
    api.orders[3], api.lines[3] = 300, {1: 50}  # new, with a line that is older than the watermark
    api.lines[1][2] = 320
    api.asked.clear()
    puller.run()
    since = START + timedelta(minutes=200)
    assert api.asked == [(1, since), (2, since), (3, None)]
    assert puller.written == api.truth
    assert puller.state["replication_key_value"] == at(320)
    assert "partitions" not in puller.state


@pytest.mark.parametrize("kills", [[], [1, 1]])
def test_no_watermark_is_later_than_the_clock_of_the_api(tmp_path: Path, kills: list[int]) -> None:
    """What the API notes after the pass, by a clock that is behind ours, is not left out."""
    more = ", since: $.born, changed: {full_every: 7d}"
    of = connector(tmp_path, more, INCREMENTAL)
    api = Api({1: 995, 2: 20}, {1: {1: 996}, 2: {1: 200}})
    api.behind = timedelta(minutes=7)
    puller = Puller(of, api)
    for pages in [*kills, None]:
        puller.run(pages)
    assert puller.state["replication_key_value"] == at(993)
    assert puller.state["parents"][0] == at(993)


def test_a_parent_that_failed_is_read_from_its_own_old_watermark(tmp_path: Path) -> None:
    of = connector(tmp_path, ", since: $.born", INCREMENTAL)
    api = Api({1: 10, 2: 20}, {1: {1: 100}, 2: {1: 200}})
    puller = Puller(of, api)
    puller.run()
    api.lines[1][2], api.lines[2][2] = 250, 400
    api.broken = {1}
    with pytest.raises(ApiError):
        puller.run()
    puller.state = json.loads(json.dumps(puller.state))
    assert puller.state["replication_key_value"] == at(400)
    api.broken = set()
    api.asked.clear()
    puller.run()
    assert api.asked[0] == (1, START + timedelta(minutes=200))
    assert puller.written == api.truth


def test_state_stays_small_with_many_parents(plain: Connector) -> None:
    api = Api(dict.fromkeys(range(2000), 0), {n: {1: 0} for n in range(2_000)})
    puller = Puller(plain, api)
    sizes = []
    check = puller.check_claims
    puller.check_claims = lambda: sizes.append(len(json.dumps(puller.state)))  # type: ignore[method-assign]
    puller.run()
    assert max(sizes) < 2_000
    assert check is not None
    assert puller.written == api.truth


@pytest.mark.parametrize(
    "broken",
    [
        {"unfinished": [5]},
        {"parents": {"watermark": 1}},
        {"resume": [{"started_at": at(0), "page_token": ["no"]}]},
        {"resume": [{"started_at": at(0), "page_token": [["no group", [], []]]}]},
    ],
)
def test_a_state_that_is_none_of_ours_is_refused(plain: Connector, broken: dict[str, Any]) -> None:
    puller = Puller(plain, Api({1: 0}, {1: {1: 0}}))
    puller.state = broken
    with pytest.raises(StateError):
        puller.run()
