"""`explain` against a real run: the requests, first and later, and the time in a small budget."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from harness import Pipeline
from sandbox_api import BEARER, HEAD, KEY, Answer, Sandbox, sandbox, serve

from tap_saas.authoring.explain import Assumed, explain
from tap_saas.authoring.explain.explanation import Explanation, Figures, StreamPlan

BUDGET = 5
NEW_ORDERS = 3
OPAQUE = {"cursor": "cursor", "next": "cursor", "after": "after", "updated_after": "since"}
STREAMS = """\
defaults:
  records: $.data
  primary_key: [id]
  version: updated_at
streams:
  orders:
    path: /orders
    pagination: &cursor
      {type: cursor, next: $.next_cursor, send: param:cursor, size: {send: param:limit, value: 10}}
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
  order_lines:
    path: /orders/{order_id}/lines
    primary_key: [order_id, line_no]
    pagination:
      {type: cursor, next: $.next_cursor, send: param:cursor, size: {send: param:limit, value: 50}}
    parents: [{stream: orders, values: {order_id: $.id}}]
  numbered:
    path: /customers
    pagination: {type: page, total: $.total, size: {send: param:per_page, value: 7}}
  shifted:
    path: /customers
    pagination: {type: offset, stop: [short], size: {send: param:limit, value: 9}}
  sought:
    path: /customers
    params: {sort: id}
    pagination:
      {type: seek, field: id, send: param:after, more: $.has_more,
       size: {send: param:limit, value: 11}}
  linked:
    path: /next/customers
    records: $.items
    pagination: {type: next_url, next: $.next, size: {send: param:limit, value: 13}}
  newest:
    path: /customers
    params: {sort: "-updated_at"}
    pagination: *cursor
    incremental: {key: updated_at, order: desc}
  events:
    path: /events
    pagination: *cursor
    budgets: {own: {limits: [{requests: BUDGET, per: 500ms}]}}
