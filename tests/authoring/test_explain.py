"""`saasctl explain`: the seven answers and the polling plan, from the connector's file alone."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tap_saas.authoring.explain import Assumed, explain
from tap_saas.authoring.explain.explanation import Explanation, StreamPlan
from tap_saas.authoring.explain.text import Line, lines, plain
from tap_saas.authoring.explain.words import duration, listed, percent
from tap_saas.cli import cli
from tap_saas.connector.load import bundled
from tap_saas.errors import ConfigError, ConnectorError

NOW = datetime(2025, 4, 12, 9, 33, tzinfo=UTC)
SECRET = "s3cret-7f3a"
EXERCISE = """\
name: acme
settings: {key: {secret: true, env: ACME_KEY}}
base_url: https://api.acme.example
auth: {type: bearer, token: "{key}"}
budgets: {all: {limits: [{requests: 1000, per: 1h}]}}
streams:
  events:
    path: /events
    records: $.data
    primary_key: [event_id]
    version: updated_at
    pagination:
      {type: cursor, next: $.next_cursor, send: param:cursor,
       size: {send: param:limit, value: 500}}
"""
ORDERS = """\
  orders:
    path: /orders
    primary_key: [id]
    pagination: {type: link_header, size: {send: param:limit, value: 100}}
    incremental: {key: updated_at, start: {send: param:updated_after}}
  order_lines:
    path: /orders/{order_id}/lines
    primary_key: [order_id, id]
    pagination: {type: single}
    parents: [{stream: orders, values: {order_id: $.id}}]
