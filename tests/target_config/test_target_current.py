"""The view of the children that are still there, made by `prepare`, filled by the real target."""

from __future__ import annotations

from typing import Any

import psycopg
from singer_lines import DATE_TIME, INTEGER, TEXT, Target, record, schema

from target_config.prepare import prepare

Connection = psycopg.Connection[tuple[Any, ...]]
LINES = {
    "order_id": INTEGER, "n": INTEGER, "updated_at": DATE_TIME, "_parent_read_at": DATE_TIME,
}  # fmt: skip
READINGS = {
    "id": TEXT, "stream": TEXT, "parent": {"type": ["object", "null"]}, "read_at": DATE_TIME,
}  # fmt: skip


def schemas(**more: Any) -> list[dict[str, Any]]:
    lines = schema("lines", {**LINES, **more}, key=("order_id", "n"))
    lines["schema"]["x-current"] = {
        "parent": ["order_id"], "at": "_parent_read_at", "empty": "_readings",
    }  # fmt: skip
    return [lines, schema("_readings", READINGS, version="read_at")]


def line(order: int, n: int, read: str | None, at: str = "00:00") -> dict[str, Any]:
    known = {"order_id": order, "n": n, "updated_at": f"2026-01-01T{at}:00Z"}
    extracted = "2026-01-01T12:00:00Z" if read is None else f"2026-01-01T{read}:00Z"
    if read is not None:
        known["_parent_read_at"] = extracted
    return {**record("lines", known), "time_extracted": extracted}


def empty(order: int, read: str) -> dict[str, Any]:
    return record(
        "_readings",
        {"id": str(order), "stream": "lines", "parent": {"order_id": order},
         "read_at": f"2026-01-01T{read}:00Z"},
    )  # fmt: skip


def current(sql: Connection) -> list[tuple[int, int]]:
    rows = sql.execute("SELECT order_id, n FROM lines_current ORDER BY 1, 2").fetchall()
    return [(int(order), int(n)) for order, n in rows]


def write(target: Target, *lines: dict[str, Any]) -> None:
    target.run([*schemas(), *lines], default_target_schema="public")


def test_it_shows_what_the_last_reading_of_each_parent_showed(
    database: str, sql: Connection, target: Target
) -> None:
    done = prepare(database, schemas(), schema="public")
    assert "view lines_current" in done.tables[0].done
    write(target, line(1, 1, "10:00"), line(1, 2, "10:00"), line(2, 1, "10:00"))
    assert current(sql) == [(1, 1), (1, 2), (2, 1)]
    write(target, line(1, 2, "11:00"))  # 1.1 is gone; order 2 was not read again
    assert current(sql) == [(1, 2), (2, 1)]
    write(target, empty(2, "11:30"))
    assert current(sql) == [(1, 2)]
    write(target, line(2, 3, None, "11:50"), line(1, 2, None, "11:50"))  # by a webhook, at 12:00
    assert current(sql) == [(1, 2), (2, 3)]
    write(target, line(1, 2, "13:00"), line(2, 4, "13:00"))  # a list that lags: 1.2 is older there
    assert current(sql) == [(1, 2), (2, 4)]
    assert sql.execute("SELECT count(*) FROM lines").fetchone() == (5,)


def test_it_is_made_once_and_anew_for_a_new_column(database: str, sql: Connection) -> None:
    prepare(database, schemas(), schema="public")
    assert not prepare(database, schemas(), schema="public", executable="/nowhere").has_changed
    done = prepare(database, schemas(colour=TEXT), schema="public")
    assert done.tables[0].done[-1] == "view lines_current"
    sql.execute("SELECT colour FROM lines_current")
    assert not prepare(database, schemas(colour=TEXT), schema="public").has_changed
