"""A second run: what changed, a version that comes late, a field that is new."""

from __future__ import annotations

from typing import Any, NamedTuple

from tap_saas.demo.scene import require
from tap_saas.demo.stage import Stage

COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = 'events'
"""
FILLED = "SELECT count(*) FROM events e WHERE to_jsonb(e) ->> %s IS NOT NULL"
UPDATED, INSERTED, EXTENDED = 30, 11, 5


class Changes(NamedTuple):
    """What run 2 read, and the rows that it met.

    `at_watermark` counts the orders whose `updated_at` was the watermark: an API that lists what
    changed at an instant or later lists them again. `late` is what the API listed once more,
    `before` and `after` the row it belongs to; `columns` are those that run 2 has added to
    `events`, with how many rows have a value there.
    """

    report: dict[str, Any]
    at_watermark: int
    exact: bool
    late: dict[str, Any]
    late_ingested: int
    before: tuple[Any, ...]
    after: tuple[Any, ...]
    columns: dict[str, int]
    events: int


def play(stage: Stage) -> Changes:
    """Run 1, changes in three lists, run 2."""
    stage.open_api(customers=60, orders=400, events=200)
    stage.prepare()
    stage.run()
    known = _columns(stage)
    watermark = stage.checkpoint("orders")["watermark"]
    again = stage.query("SELECT count(*) FROM orders WHERE updated_at = %s", watermark)
    late = _change(stage)
    before = _row(stage, late["id"])
    stage.tell(f"  table customers, row {late['id']}: updated_at {before[0]:%Y-%m-%d %H:%M:%S}")
    stage.run()
    after = _row(stage, late["id"])
    stage.tell(f"  table customers, row {late['id']}: updated_at {after[0]:%Y-%m-%d %H:%M:%S}")
    new = _columns(stage) - known
    report = stage.report("orders")
    stage.checkpoint("orders")
    return Changes(
        report=report,
        at_watermark=again[0][0],
        exact=all(stage.is_exact(name) for name in ("customers", "orders", "events")),
        late=late,
        late_ingested=stage.report("customers")["rows_ingested"],
        before=before,
        after=after,
        columns={name: stage.query(FILLED, name)[0][0] for name in sorted(new)},
        events=stage.query("SELECT count(*) FROM events")[0][0],
    )


def incremental(seen: Changes) -> str:
    """`run 2: 3 requests, 41 records`."""
    rows, requests = seen.report["rows_ingested"], seen.report["requests"]
    require(seen.exact, "API and PostgreSQL differ")
    changed = rows - seen.at_watermark
    require(changed == UPDATED + INSERTED, f"{changed} records")
    return (
        f"run 2: {requests} requests, {rows} records: {changed} changed,"
        f" {seen.at_watermark} stood at the watermark"
    )


def late(seen: Changes) -> str:
    """`older version arrived late: row unchanged`."""
    require(seen.late_ingested >= 1, "it did not arrive")
    require(seen.late["updated_at"] < seen.before[0].isoformat(), "it is not older")
    require(seen.after == seen.before, "the row has changed")
    return (
        f"older version arrived late: row unchanged ({seen.late['updated_at'][:10]} came,"
        f" {seen.after[0]:%Y-%m-%d} stays)"
    )


def new_field(seen: Changes) -> str:
    """`new field: column added, old rows null`."""
    require(len(seen.columns) == 1, f"new columns: {sorted(seen.columns)}")
    ((name, filled),) = seen.columns.items()
    require(filled == EXTENDED, f"{filled} rows have a value")
    require(seen.exact, "API and PostgreSQL differ")
    return f"new field: column {name} added, {seen.events - filled} old rows null, {filled} have it"


def _change(stage: Stage) -> dict[str, Any]:
    """Let the API's data change; the record that its list shows once more, in an older version."""
    stage.tell(f"meanwhile: {UPDATED} orders updated, {INSERTED} new")
    stage.ask("POST", "/_world/change", stream="orders", update=UPDATED, insert=INSERTED)
    stage.tell(f"meanwhile: {EXTENDED} events gain a field")
    stage.ask("POST", "/_world/change", stream="events", update=EXTENDED, insert=0, new_field=True)
    stage.ask("POST", "/_world/late", stream="customers", n=1)
    late: dict[str, Any] = stage.ask("GET", "/customers?sort=-updated_at&limit=1")["data"][0]
    stage.tell(f"meanwhile: customer {late['id']} is listed again, as of {late['updated_at']}")
    return late


def _row(stage: Stage, key: int) -> tuple[Any, ...]:
    """The whole row of a customer, its `updated_at` first."""
    return stage.query("SELECT updated_at, c::text FROM customers c WHERE id = %s", key)[0]


def _columns(stage: Stage) -> set[str]:
    return {row[0] for row in stage.query(COLUMNS)}
