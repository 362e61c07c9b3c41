"""P1: what is deleted between the list of the deleted and the stream's own list is not missed."""

from __future__ import annotations

import json
import time
from pathlib import Path

from harness import PATIENCE_S, Pipeline
from sandbox_api import connector, sandbox

SIZE = 500
PAGES = 2  # of the deleted: the first fills the pipe, the last is fetched meanwhile
CONNECTOR = connector(
    """\
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}, lag: 0s}
    deletes: {list: {path: /orders/deleted, params: {since: "{start}"}}}
""",
    size=SIZE,
)


def test_a_delete_while_the_target_stalls_comes_with_the_next_run(folder: Path) -> None:
    with sandbox(customers=1, orders=PAGES * SIZE + 50, events=1) as box:
        shop = Pipeline(folder, box.url, CONNECTOR)
        shop.state.write_text(json.dumps(shop.tap().last_state))
        box.tell("POST", "/_world/change", stream="orders", delete=PAGES * SIZE)
        before = len(box.arrivals("/orders"))
        tap = shop.start_tap()
        until = time.monotonic() + PATIENCE_S
        while len(box.arrivals("/orders/deleted")) < 1 + PAGES:
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.3)
        assert len(box.arrivals("/orders")) == before, "the pass has begun"
        told = box.tell("POST", "/_world/change", stream="orders", delete=1)
        box.change("orders", update=1)
        time.sleep(1.1)  # the API's own clock, by which a pass begins, has whole seconds
        out = tap.stdout.read().splitlines()
        assert tap.wait() == 0, tap.told()
        tap.told()
        state = [json.loads(line)["value"] for line in out if b'"type":"STATE"' in line][-1]
        shop.state.write_text(json.dumps(state))
        second = shop.tap()
        gone = {str(r["id"]) for r in second.records("orders") if r.get("_sdc_deleted_at")}
        assert set(told["deleted"]) <= gone
