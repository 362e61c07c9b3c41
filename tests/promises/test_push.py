"""Pull, webhooks and event log in the same tables: the newest version wins, deletes included."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import Death, Pipeline
from push_api import BY_TIME, CUSTOMERS, NAMED, ORDERS, WHOLE, Shop, shop, shop_yaml
from sandbox_api import Sandbox

from tap_saas.sandbox.log import Entry

SECRET = "whsec_c2FuZGJveC1zZWNyZXQtb2YtdGVzdHM="
BOTH = ("customers", "orders")
ALL = ("pull", "events", "webhooks")


@pytest.fixture
def sells(folder: Path, database: str) -> Iterator[Shop]:
    """A shop whose lists have been pulled once."""
    with shop(folder, shop_yaml(log=BY_TIME), database) as mill:
        mill.prepare()
        mill.flow("pull")
        mill.assert_exact(mill.box, *BOTH)
        yield mill


def deleted(mill: Shop, stream: str) -> set[str]:
    rows = mill.query(f"SELECT id FROM shop.{stream} WHERE _sdc_deleted_at IS NOT NULL")
    return {str(row[0]) for row in rows}


def columns(mill: Shop, key: str) -> tuple[Any, ...]:
    (row,) = mill.query(f"SELECT status, amount, note FROM shop.orders WHERE id = {key}")
    return row


def test_events_are_in_the_tables_of_the_pulled_rows(sells: Shop) -> None:
    sells.world.change("orders", update=5, insert=2, delete=2)
    sells.world.change("customers", update=4, insert=1, delete=1)
    sells.receive(sells.new_events())
    sells.flow("webhooks")
    sells.assert_exact(sells.box, *BOTH)
    assert len(deleted(sells, "orders")) == 2


def test_doubled_and_in_any_order_the_newest_wins(sells: Shop) -> None:
    for _ in range(3):
        sells.world.change("orders", update=["1", "2", "3"])
    entries = sells.new_events()
    sells.receive([*reversed(entries), *entries[:5], *entries[:2]])
    sells.flow("webhooks")
    sells.assert_exact(sells.box, "orders")
    sells.receive(entries[:4])  # in a run that has not seen the newer ones
    sells.flow("webhooks")
    sells.assert_exact(sells.box, "orders")


def test_a_late_update_of_a_deleted_record_changes_nothing(sells: Shop) -> None:
    before = columns(sells, "4")
    sells.world.change("orders", update=["4"])
    (late,) = sells.new_events()
    sells.world.change("orders", delete=["4"])
    sells.receive(sells.new_events())
    sells.flow("webhooks")
    assert deleted(sells, "orders") == {"4"}
    assert columns(sells, "4") == before, "a tombstone keeps the columns"
    sells.receive([late])
    sells.flow("webhooks")
    assert deleted(sells, "orders") == {"4"}
    sells.assert_exact(sells.box, "orders")


def test_a_newer_record_brings_the_row_back(sells: Shop) -> None:
    sells.world.change("orders", delete=["4", "5"])
    sells.receive(sells.new_events())
    sells.flow("webhooks")
    sells.world.change("orders", restore=["4", "5"])
    restored = sells.new_events()
    sells.receive(restored[:1])
    sells.flow("webhooks")
    assert deleted(sells, "orders") == {"5"}
    sells.flow("pull")
    assert deleted(sells, "orders") == set()
    sells.assert_exact(sells.box, "orders")


def test_the_log_tells_the_same_as_webhooks(sells: Shop) -> None:
    sells.world.change("orders", update=5, insert=2, delete=2)
    sells.world.change("customers", update=4, delete=1)
    sells.world.change("orders", restore=1)
    sells.flow("events")
    sells.assert_exact(sells.box, *BOTH)
    tables = [sells.table(stream) for stream in BOTH]
    sells.receive(sells.new_events())
    sells.flow("webhooks")
    assert [sells.table(stream) for stream in BOTH] == tables


SWEPT = f"{ORDERS}    deletes: {{sweep: {{every: 30d, max: 50%}}}}\n"


def sweep_now(mill: Shop) -> None:
    """The next pull is a sweep: the last one is long ago (by the tap's clock, not the target's)."""
    state = mill.kept()
    state["bookmarks"]["orders"]["swept"][1] = "2026-01-01T00:00:00Z"
    mill.state.write_text(json.dumps(state))


def lose(mill: Shop, n: int) -> tuple[set[str], list[Entry]]:
    """Delete orders, but not the newest one, which each pull reads again; the events too."""
    newest = max(mill.box.truth("orders"), key=lambda row: row[1])[0]
    ids = [key for key, _ in mill.box.truth("orders") if key != newest][:n]
    return set(mill.world.change("orders", delete=ids).deleted), mill.new_events()


def test_a_sweep_marks_what_it_did_not_see_and_leaves_what_came_meanwhile(
    folder: Path, database: str
) -> None:
    with shop(folder, shop_yaml(SWEPT, WHOLE, size=5), database, customers=0) as mill:
        mill.prepare()
        mill.flow("pull")
        mill.flow("pull")
        gone, lost = lose(mill, 3)
        sweep_now(mill)
        assert len(mill.flow("pull", max_requests=2).records("orders")) == 10
        # The sweep is in flight: it will not see an order that webhooks tell and that is gone then.
        new, _ = mill.world.change("orders", insert=2).inserted
        mill.receive(mill.new_events())
        mill.flow("webhooks")
        mill.world.change("orders", delete=[new])
        mill.new_events()
        mill.flow("pull")
        assert deleted(mill, "orders") == set(), "the pass is not proven written"
        mill.flow("pull")
        assert deleted(mill, "orders") == gone
        assert len(mill.table("orders")) == 17 + 2, "what came during the pass is left alone"
        mill.receive(lost)
        mill.flow("webhooks")
        assert deleted(mill, "orders") == gone


def test_a_sweep_that_does_not_count_marks_nothing(folder: Path, database: str) -> None:
    text = shop_yaml(SWEPT.replace("50%", "5%"), WHOLE)
    with shop(folder, text, database, customers=0) as mill:
        mill.prepare()
        mill.flow("pull")
        mill.flow("pull")
        gone, _ = lose(mill, 3)
        sweep_now(mill)
        mill.flow("pull")
        mill.flow("pull")
        assert deleted(mill, "orders") == set()
        mill.yaml.write_text(text.replace("5%", "20%"))
        sweep_now(mill)
        mill.flow("pull")
        mill.flow("pull")
        assert deleted(mill, "orders") == gone
        mill.assert_exact(mill.box, "orders")


MARKED = """\
    params: {include_deleted: "true"}
    deletes: {flag: $.is_deleted == true}
