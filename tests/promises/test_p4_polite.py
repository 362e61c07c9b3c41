"""P4: the API's own word and the stated budget are kept, as seen where the requests arrive."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from harness import Pipeline
from sandbox_api import ORDERS, Sandbox, connector

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


def test_a_budget_is_never_exceeded_where_the_requests_arrive_and_it_is_used(
    folder: Path, box: Sandbox
) -> None:
    per_s, n = 15, 40
    budget = f"budgets: {{all: {{limits: [{{requests: {per_s}, per: 1s}}]}}}}\n"
    shop = Pipeline(folder, box.url, connector(ORDERS, size=1, more=budget))
    taps = [shop.start_tap() for _ in range(2)]  # two processes share what one may spend
    outs = [tap.stdout.read() for tap in taps]
    assert [(tap.wait(), tap.told().count("Traceback")) for tap in taps] == [(0, 0), (0, 0)]
    assert all(out.count(b'"RECORD","stream":"orders"') == n for out in outs)
    times = [at for at, _ in box.arrivals("/orders")]
    assert len(times) == 2 * n
    most = max(sum(1 for at in times if start <= at < start + 1.0) for start in times)
    assert most <= per_s
    assert times[-1] - times[0] < math.ceil(2 * n / per_s) * 1.3