"""


def told(folder: Path, text: str, stream: str | None = None, **more: Any) -> Explanation:
    file = folder / "acme.yaml"
    file.write_text(text)
    figures: dict[str, Any] = {"records": {"": 5_000_000}, "changed": {}, "runs_per_day": 24}
    return explain(str(file), stream, {}, Assumed(answer_s=0.3, now=NOW, **{**figures, **more}))


def answer(plan: StreamPlan, question: str) -> str:
    return "\n".join(one for a in plan.answers if a.question == question for one in a.lines)


def saasctl(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments])


@pytest.fixture
def plan(tmp_path: Path) -> StreamPlan:
    return told(tmp_path, EXERCISE).plans[0]


def test_the_exercise_has_its_whole_polling_plan(plan: StreamPlan) -> None:
    assert (plan.first.requests, plan.first.records) == (10_001, 5_000_000)
    assert plan.first.seconds == pytest.approx(10 * 3_600, rel=0.01)
    assert "event_id" in answer(plan, "stable ids for dedupe")
    assert "updated_at" in answer(plan, "stable ids for dedupe")
    asked = [(one.method, one.url) for one in plan.first_requests]
    assert asked == [
        ("GET", "https://api.acme.example/events?limit=500"),
        ("GET", "https://api.acme.example/events?limit=500&cursor=CURSOR_AFTER_500"),
    ]
    steps = "\n".join(plan.flow)
    for words in ("last_cursor", "Retry-After", "1 s, 2 s, 4 s", "60 s", "staging", "event_id"):
        assert words in steps
    bookmark = plan.during["bookmarks"]["events"]
    assert bookmark["last_cursor"] == "CURSOR_AFTER_1000"
    assert plan.after["bookmarks"]["events"] == {
        "last_cursor": None,
        "last_success_ts": "2025-04-12T09:33:00Z",
    }


def test_seven_answers_in_the_order_of_the_checklist(plan: StreamPlan) -> None:
    assert [one.question for one in plan.answers] == [
        "pagination",
        "rate limit",
        "stable ids for dedupe",
        "incremental parameters",
        "checkpoint storage",
        "retries, backoff, max attempts",
        "schema changes",
    ]
    assert all(one.lines for one in plan.answers)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("pagination", "no cursor at $.next_cursor"),
        ("rate limit", "1,000 requests in 1 h"),
        ("rate limit", "Retry-After (seconds or HTTP date)"),
        ("incremental parameters", "each run reads everything"),
        ("checkpoint storage", "saasctl state save"),
        ("retries, backoff, max attempts", "up to 1 s, 2 s, 4 s, 8 s ... 60 s"),
        ("retries, backoff, max attempts", "8 attempts"),
        ("schema changes", "a new column, null in older rows"),
        ("schema changes", "<field>__text"),
    ],
)
def test_an_answer_says(plan: StreamPlan, question: str, says: str) -> None:
    assert says in answer(plan, question)


def test_answers_follow_the_connector(tmp_path: Path) -> None:
    text = EXERCISE.replace(
        "    primary_key",
        "    retry: {attempts: 3, first: 2s, max: 3s}\n    on_new_field: ignore\n"
        "    responses: [{status: 420, then: wait}, {status: 404, then: skip}]\n"
        "    schema: {type: object, properties: {event_id: {type: string}, "
        "updated_at: {type: string, format: date-time}}}\n    primary_key",
    )
    plan = told(tmp_path, text).plans[0]
    assert "3 attempts: up to 2 s, 3 s" in answer(plan, "retries, backoff, max attempts")
    assert "404: skip" in answer(plan, "retries, backoff, max attempts")
    assert "429 and 420" in answer(plan, "rate limit")
    assert "a new field: left out" in answer(plan, "schema changes")
    assert "the schema is declared" in answer(plan, "schema changes")
    assert plan.first.requests == 10_000  # no sample


def test_a_hundred_thousand_parents_take_a_hundred_hours(tmp_path: Path) -> None:
    plan = told(tmp_path, EXERCISE + ORDERS, "order_lines", records={"": 100_000}).plans[0]
    assert plan.later.seconds == pytest.approx(101 * 3_600, rel=0.01)
    warned = "\n".join(plan.warnings)
    assert "the lists of 100,000 parents (orders)" in warned
    assert "but one begins every 1 h" in warned


def test_more_partitions_than_bookmarks_are_warned_of(tmp_path: Path) -> None:
    text = (EXERCISE + ORDERS).replace(
        "    pagination: {type: single}",
        "    pagination: {type: single}\n"
        "    incremental: {key: updated_at, start: {send: param:since}}",
    )
    for parents, is_told in ((5_000, False), (5_001, True)):
        plan = told(tmp_path, text, "order_lines", records={"": parents}).plans[0]
        assert ("max_partitions" in "\n".join(plan.warnings)) is is_told


def test_windows_without_a_beginning_are_warned_of(tmp_path: Path) -> None:
    text = EXERCISE + ORDERS.replace(
        "start: {send: param:updated_after}}",
        "start: {send: param:a}, end: {send: param:b}, window: {size: 30d}}",
    )
    plan = told(tmp_path, text, "orders").plans[0]
    assert "windows need a place to begin" in plan.warnings[0]
    begun = told(tmp_path, text, "orders", start_date=datetime(2025, 1, 1, tzinfo=UTC)).plans[0]
    assert "windows" not in "\n".join(begun.warnings)
    assert "a=2025-01-01T00:00:00Z&b=2025-01-31T00:00:00Z" in begun.first_requests[0].url


def test_a_stream_that_is_read_rarely_needs_less(tmp_path: Path) -> None:
    text = EXERCISE + ORDERS.replace("    path: /orders\n", "    path: /orders\n    every: 1d\n")
    often, rarely = (
        told(tmp_path, text.replace("every: 1d", f"every: {every}"), "orders", changed={"": 2_000})
        for every in ("1m", "1d")
    )
    assert often.plans[0].uses[0].used == pytest.approx(0.02)
    since = rarely.plans[0].later_requests[0].url
    assert since.endswith("updated_after=2025-04-12T09:32:00Z&limit=100")
    assert "every 1 d" in answer(rarely.plans[0], "incremental parameters")


def test_streams_of_one_budget_are_planned_together(tmp_path: Path) -> None:
    both = told(tmp_path, EXERCISE + ORDERS, records={"": 1_000}, changed={"": 10})
    assert both.later.requests == sum(plan.later.requests for plan in both.plans)
    assert both.uses[0].used == pytest.approx(both.later.requests / 1_000)


def test_no_secret_is_looked_at_and_no_network_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("ACME_KEY", SECRET)
    (tmp_path / "acme.yaml").write_text(EXERCISE)
    (tmp_path / "tap.json").write_text(json.dumps({"settings": {"key": SECRET}}))
    for more in ([], ["--json"], ["--markdown"]):
        config = str(tmp_path / "tap.json")
        done = saasctl(str(tmp_path / "acme.yaml"), "--config", config, *more)
        assert done.exit_code == 0, done.output
        assert SECRET not in done.output
        assert "{key}" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acme.yaml", "tap.json"]


def test_missing_settings_are_named(tmp_path: Path) -> None:
    text = EXERCISE.replace("settings: {key:", "settings: {site: {}, key:").replace(
        "https://api.acme.example", "https://{site}.acme.example"
    )
    found = told(tmp_path, text)
    assert found.missing == ["site", "key"]
    assert found.plans[0].first_requests[0].url.startswith("https://{site}.acme.example/events")


@pytest.mark.parametrize("name", bundled())
def test_bundled_connectors_are_explained(name: str) -> None:
    done = saasctl(name)
    assert done.exit_code == 0, done.output
    assert "no plan" not in done.output


def test_json_is_the_same_in_figures(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(EXERCISE)
    arguments = (str(tmp_path / "acme.yaml"), "events", "--records", "5000000")
    found = json.loads(saasctl(*arguments, "--json").output)
    assert found["plans"][0]["first"]["requests"] == 10_001
    assert "5,000,000 records, 10,001 requests" in saasctl(*arguments).output


def test_markdown_has_headings_and_code(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(EXERCISE)
    shown = saasctl(str(tmp_path / "acme.yaml"), "--markdown").output
    assert "### 1. pagination" in shown
    assert shown.count("```text") == shown.count("```\n") > 1


@pytest.mark.parametrize("width", [40, 72, 100])
def test_text_keeps_the_width_but_for_what_is_to_be_copied(tmp_path: Path, width: int) -> None:
    shown = list(plain(lines(told(tmp_path, EXERCISE + ORDERS)), width))
    words = [text for kind, text in shown if kind != "code" and " " in text.strip()]
    assert max(len(text) for text in words) <= max(width, 72)
    assert any(kind == "code" and text.lstrip().startswith("GET https://") for kind, text in shown)


def test_steps_are_numbered_apart_from_points() -> None:
    shown = [text for _, text in plain([Line("step", "a"), Line("step", "b")], 80)]
    assert shown == ["  1. a", "  2. b"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], 'no stream "nope"; use one of events'),
        (["events", "--records", "many"], "--records many: no number"),
        (["events", "--answer", "soon"], "'soon' is not a duration"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "acme.yaml").write_text(EXERCISE)
    done = saasctl(str(tmp_path / "acme.yaml"), *arguments)
    assert isinstance(done.exception, ConfigError)
    assert says in str(done.exception)


def test_mistakes_of_the_file_come_first(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="sned"):
        told(tmp_path, EXERCISE.replace("send: param:cursor", "sned: param:cursor"))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.3, "300 ms"),
        (59.96, "60 s"),
        (119.6, "2 min"),
        (3_599.9, "1 h"),
        (32_700, "9 h 5 min"),
        (36_001.3, "10 h"),
        (86_399, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_two_units_long(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_shares_are_never_rounded_up_to_the_whole() -> None:
    assert [percent(part) for part in (0.9999, 1.0, 0.996, 0.0004, 1.2)] == [
        "99.9 %",
        "100 %",
        "99.6 %",
        "0.04 %",
        "120 %",
    ]


def test_a_list_in_words() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]
