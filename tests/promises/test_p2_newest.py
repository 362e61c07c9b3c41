"""P2: one row a key, its version the newest that was ever seen, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

from harness import Pipeline
from sandbox_api import connector, sandbox

STREAMS = ("customers", "orders", "events")
CONNECTOR = connector(
    """\
  customers:
    path: /customers
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
  events:
    path: /events
    pagination: {size: {value: 50}}
    version: updated_at
""",
    size=7,
)


def test_an_older_version_that_comes_late_never_wins(folder: Path, database: str) -> None:
    with sandbox(customers=50, orders=30, events=300) as box:
        shop = Pipeline(folder, box.url, CONNECTOR, database=database)
        shop.prepare()
        for stream in STREAMS:  # at the end of the list: pages later, in the same run
            box.change(stream, update=15)
            box.tell("POST", "/_world/late", stream=stream, n=12)
        first = shop.run()
        first.assert_good()
        shop.assert_exact(box, *STREAMS)
        for stream in STREAMS:  # in a run that never saw the newer one
            box.tell("POST", "/_world/late", stream=stream, n=12)
        second = shop.run()
        second.assert_good()
        shop.assert_exact(box, *STREAMS)
        # The guard had something to do: what the tap wrote last is older than what stands there.
        for stream in ("customers", "orders"):
            table = dict(shop.table(stream))
            last = dict(second.tap.versions(stream))
            assert any(table[key] > version for key, version in last.items())


def test_a_list_that_changes_while_it_is_read_is_exact_after_a_quiet_run(
    folder: Path, database: str
) -> None:
    with sandbox(customers=50, orders=60, events=50) as box:
        shop = Pipeline(folder, box.url, CONNECTOR, database=database)
        shop.prepare()
        for path in ("/customers", "/orders"):
            box.fault(path, "slow", times=None, delay_ms=20)
        for stream in ("customers", "orders"):
            box.tell("POST", "/_world/churn", stream=stream, every_ms=4)
        shop.run().assert_good()
        stopped = box.tell("DELETE", "/_world/churn")
        assert all(churn["changed"] > 50 for churn in stopped)
        shop.run().assert_good()
        shop.assert_exact(box, *STREAMS)
