"""`explain` on capped lists, changed parents, reading side by side, deletes, events and webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tap_saas.authoring.explain import Assumed, explain
from tap_saas.authoring.explain.explanation import StreamPlan
from tap_saas.authoring.explain.text import lines, plain

NOW = datetime(2025, 4, 12, 9, 33, tzinfo=UTC)
HEAD = """\
name: acme
base_url: https://api.acme.example
settings: {hook_secret: {secret: true, env: ACME_HOOK_SECRET}}
defaults:
  records: $.data
  primary_key: [id]
  pagination: {type: cursor, next: $.next, send: param:cursor, size: {send: param:limit, value: 100}}
"""
ORDERS = """\
streams:
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
    DELETES
  lines:
    path: /orders/{order_id}/lines
    version: updated_at
    parents: [{stream: orders, values: {order_id: $.id}CHANGED}]
"""
FEEDS = """\
events:
  log:
    path: /events
    pagination: {type: seek, field: id, send: param:after}
    type: $.type
    time: $.at
    incremental: {key: at, start: {send: param:since}, retention: 30d}
    routes:
      - {types: ["order.*"], stream: orders, record: $.order, deleted: [order.deleted]}
      - {stream: lines, fetch: {path: "/lines/{id}", values: {id: $.line}, gone: [404]}}
webhooks:
  main:
    signature: {type: hmac, header: X-Signature, secrets: ["{hook_secret}"]}
    routes: [{stream: orders, record: $.order}]
"""


def told(folder: Path, text: str, stream: str, **more: Any) -> StreamPlan:
    file = folder / "acme.yaml"
    file.write_text(HEAD + text)
    figures: dict[str, Any] = {"records": {"": 10_000}, "changed": {}, "runs_per_day": 24}
    assumed = Assumed(answer_s=0.3, now=NOW, **{**figures, **more})
    return explain(str(file), stream, {}, assumed).plans[0]


def orders(changed: str = "", deletes: str = "") -> str:
    return ORDERS.replace("CHANGED", changed).replace("    DELETES\n", deletes)


@pytest.mark.parametrize(
    ("then", "more", "says"),
    [
        ("split", "end: {send: param:to}, first: 2025-04-01, window: {size: 30d}", "windows"),
        ("seek", "order: asc", "from the last record's replication key on"),
    ],
)
def test_a_list_above_its_cap_is_one_warning(
    tmp_path: Path, then: str, more: str, says: str
) -> None:
    text = (
        "streams:\n  full:\n    path: /full\n"
        "    pagination: {type: page, size: 100, total: $.total, "
        f"cap: {{records: 1000, then: {then}}}}}\n"
        f"    incremental: {{key: at, start: {{send: param:from}}, {more}}}\n"
    )
    plan = told(tmp_path, text, "full")
    (warning,) = plan.warnings
    assert "a list has about 10,000 records, the API shows 1,000" in warning
    assert says in warning
    assert plan.first.by_purpose["lists of full"] == 100
    assert told(tmp_path, text, "full", records={"": 999}).warnings == []


def test_parents_that_changed_are_what_a_later_run_asks_for(tmp_path: Path) -> None:
    plan = told(tmp_path, orders(", changed: {full_every: 7d}"), "lines")
    assert plan.first.by_purpose["lists of lines"] == 10_000
    assert (plan.later.records, plan.later.by_purpose["lists of lines"]) == (100, 100)
    assert plan.later.by_purpose["orders, for lines"] == 1
    (known,) = (one.lines for one in plan.answers if one.question == "incremental parameters")
    assert "only the lists of orders that changed" in known[0]
    ((what, whole),) = plan.rare.items()
    assert "every 7 d" in what
    assert whole.requests == 10_000 + 100
    unsaid = told(tmp_path, orders(), "lines")
    assert unsaid.later.by_purpose["lists of lines"] == 10_000
    assert unsaid.rare == {}


def test_children_are_read_side_by_side_within_the_budgets(tmp_path: Path) -> None:
    def seconds(parallel: int, text: str = orders()) -> float:
        return told(tmp_path, text, "lines", parallel=parallel).later.seconds

    walk_s = 100 * 0.3  # the list of parents, one page after the other
    assert seconds(1) == pytest.approx(walk_s + 10_000 * 0.3)
    assert seconds(5) == pytest.approx(walk_s + 10_000 * 0.3 / 5)
    at_most = "budgets: {all: {limits: [{concurrent: 2}]}}\n" + orders()
    assert seconds(5, at_most) == pytest.approx(walk_s + 10_000 * 0.3 / 2)
    plan = told(tmp_path, orders(), "lines", parallel=5)
    assert "up to 5 lists at once (the setting parallel)" in "\n".join(plan.answers[0].lines)


def test_pages_are_read_side_by_side_where_their_number_is_known(tmp_path: Path) -> None:
    text = (
        "streams:\n  full:\n    path: /full\n"
        "    pagination: {type: page, size: 100, pages: $.pages, parallel: 5}\n"
    )
    plan = told(tmp_path, text, "full")
    assert plan.later.seconds == pytest.approx(plan.later.requests * 0.3 / 5)
    assert "up to 5 pages at once" in "\n".join(plan.answers[0].lines)


def test_it_says_how_it_is_known_what_is_gone(tmp_path: Path) -> None:
    (unknown,) = told(tmp_path, orders(), "orders").gone
    assert "stay as they are" in unknown
    deletes = (
        "    deletes: {flag: $.gone, list: {path: /orders/gone}, sweep: {every: 7d, max: 2%}}\n"
    )
    plan = told(tmp_path, orders(deletes=deletes), "orders")
    said = "\n".join(plan.gone)
    for words in ("$.gone", "GET /orders/gone", "a sweep every 7 d", "2 %", "10 min"):
        assert words in said
    assert plan.rare["every 7 d a sweep"].requests == 100


def test_it_says_what_events_and_webhooks_bring(tmp_path: Path) -> None:
    plan = told(tmp_path, orders() + FEEDS, "orders")
    said = "\n".join(plan.pushed)
    for words in (
        "event log log: GET /events",
        "older than 30 d (retention)",
        "events order.*: the record is at $.order; order.deleted: it is gone",
        "POST /webhooks/acme/main",
        "all events: the record is at $.order",
    ):
        assert words in said
    assert plan.gone == ["events tell it as they come (see below)"]
    fetched = "\n".join(told(tmp_path, orders() + FEEDS, "lines").pushed)
    assert "GET /lines/{id} asks for the record, once for each event; 404: it is gone" in fetched
    assert told(tmp_path, orders(), "orders").pushed == []


def test_the_text_has_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    deletes = "    deletes: {sweep: {every: 7d}}\n"
    file.write_text(HEAD + orders(deletes=deletes) + FEEDS)
    figures = Assumed(records={"": 100}, changed={}, runs_per_day=24, answer_s=0.3, now=NOW)
    text = "\n".join(line for _, line in plain(lines(explain(str(file), None, {}, figures)), 100))
    for heading in (
        "what is gone\n",
        "events and webhooks\n",
        "  - every 7 d a sweep: 100 records",
    ):
        assert heading in text
