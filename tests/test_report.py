"""The rows of `_runs`: what was counted, by however many threads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Thread

import jsonschema
import pytest

from tap_saas.redact import Redactor
from tap_saas.report import RUN_KEY, RUN_SCHEMA, Report, Used, Waiting

BEGAN = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def report(timer: Callable[[], float] = lambda: 0.0, redactor: Redactor | None = None) -> Report:
    return Report("run-1", redactor, now=lambda: BEGAN, timer=timer)


def test_a_row_holds_what_was_counted() -> None:
    seconds = iter([99.0, 100.0, 107.5])
    counts = report(lambda: next(seconds))
    counts.start("orders")
    counts.requested("orders")
    counts.requested("orders", retry=True)
    counts.waited("orders", "api", 1.5)
    counts.waited("orders", "api", 0.5)
    counts.waited("orders", "budget", 0.25 + 1e-9)
    counts.ingested("orders", 30)
    counts.rejected("orders", {"bad_date": 3, "missing_field": 6})
    counts.rejected("orders", {"bad_date": 1})
    counts.failed("orders", "http_503")
    counts.moved("orders", watermark_from="a", last_cursor={"page": 2})
    counts.moved("orders", watermark_to="b")
    counts.finish("orders", 0, "max_duration is reached")
    assert counts.rows() == [
        {
            "run_id": "run-1",
            "stream": "orders",
            "started_at": "2025-03-01T12:00:00Z",
            "duration_s": 7.5,
            "rows_ingested": 30,
            "rows_rejected": 10,
            "error_rate": 0.25,
            "errors": {"bad_date": 4, "missing_field": 6, "http_503": 1},
            "requests": 2,
            "retries": 1,
            "waited_budget_s": 0.25,
            "waited_api_s": 2.0,
            "waited_target_s": 0.0,
            "watermark_from": "a",
            "watermark_to": "b",
            "last_cursor": '{"page": 2}',
            "exit": 0,
            "incomplete": "max_duration is reached",
        }
    ]


def test_every_row_fits_the_schema_of_runs() -> None:
    counts = report()
    counts.start("orders")
    counts.failed("events", "broken_body")
    for row in counts.rows():
        jsonschema.validate(json.loads(json.dumps(row)), RUN_SCHEMA)
        assert list(row) == list(RUN_SCHEMA["properties"])
        assert all(row[key] for key in RUN_KEY)


def test_a_stream_that_is_still_running_has_a_duration_and_no_exit() -> None:
    seconds = iter([0.0, 0.0, 2.0, 5.0])
    counts = report(lambda: next(seconds))
    counts.start("orders")
    assert [(row["duration_s"], row["exit"]) for row in counts.rows()] == [(2.0, None)]
    counts.finish("orders", 5)
    assert [(row["duration_s"], row["exit"]) for row in counts.rows()] == [(5.0, 5)]


def test_a_stream_lasts_from_when_it_is_read_not_from_its_sample() -> None:
    now = 0.0
    counts = report(lambda: now)
    counts.requested("orders")
    now = 20.0
    counts.start("orders")
    now = 25.0
    counts.finish("orders", 0)
    assert [(row["duration_s"], row["requests"]) for row in counts.rows()] == [(5.0, 1)]


def test_streams_stand_in_the_order_in_which_they_began() -> None:
    counts = report()
    for stream in ("b", "a"):
        counts.start(stream)
    counts.ingested("b", 1)
    assert [row["stream"] for row in counts.rows()] == ["b", "a"]


def test_no_secret_reaches_a_row() -> None:
    counts = report(redactor=Redactor(["s3cr3t"]))
    counts.moved("orders", last_cursor="https://a.example/?key=s3cr3t", watermark_to="s3cr3t")
    counts.finish("orders", 0, "key s3cr3t")
    assert "s3cr3t" not in json.dumps(counts.rows())


def test_a_snapshot_stays_as_it_was() -> None:
    counts = report()
    counts.start("orders")
    counts.requested("orders", status=200)
    counts.rejected("orders", {"bad_date": 2})
    counts.spent([("all", "shop/all"), ("search", "shop/search")])
    before = counts.snapshot()
    counts.requested("orders", status=429)
    counts.failed("orders", "http_429")
    counts.rejected("orders", {"bad_date": 1})
    counts.spent([("all", "shop/all")])
    counts.finish("orders", 0)
    assert (before.statuses, before.rejects) == ({200: 1}, {"orders": {"bad_date": 2}})
    assert (before.rows[0].requests, before.rows[0].errors) == (1, {"bad_date": 2})
    assert before.reading == ["orders"]
    after = counts.snapshot()
    assert (after.statuses, after.reading) == ({200: 1, 429: 1}, [])
    assert {name: used.requests for name, used in after.used.items()} == {"all": 2, "search": 1}


def test_a_budget_with_a_key_counts_its_buckets() -> None:
    counts = report()
    for account in ("a", "b", "a"):
        counts.spent([("each", f"shop/each:{account}")])
    assert counts.snapshot().used == {"each": Used(requests=3, buckets=2)}


def test_a_stream_that_only_had_requests_is_not_being_read() -> None:
    counts = report()
    counts.requested("parents")
    counts.start("children")
    assert counts.snapshot().reading == ["children"]


def test_a_wait_is_seen_while_it_lasts_and_counted_by_who_waited() -> None:
    now = 0.0
    counts = report(lambda: now)
    counts.waiting("thread 1", "orders", "budget", "budget all", 5.0)
    now = 2.0
    counts.waiting("thread 1", "orders", "api", "the API", 4.0)
    assert counts.snapshot().waiting == [Waiting("orders", "api", "the API", 0.0, 6.0)]
    counts.resumed("thread 1")
    counts.waited("orders", "api", 2.0)
    counts.gave_up("thread 1")
    assert counts.snapshot().waiting == []
    assert counts.snapshot().rows[0].waited_api_s == 2.0


def test_a_wait_that_is_given_up_counts_as_far_as_it_came() -> None:
    now = 0.0
    counts = report(lambda: now)
    counts.waiting("thread 1", "orders", "api", "the API", 30.0)
    now = 3.0
    counts.gave_up("thread 1")
    (row,) = counts.snapshot().rows
    assert (row.waited_api_s, row.waited_budget_s) == (3.0, 0.0)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns after each step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_no_count_is_lost_between_threads() -> None:
    counts = report()

    def work() -> None:
        for _ in range(3_000):
            counts.requested("orders", retry=True)
            counts.waited("orders", "target", 1.0)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = counts.rows()
    assert (row["requests"], row["retries"], row["waited_target_s"]) == (24_000, 24_000, 24_000.0)
    assert counts.requests == 24_000