"""
PLAIN = ("orders", "order_lines", "numbered", "shifted", "sought", "linked", "newest", "events")
AHEAD = {0, 1}
"""A list that ends at what is known may have asked for its next page by then."""
CUSTOMERS = ("numbered", "shifted", "sought", "linked", "newest")


class Seen(NamedTuple):
    """A request that has arrived: when, and what it asks for."""

    at: float
    path: str
    params: tuple[tuple[str, str], ...]


class Two(NamedTuple):
    """What came in two runs of one connector, and what was told of them before."""

    first: list[Seen]
    later: list[Seen]
    told: Explanation


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    seen: list[Seen] = []
    address = ""
    with sandbox(customers=60, orders=42, events=255) as box:

        def answer(asked: str) -> Answer:
            seen.append(_seen(asked, time.monotonic()))
            found = requests.get(
                f"{box.url}{asked}", headers={"Authorization": f"Bearer {KEY}"}, timeout=30
            )
            return Answer(found.content.replace(box.url.encode(), address.encode()))

        with serve(answer) as address:
            text = HEAD + BEARER + STREAMS.replace("BUDGET", str(BUDGET))
            shop = Pipeline(tmp_path_factory.mktemp("shop"), address, text)
            state = _run(shop)
            first = list(seen)
            seen.clear()
            box.change("orders", update=12, insert=NEW_ORDERS)
            box.change("customers", update=14)
            _run(shop)
            burst = [one.at for one in first if one.path == "/events"][1:BUDGET]
            answer_s = statistics.median(b - a for a, b in pairwise(burst))
            yield Two(first, seen, _told(shop, box, state, answer_s))


def _run(shop: Pipeline) -> dict[str, Any]:
    done = shop.tap()
    assert done.code == 0, done.told[-2_000:]
    shop.state.write_text(json.dumps(done.last_state))
    return dict(done.last_state["bookmarks"])


def _told(shop: Pipeline, box: Sandbox, state: Mapping[str, Any], answer_s: float) -> Explanation:
    """What `explain` says for as many records as there are, and as many as are newer."""
    listed = {name: "customers" if name in CUSTOMERS else name for name in PLAIN}
    truth = {name: box.truth(of) for name, of in listed.items()}
    changed = {}
    for name in ("orders", "newest"):
        watermark = datetime.fromisoformat(state[name]["replication_key_value"])
        newer = [at for _, at in truth[name] if datetime.fromisoformat(at) >= watermark]
        changed[name] = len(newer)
    records = {name: len(rows) for name, rows in truth.items()}
    records["orders"] -= NEW_ORDERS
    records["order_lines"] = records["orders"]
    given = json.loads(shop.config.read_text())["settings"]
    return explain(str(shop.yaml), None, given, assumed(records, changed, answer_s))


def assumed(records: Mapping[str, int], changed: Mapping[str, int], answer_s: float) -> Assumed:
    return Assumed(
        records={"": 1, **records},
        changed=changed,
        runs_per_day=24,
        answer_s=answer_s,
        now=datetime.now(UTC) - timedelta(minutes=1),
    )


def _seen(asked: str, at: float) -> Seen:
    parts = urlsplit(asked)
    return Seen(at, parts.path, tuple(sorted(parse_qsl(parts.query))))


def shape(one: Seen) -> tuple[str, ...]:
    """A request without what only the API knows: cursors, ids, instants."""
    named = [OPAQUE.get(name, f"{name}={value}") for name, value in one.params]
    return (re.sub(r"/orders/[^/]+/", "/orders/*/", one.path), *sorted(named))


def plan_of(two: Two, stream: str) -> StreamPlan:
    return next(plan for plan in two.told.plans if plan.stream == stream)


def own(figures: Figures, stream: str) -> int:
    return figures.by_purpose[f"lists of {stream}"]


def is_of(one: Seen, stream: str) -> bool:
    """Whether a request is one of these streams' lists, as their paths and parameters tell."""
    names = {name for name, _ in one.params}
    values = set(one.params)
    return {
        "orders": one.path == "/orders",
        "order_lines": one.path.endswith("/lines"),
        "numbered": "per_page" in names,
        "shifted": "offset" in names,
        "sought": ("sort", "id") in values,
        "linked": one.path.startswith("/next"),
        "newest": ("sort", "-updated_at") in values,
        "events": one.path == "/events",
    }[stream]


def test_all_requests_of_both_runs_are_foretold(two: Two) -> None:
    assert two.told.first.requests == len(two.first)
    more = len(two.later) - two.told.later.requests
    assert more - NEW_ORDERS in AHEAD  # each has lines to ask for


@pytest.mark.parametrize("stream", [name for name in PLAIN if name != "orders"])
def test_the_requests_of_a_stream_are_foretold(two: Two, stream: str) -> None:
    plan = plan_of(two, stream)
    came = [sum(is_of(one, stream) for one in seen) for seen in (two.first, two.later)]
    new = NEW_ORDERS if stream == "order_lines" else 0
    assert came[0] == own(plan.first, stream) + 1  # the sample
    more = came[1] - own(plan.later, stream) - new
    assert more in (AHEAD if stream == "newest" else {0})


def test_parents_are_walked_once_more_for_their_children(two: Two) -> None:
    came = sum(is_of(one, "orders") for one in two.first)
    of_children = plan_of(two, "order_lines").first.by_purpose["orders, for order_lines"]
    assert came == own(plan_of(two, "orders").first, "orders") + of_children + 2  # two samples


@pytest.mark.parametrize("stream", PLAIN)
def test_requests_are_shown_as_they_are_made(two: Two, stream: str) -> None:
    plan = plan_of(two, stream)
    for shown, came in ((plan.first_requests, two.first), (plan.later_requests, two.later)):
        assert shown
        made = {shape(one) for one in came}
        assert [one for one in shown if shape(_seen(one.url, 0)) not in made] == []


def test_time_in_a_small_budget_is_foretold(two: Two) -> None:
    came = [one.at for one in two.first if is_of(one, "events")][1:]  # the first is the sample
    plan = plan_of(two, "events")
    measured = came[-1] - came[0]
    assert len(came) > 3 * BUDGET
    assert plan.first.seconds == pytest.approx(measured, rel=0.2)
