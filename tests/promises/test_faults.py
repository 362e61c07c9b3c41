"""Each way in which an API fails for a moment: the run gets over it, says so once, and is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline
from sandbox_api import OAUTH, OAUTH_SECRET, ORDERS, Sandbox, connector

QUICK = "retry: {first: 20ms, max: 50ms}\n"
PAGES = 8
FAULTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("429", {"retry_after": "seconds", "after_s": 0.3}, "429 Too Many Requests"),
    ("429", {}, "429 Too Many Requests"),
    ("500", {}, "500 Internal Server Error"),
    ("503", {"retry_after": "seconds", "after_s": 0.3}, "503 Service Unavailable"),
    ("reset", {}, "connection failed: "),
    ("truncate", {}, "broken body: "),
    ("truncate", {"length": "whole"}, "broken body: "),
    ("html", {}, "broken body: "),
    ("empty_body", {}, "broken body: "),
    ("slow", {"delay_ms": 300}, None),
    ("401", {}, None),  # a withdrawn token is renewed without a wait
]


@pytest.mark.parametrize(("kind", "fields", "cause"), FAULTS)
def test_a_fault_in_the_middle_of_a_run_is_got_over(
    kind: str, fields: dict[str, Any], cause: str | None, folder: Path, box: Sandbox
) -> None:
    text = connector(ORDERS, size=5, more=QUICK, auth=OAUTH)
    shop = Pipeline(folder, box.url, text, secret=OAUTH_SECRET)
    box.fault("/orders", kind, every=4, **fields)
    done = shop.tap()
    assert done.code == 0, done.told
    assert box.tell("GET", "/_faults")[0]["hits"] == 1
    assert sorted(done.versions("orders")) == box.truth("orders")
    assert len(box.arrivals("/orders")) == PAGES + (kind != "slow")
    told = [line for line in done.warnings if "orders: page 4: " in line and "try 2 of" in line]
    assert len(told) == (cause is not None), done.told
    assert all(cause in line for line in told if cause)
    recovered = [line for line in done.told.splitlines() if "orders: page 4: recovered" in line]
    assert len(recovered) == (cause is not None), done.told
    assert done.warnings == told
    done.assert_no_secret()
    done.assert_singer()


def test_a_run_through_all_faults_is_exact_in_the_table(
    folder: Path, box: Sandbox, database: str
) -> None:
    text = connector(ORDERS, size=2, more=QUICK, auth=OAUTH)
    shop = Pipeline(folder, box.url, text, database=database, secret=OAUTH_SECRET)
    shop.prepare()
    box.calm()
    for kind, fields, _ in FAULTS:
        box.fault("/orders", kind, every=2, **fields)
    done = shop.run()
    done.assert_good()
    assert all(fault["hits"] == 1 for fault in box.tell("GET", "/_faults"))
    shop.assert_exact(box, "orders")
