"""P4: the API's own word and the stated budget are kept, as seen where the requests arrive."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from harness import Pipeline
from sandbox_api import ORDERS, Sandbox, connector
from singer_output import Done

QUICK = "retry: {first: 50ms, max: 200ms}\n"


@pytest.mark.parametrize("form", ["seconds", "date", None])
def test_a_429_is_waited_out(form: str | None, folder: Path, box: Sandbox) -> None:
    shop = Pipeline(folder, box.url, connector(ORDERS, more=QUICK))
    box.fault("/orders", "429", every=3, retry_after=form, after_s=1.2)
    done = shop.tap()
    assert done.code == 0, done.told
    assert {str(r["id"]) for r in done.records("orders")} == {k for k, _ in box.truth("orders")}
    arrivals = box.arrivals("/orders")
    assert [status for _, status in arrivals] == [200, 200, 429, 200, 200]
    waited_s = arrivals[3][0] - arrivals[2][0]
    assert waited_s >= {"seconds": 2.0, "date": 1.2, None: 0.0}[form]
    assert waited_s < 4
    told = [line for line in done.warnings if "429 Too Many Requests" in line]
    assert len(told) == 1
    assert "orders: page 3: " in told[0]
    assert "request req_" in told[0]
    assert ("(Retry-After)" in told[0]) == (form is not None)
    assert "page 3: recovered" in done.told


@pytest.mark.parametrize("kept", ["home", "database"])
def test_a_budget_is_never_exceeded_where_the_requests_arrive_and_it_is_used(
    folder: Path, box: Sandbox, kept: str, request: pytest.FixtureRequest
) -> None:
    per_s, n = 15, 40
    budget = f"budgets: {{all: {{limits: [{{requests: {per_s}, per: 1s}}]}}}}\n"
    text = connector(ORDERS, size=1, more=budget)
    if kept == "home":  # two processes share what one may spend
        shops = [Pipeline(folder, box.url, text)] * 2
    else:  # and two machines
        url = request.getfixturevalue("database")
        shops = [
            Pipeline(folder / name, box.url, text, config={"budget_store": url}) for name in "ab"
        ]
    taps = [shop.start_tap() for shop in shops]
    outs = [tap.stdout.read() for tap in taps]
    assert [(tap.wait(), tap.told().count("Traceback")) for tap in taps] == [(0, 0), (0, 0)]
    assert all(out.count(b'"RECORD","stream":"orders"') == n for out in outs)
    times = [at for at, _ in box.arrivals("/orders")]
    assert len(times) == 2 * n
    most = max(sum(1 for at in times if start <= at < start + 1.0) for start in times)
    assert most <= per_s
    assert times[-1] - times[0] < math.ceil(2 * n / per_s) * 1.3


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_pause_that_the_api_asks_one_process_for_is_kept_by_the_others(
    folder: Path, box: Sandbox
) -> None:
    budget = "budgets: {all: {limits: [{requests: 20, per: 1s}], spread: true}}\n"
    shop = Pipeline(folder, box.url, connector(ORDERS, size=2, more=QUICK + budget))
    taps = [shop.start_tap() for _ in range(2)]
    wait_until(lambda: len(box.arrivals("/orders")) > 12)
    box.fault("/orders", "429", times=1, retry_after="seconds", after_s=1)
    outs = [tap.stdout.read() for tap in taps]
    assert [(tap.wait(), tap.told().count("Traceback")) for tap in taps] == [(0, 0), (0, 0)]
    assert all(out.count(b'"RECORD","stream":"orders"') == 40 for out in outs)
    arrivals = box.arrivals("/orders")
    refused = next(at for at, status in arrivals if status == 429)
    # What was on its way when the answer came had left already.
    meanwhile = [at for at, _ in arrivals if refused + 0.15 < at < refused + 1]
    assert meanwhile == []
    assert len([at for at, _ in arrivals if at > refused + 1]) > 2


def test_no_more_requests_than_a_run_may_make_and_none_for_nothing(
    folder: Path, box: Sandbox
) -> None:
    shop = Pipeline(folder, box.url, connector(ORDERS, size=4), config={"max_requests": 3})
    done = shop.tap()
    assert done.code == 0, done.told
    assert len(box.arrivals("/orders")) == 3
    assert len(done.records("orders")) == 12, "the last page is not thrown away"
    assert [line.partition(" orders: ")[2] for line in done.warnings] == [
        "incomplete: max_requests is reached (3); the next run goes on here"
    ]


def test_a_spent_budget_is_a_planned_end_told_once_and_remembered(
    folder: Path, box: Sandbox
) -> None:
    limit = "{requests: 5, per: 1h, reserve: 40%, spent: stop}"
    more = f"budgets: {{all: {{limits: [{limit}]}}}}\n"
    shop = Pipeline(folder, box.url, connector(ORDERS, size=4, more=more))
    first = shop.tap()
    shop.state.write_text(json.dumps(first.last_state))
    second = shop.tap()
    assert (first.code, second.code) == (0, 0), first.told + second.told
    assert len(box.arrivals("/orders")) == 3
    assert (len(first.records("orders")), len(second.records("orders"))) == (12, 0)
    for done in (first, second):
        (line,) = done.warnings
        assert "orders: incomplete: budget all is spent, the next request is allowed in" in line
        assert line.count("goes on") + line.count("again") == 1


@pytest.mark.parametrize("when", ["before", "within"])
def test_a_lost_store_of_budgets_stops_the_run_in_one_line(
    folder: Path, box: Sandbox, database: str, when: str
) -> None:
    two = ORDERS + ORDERS.replace("orders", "customers")
    url = f"{database}&password=wrong-secret-7f3a"
    shop = Pipeline(folder, box.url, connector(two, size=1), config={"budget_store": url})
    name = urlsplit(database).path[1:]
    box.fault("*", "slow", times=None, delay_ms=20)
    if when == "before":
        shop.configure(budget_store=url.replace(name, f"{name}_gone"))
    tap = shop.start_tap(TAP_SAAS_LOGLEVEL="DEBUG")
    if when == "within":
        wait_until(lambda: len(box.arrivals("/customers")) > 3)
        with psycopg.connect(database.replace(name, "postgres"), autocommit=True) as db:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")
            db.execute(f"CREATE DATABASE {name}")
    out = tap.stdout.read()
    done = Done(tap.wait(), out, tap.told())
    done.assert_one_line(2, "postgresql://", f"/{name}", "the budgets cannot be kept: ")
    assert done.told.count("the budgets cannot be kept") == 1
    assert box.arrivals("/orders") == [], "nothing goes on without budgets"
    assert len(box.arrivals("/customers")) < 40
