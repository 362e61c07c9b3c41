"""An API that tells what happens: by webhooks, and in a log that is read again."""

from __future__ import annotations

import time
from typing import NamedTuple

from tap_saas.demo.receiver import Receiver
from tap_saas.demo.scene import require
from tap_saas.demo.stage import Stage
from tap_saas.sandbox.signing import new_secret

INSERTED, UPDATED, DELETED = 40, 30, 8
SENT = 1 + INSERTED + UPDATED + DELETED
DISORDER_MS = 400
UNTOLD = {"update": 12, "insert": 4, "delete": 5, "restore": 2}
ROWS = """
SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE _sdc_deleted_at IS NOT NULL) FROM orders
"""
PATIENCE_S = 60.0


class Table(NamedTuple):
    """The table, and whether what stands there is what the API lists.

    `rows` with tombstones, `keys` different ones among them; `deleted` is what the API has deleted.
    """

    rows: int
    keys: int
    tombstones: int
    deleted: int
    exact: bool


class Pushed(NamedTuple):
    """What the API sent (`sent`, by its own count), what the receiver counted, what became of it.

    `after_s` is from before the last answer to the end of the pipe. `log` counts the log's events
    by type, `replayed` the records that the run with the lost state has taken from them.
    """

    sent: dict[str, int]
    counted: dict[str, int]
    after_s: float
    drained: Table
    log: dict[str, int]
    replayed: int
    table: Table


def play(stage: Stage) -> Pushed:
    """Webhooks, all of them twice, into a queue and a table; then the log, from its beginning."""
    stage.open_api()
    stage.export("HOOK_SECRET", new_secret())
    with stage.receiver() as receiver:
        stage.prepare()
        answered = _send(stage, receiver)
        stage.read("webhooks")
        stage.run()
        after_s = time.monotonic() - answered
        counted = receiver.counts()
    sent = stage.ask("GET", "/_webhooks?deliveries=0")["counts"]
    stage.tell(f"  the API sent: {sent}; the receiver counted: {counted}")
    drained = _table(stage)
    stage.tell(f"meanwhile, nobody listens: {UNTOLD}; and the state is lost")
    stage.ask("POST", "/_world/change", stream="orders", **UNTOLD)
    stage.lose_state()
    stage.read("events")
    stage.run()
    return Pushed(
        sent=sent,
        counted=counted,
        after_s=after_s,
        drained=drained,
        log=_log(stage),
        replayed=stage.report("orders")["rows_ingested"],
        table=_table(stage),
    )


def webhook(seen: Pushed) -> str:
    """`webhook twice, one row: ...`."""
    stored, twice = seen.counted["stored"], seen.counted["duplicate"]
    events, accepted = seen.sent["events"], seen.sent["accepted"]
    require(events == SENT == stored, f"{events} events sent, {stored} stored")
    require(twice == events and accepted == 2 * events, f"{accepted} accepted, {twice} again")
    refused = seen.counted["401"]
    require(refused == seen.sent["forged"] == 1, f"{refused} forged requests refused")
    _require_exact(seen.drained)
    return (
        f"webhook twice, one row: {events} events, {accepted} accepted, {twice} duplicates,"
        f" {refused} forged refused; {seen.drained.rows} rows, {seen.after_s:.1f} s after the last"
        f" POST"
    )


def replay(seen: Pushed) -> str:
    """`event log replayed, deletes included: ...`."""
    events, deletes = sum(seen.log.values()), seen.log.get("order.deleted", 0)
    require(events == SENT + sum(UNTOLD.values()), f"the log has {events} events")
    require(seen.replayed == events, f"{seen.replayed} records were taken from {events} events")
    require(deletes > seen.table.tombstones > 0, f"{deletes} deletes in the log")
    _require_exact(seen.table)
    require(seen.table.rows == seen.drained.rows + UNTOLD["insert"], f"{seen.table.rows} rows")
    rows = seen.table.rows - seen.table.tombstones
    return (
        f"event log replayed, deletes included: state lost, {events} events read again,"
        f" {deletes} deletes, {rows} rows and {seen.table.tombstones} tombstones, exact"
    )


def _require_exact(table: Table) -> None:
    require(table.rows == table.keys, f"{table.rows} rows of {table.keys} orders")
    require(table.tombstones == table.deleted, f"{table.tombstones} of {table.deleted} deleted")
    require(table.exact, "API and PostgreSQL differ")


def _send(stage: Stage, receiver: Receiver) -> float:
    """Let orders change, all of them told twice and one forged; an instant before the last answer.

    Raises:
        UntrueError: not all are answered in a minute.
    """
    stage.ask(
        "POST", "/webhooks", url=receiver.url, types=["order.*"], secret=stage.given["HOOK_SECRET"]
    )
    stage.ask("POST", "/_webhooks", double_every=1, forge_every=SENT, disorder_ms=DISORDER_MS)
    stage.tell(f"the API sends each event twice, in any order within {DISORDER_MS} ms, one forged")
    first = stage.ask("GET", "/orders")["data"][0]["id"]
    for change in (
        {"update": [str(first)], "insert": INSERTED},
        {"update": UPDATED, "delete": DELETED},
    ):
        stage.ask("POST", "/_world/change", stream="orders", **change)
        stage.tell(f"orders change: {change}")
    begun = before = time.monotonic()
    while stage.ask("GET", "/_webhooks?deliveries=0")["waiting"]:
        require(time.monotonic() - begun < PATIENCE_S, "not all events are answered")
        before = time.monotonic()
        time.sleep(0.02)
    for one in stage.ask("GET", "/webhooks")["data"]:
        stage.ask("DELETE", f"/webhooks/{one['id']}")
    return before


def _table(stage: Stage) -> Table:
    rows, keys, tombstones = stage.query(ROWS)[0]
    stage.tell(f"  table orders: {rows} rows of {keys} orders, {tombstones} of them tombstones")
    deleted = stage.ask("GET", "/orders/deleted")["total"]
    return Table(rows, keys, tombstones, deleted, stage.is_exact("orders"))


def _log(stage: Stage) -> dict[str, int]:
    counts: dict[str, int] = {}
    for event in stage.ask("GET", "/log?limit=500")["data"]:
        counts[event["type"]] = counts.get(event["type"], 0) + 1
    stage.tell(f"  the API's log: {counts}")
    return counts