"""
LISTED = """\
    deletes: {list: {path: /customers/deleted, params: {since: "{start}"}}}
"""


def test_marked_and_listed_deletes(folder: Path, database: str) -> None:
    text = shop_yaml(ORDERS + MARKED + CUSTOMERS + LISTED)
    with shop(folder, text, database) as mill:
        mill.world.change("customers", delete=["1"])
        mill.world.change("orders", delete=["1"])
        mill.prepare()
        mill.flow("pull")
        for stream in BOTH:
            assert deleted(mill, stream) == {"1"}
            mill.world.change(stream, delete=["2", "3"], update=["4"])
        mill.flow("pull")
        for stream in BOTH:
            assert deleted(mill, stream) == {"1", "2", "3"}
            mill.world.change(stream, restore=["2"])
        mill.flow("pull")
        for stream in BOTH:
            assert deleted(mill, stream) == {"1", "3"}
        mill.assert_exact(mill.box, *BOTH)


@pytest.mark.parametrize(("who", "kills"), [("tap", 2), ("target", 1)])
def test_killed_while_it_drains_and_then_exact(
    who: str, kills: int, folder: Path, database: str
) -> None:
    """Real processes: the queue forgets only what a state that came back has proven."""
    with shop(folder, shop_yaml(ORDERS + CUSTOMERS, WHOLE + NAMED), database) as mill:
        mill.prepare()
        mill.flow("pull")
        mill.configure(feeds=["webhooks"])
        mill.world.change("orders", update=20, insert=60, delete=9)
        mill.world.change("customers", update=9, insert=5, delete=2)
        mill.receive(mill.new_events())
        whole = len(mill.drain().out)
        for kill in range(kills):
            at = int(whole * (kill + 1) / (kills + 1.5)) + int(time.time_ns() % 97)
            mill.run(death=Death(who, at, whole=kill % 2 == 0, after_s=0.1 * kill))
            mill.receive(mill.world.change("orders", update=3) and mill.new_events())
            place = mill.kept()["bookmarks"].get("webhooks.main", {}).get("queue") or [0, 0]
            assert mill.acknowledged() <= place[1]
            with mill.queue() as queue:
                queue.purge(keep=timedelta(0))
        mill.flow("webhooks")
        mill.assert_exact(mill.box, *BOTH)
        mill.drain()
        with mill.queue() as queue:
            (source,) = queue.status().sources
            assert source.acknowledged["main"] == source.last_offset


@contextlib.contextmanager
def receiver(folder: Path) -> Iterator[str]:
    """`saasctl webhooks serve sandbox` with its queue in the folder's home; its URL."""
    log = folder / "receiver.log"
    command = [
        str(Path(sys.executable).parent / "saasctl"), "webhooks", "serve", "sandbox",
        "--port", "0", "--no-access-log", "--queue", str(folder / "home" / "queue.db"),
    ]  # fmt: skip
    with log.open("w") as told:
        process = subprocess.Popen(command, stderr=told, stdout=told)
    try:
        until = time.monotonic() + 20
        while "receiving: url=" not in (text := log.read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < until, text
            time.sleep(0.05)
        yield text.partition("receiving: url=")[2].split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()


def settled(box: Sandbox) -> dict[str, Any]:
    """What the sandbox has sent, once nothing waits."""
    until = time.monotonic() + 20
    while (shown := box.tell("GET", "/_webhooks"))["waiting"]:
        assert time.monotonic() < until, shown["counts"]
        time.sleep(0.05)
    told: dict[str, Any] = shown
    return told


def test_from_the_api_by_the_receiver_into_the_tables(
    folder: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled connector: badly sent, received, drained; the log then tells what was lost."""
    with shop(folder, "", database, customers=20, orders=15, events=5) as mill:
        box = mill.box
        monkeypatch.setenv("SANDBOX_URL", box.url)
        monkeypatch.setenv("SANDBOX_CLIENT_SECRET", "sandbox-secret")
        monkeypatch.setenv("SANDBOX_WEBHOOK_SECRET", SECRET)
        mill.config.write_text(json.dumps({"connector": "sandbox", "home": str(folder / "home")}))
        mill.prepare()
        mill.flow("pull")
        with receiver(folder) as url:
            made = requests.post(
                f"{box.url}/webhooks",
                json={"url": url, "secret": SECRET},
                headers={"X-Api-Key": "sandbox-key"},
                timeout=10,
            )
            assert made.status_code == 201, made.text
            box.tell(
                "POST", "/_webhooks", double_every=3, forge_every=4, lose_every=11, disorder_ms=200
            )
            for _ in range(3):
                box.tell("POST", "/_world/change", stream="orders", update=6, insert=1, delete=1)
                box.tell("POST", "/_world/change", stream="customers", update=5, delete=1)
            shown = settled(box)
        forged = [one["statuses"] for one in shown["deliveries"] if one["forged"]]
        assert len(forged) > 5
        assert all(statuses == [401] for statuses in forged)
        lost = {one["event"] for one in shown["deliveries"] if one["end"] == "lost"}
        assert shown["counts"]["accepted"] == shown["counts"]["events"] + shown["counts"][
            "doubled"
        ] - len(lost)
        assert mill.flow("webhooks").records("_rejects") == []
        _assert_up_to_the_lost(box, mill, lost)
        mill.flow("events")
        mill.assert_exact(box, "customers", "orders")
        assert set(box.truth("order_lines")) <= set(mill.table("order_lines"))


def _assert_up_to_the_lost(box: Sandbox, mill: Pipeline, lost: set[str]) -> None:
    """The tables differ from the truth by what only the lost events told."""
    log = requests.get(
        f"{box.url}/log?limit=500", headers={"X-Api-Key": "sandbox-key"}, timeout=10
    ).json()["data"]
    untold = {
        (event["type"].split(".")[0] + "s", str(event["data"]["object"]["id"]))
        for event in log
        if event["id"] in lost
    }
    wrong = Counter(
        (stream, key)
        for stream in BOTH
        for key, _ in set(box.truth(stream)) ^ set(mill.table(stream))
    )
    assert set(wrong) <= untold
