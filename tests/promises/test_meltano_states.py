"""P1 under Meltano: full refreshes that are killed, `--force`, and each way to keep a state."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import PATIENCE_S, Child, Pipeline
from meltano_project import Project, ended, kill, tap_of
from sandbox_api import Sandbox, connector, sandbox
from singer_output import Done

PAGES, SIZE = 8, 5
PAUSE_MS = 150
READ = 3
CONNECTOR = connector(
    """\
  customers:
    path: /customers
    pagination: {size: {value: 30}}
    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
    schema: &schema
      type: object
      properties: {id: {type: integer}, updated_at: {type: string, format: date-time}}
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
    schema: *schema
""",
    size=SIZE,
)


class Store:
    """A project, its tables, and the sandbox that it reads: 60 customers, 40 orders."""

    def __init__(self, folder: Path, box: Sandbox, database: str) -> None:
        self.box = box
        self.tables = Pipeline(folder / "pipe", box.url, CONNECTOR, database=database)
        self.tables.prepare()
        self.project = Project(folder / "meltano", box.url, CONNECTOR, database=database)

    def run(self, *arguments: str) -> Done:
        """`meltano run`, to its end."""
        self.box.tell("DELETE", "/_requests")
        return self.project.run(*arguments)

    def assert_good(self, *arguments: str) -> Done:
        """The same, which must end well."""
        done = self.run(*arguments)
        assert done.code == 0, done.told[-4_000:]
        return done

    def strike(self, strike: Callable[[Child], None], *arguments: str) -> Done:
        """`meltano run`, struck when some pages of the orders have been read."""
        self.box.tell("DELETE", "/_requests")
        self.box.fault("/orders", "slow", times=None, delay_ms=PAUSE_MS)
        meltano = self.project.start(*arguments)
        until = time.monotonic() + PATIENCE_S
        while len(self.box.arrivals("/orders")) <= READ:
            assert meltano.is_running, meltano.told()[-4_000:]
            assert time.monotonic() < until
            time.sleep(0.02)
        strike(meltano)
        done = ended(meltano)
        self.box.tell("DELETE", "/_faults")
        return done

    def requests(self, path: str) -> int:
        """How many requests for a list the last run has sent."""
        return len(self.box.arrivals(path))


@pytest.fixture
def store(folder: Path, database: str) -> Iterator[Store]:
    with sandbox(events=1) as box:
        yield Store(folder, box, database)


def kill_tap(meltano: Child) -> None:
    """`kill -9` of the tap: Meltano keeps what the target echoes then."""
    pid = tap_of(meltano)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("strategy", ["merge", "overwrite"])
def test_a_full_refresh_whose_tap_was_killed_goes_on_at_its_page(
    strategy: str, store: Store
) -> None:
    store.assert_good()
    before = store.project.bookmark("orders")
    assert before["replication_key_value"]
    done = store.strike(kill_tap, "--full-refresh", "--state-strategy", strategy)
    assert done.code == 1
    kept = store.project.states()
    part = kept["partial" if strategy == "merge" else "completed"]["bookmarks"]["orders"]
    (walk,) = part["resume"]
    assert walk["since"] is None
    assert walk["page_token"]
    if strategy == "merge":
        assert kept["completed"]["bookmarks"]["orders"] == before
    for stream in ("customers", "orders"):
        store.box.change(stream, update=4, insert=2)
    store.assert_good()
    assert 0 < store.requests("/orders") <= PAGES - READ + 2
    store.tables.assert_exact(store.box, "customers", "orders")
    now = store.project.states()
    assert not now["partial"]
    assert [mark["resume"] for mark in now["completed"]["bookmarks"].values() if mark] == [[], []]


def test_after_meltano_was_killed_a_forced_run_completes_the_refresh(store: Store) -> None:
    store.strike(kill, "--full-refresh")
    refused = store.run()
    assert refused.code == 1
    assert "already" in refused.told
    assert not store.requests("/orders")
    store.box.change("orders", update=4, insert=2)
    store.assert_good("--force")
    store.tables.assert_exact(store.box, "customers", "orders")
    assert not store.project.bookmark("orders")["resume"]
    # What is left of the refresh does not come back: merged, and read from the watermark. Meltano
    # refuses runs for five minutes after a kill, whatever was forced meanwhile.
    store.assert_good("--force", "--state-strategy", "merge")
    assert store.requests("/orders") <= 2  # six have changed, five are a page; PAGES in full
    assert json.dumps(store.project.states()).count('"page_token"') == 0
