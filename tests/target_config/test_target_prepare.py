"""`prepare` makes a database ready once, then does nothing, and tells what it cannot do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from singer_lines import DATE_TIME, INTEGER, NUMBER, SDC, TEXT, Target, record, schema

from target_config.catalog import read_tables
from target_config.check import check
from target_config.errors import TargetConfigError
from target_config.prepare import prepare

Connection = psycopg.Connection[tuple[Any, ...]]

ORDERS = {"id": INTEGER, "updated_at": DATE_TIME, "name": TEXT}
NO_TARGET = "/nowhere/target-postgres"
"""A target that cannot be started: proof that it was not needed."""


def columns(sql: Connection, table: str = "orders") -> dict[str, str]:
    return read_tables(sql, "public", [table])[table].columns


def make_orders(sql: Connection, more: str = "PRIMARY KEY (id)", name: str = "text") -> None:
    """A table that the target need not extend."""
    sql.execute(
        f"CREATE TABLE orders (id bigint, updated_at timestamptz, name {name}, {SDC}, {more})"
    )


def relfilenode(sql: Connection) -> Any:
    return sql.execute("SELECT pg_relation_filenode('orders')").fetchone()


def test_a_fresh_database_then_nothing_to_do_then_a_new_column(
    database: str, sql: Connection
) -> None:
    messages = [
        schema("orders", ORDERS),
        schema("runs", {"id": TEXT, "n": INTEGER}, version=None),
        schema("log", {"line": TEXT}, key=(), version=None),
    ]
    problems = check(database, messages, schema="Shop")
    assert [problem.what for problem in problems] == ["there is no such table"] * 3
    first = prepare(database, messages, schema="Shop")
    assert [(table.table, table.done[0]) for table in first.tables] == [
        ("Shop.orders", "created"),
        ("Shop.runs", "created"),
        ("Shop.log", "created"),
    ]
    made = read_tables(sql, "Shop", ["orders", "runs", "log"])
    assert made["orders"].columns["updated_at"] == "timestamp with time zone"
    assert made["runs"].columns["_sdc_deleted_at"] == "timestamp with time zone"
    assert [len(made[name].triggers) for name in ("orders", "runs", "log")] == [3, 3, 0]
    assert check(database, messages, schema="Shop") == []

    before = sql.execute("SELECT pg_current_xact_id()").fetchone()
    started = time.monotonic()
    second = prepare(database, messages, schema="Shop", executable=NO_TARGET)
    assert time.monotonic() - started < 1
    after = sql.execute("SELECT pg_current_xact_id()").fetchone()
    assert not second.has_changed
    assert int(str((after or "0")[0])) - int(str((before or "0")[0])) == 1, "it has written"

    messages[0] = schema("orders", {**ORDERS, "paid_at": DATE_TIME})
    assert [p.what for p in check(database, messages, schema="Shop")] == ["lacks paid_at"]
    third = prepare(database, messages, schema="Shop")
    assert third.lines == ["Shop.orders: columns added: paid_at, with time zone: paid_at"]
    assert check(database, messages, schema="Shop") == []


def test_a_table_of_an_older_run_keeps_its_values(
    database: str, sql: Connection, target: Target
) -> None:
    orders = schema("orders", ORDERS)
    target.run([orders, record("orders", {"id": 1, "updated_at": "2025-07-01T12:00:00.5Z"})])
    assert columns(sql)["updated_at"] == "timestamp without time zone"
    rows = relfilenode(sql)
    report = prepare(database, [orders], executable=NO_TARGET)
    assert report.is_ready
    assert report.tables[0].done[0].startswith("with time zone: ")
    assert report.tables[0].done[1:] == ("guard: newest wins by updated_at",)
    noon = datetime(2025, 7, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert sql.execute("SELECT id, updated_at FROM orders").fetchall() == [(1, noon)]
    assert relfilenode(sql) == rows, "the table was written anew"
    assert check(database, [orders]) == []


def test_instants_are_utc_in_a_database_of_another_time_zone(
    database: str, sql: Connection
) -> None:
    name = urlsplit(database).path[1:]
    sql.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    make_orders(sql)
    sql.execute("ALTER TABLE orders ALTER updated_at TYPE timestamp")
    sql.execute("INSERT INTO orders VALUES (1, '2025-07-01 12:00')")
    assert "time zone Asia/Tokyo shifts them" in check(database, [schema("orders", ORDERS)])[0].what
    prepare(database, [schema("orders", ORDERS)], executable=NO_TARGET)
    noon = datetime(2025, 7, 1, 12, tzinfo=UTC)
    assert sql.execute("SELECT updated_at FROM orders").fetchall() == [(noon,)]
    assert check(database, [schema("orders", ORDERS)], settings={"use_copy": True}) == []
    (problem,) = check(database, [schema("orders", ORDERS)])
    assert "INSERT shifts the hour" in problem.line


def test_a_view_on_top_is_named_in_one_line(database: str, sql: Connection) -> None:
    make_orders(sql)
    sql.execute("ALTER TABLE orders ALTER updated_at TYPE timestamp")
    sql.execute("CREATE VIEW latest AS SELECT max(updated_at) FROM orders")
    with pytest.raises(TargetConfigError, match=r"^public.orders: .*view latest.*; drop that view"):
        prepare(database, [schema("orders", ORDERS)], executable=NO_TARGET)
    assert columns(sql)["updated_at"] == "timestamp without time zone"


def test_a_missing_key_is_added_and_doubled_keys_are_told(database: str, sql: Connection) -> None:
    make_orders(sql, "CHECK (true)")
    sql.execute("INSERT INTO orders VALUES (7), (7)")
    orders = schema("orders", ORDERS)
    with pytest.raises(TargetConfigError, match=r"primary key \(id\).*\(id\)=\(7\).*; delete"):
        prepare(database, [orders], executable=NO_TARGET)
    sql.execute("DELETE FROM orders")
    sql.execute("INSERT INTO orders VALUES (NULL)")
    with pytest.raises(TargetConfigError, match=r"contains null values; delete"):
        prepare(database, [orders], executable=NO_TARGET)
    sql.execute("DELETE FROM orders")
    report = prepare(database, [orders], executable=NO_TARGET)
    assert report.tables[0].done[0] == "primary key (id)"
    assert check(database, [orders]) == []


def test_another_key_gives_the_line_to_run(database: str, sql: Connection) -> None:
    make_orders(sql)
    sql.execute("ALTER TABLE orders ALTER name SET NOT NULL")
    orders = schema("orders", ORDERS, key=("name", "id"))
    with pytest.raises(TargetConfigError, match="has the primary key") as caught:
        prepare(database, [orders], executable=NO_TARGET)
    sql.execute(caught.value.do.removeprefix("run: "))
    assert prepare(database, [orders], executable=NO_TARGET).is_ready
    with pytest.raises(TargetConfigError, match="the stream has none"):
        prepare(database, [schema("orders", ORDERS, key=())], executable=NO_TARGET)


def test_a_column_that_is_too_narrow_gives_the_line_to_run(database: str, sql: Connection) -> None:
    make_orders(sql, name="bigint, PRIMARY KEY (id)", more="CHECK (true)")
    sql.execute("INSERT INTO orders (id, name) VALUES (1, 42)")
    orders = schema("orders", ORDERS)
    report = prepare(database, [orders], executable=NO_TARGET, migrate=True)
    assert not report.is_ready
    assert not report.has_changed
    assert "name is bigint and cannot take text; run: ALTER TABLE" in report.lines[0]
    assert [problem.line for problem in check(database, [orders])[:1]] == report.lines
    sql.execute(report.tables[0].migrations[0].sql)
    assert prepare(database, [orders], executable=NO_TARGET).is_ready
    assert sql.execute("SELECT name FROM orders").fetchall() == [("42",)]


def test_safe_widenings_are_made_when_they_are_asked_for(database: str, sql: Connection) -> None:
    make_orders(sql, name="smallint")
    sql.execute("INSERT INTO orders (id, name) VALUES (1, 42)")
    orders = schema("orders", {**ORDERS, "name": NUMBER})
    assert not prepare(database, [orders], executable=NO_TARGET).is_ready
    report = prepare(database, [orders], executable=NO_TARGET, migrate=True)
    assert report.is_ready
    assert report.tables[0].done[0] == "name widened from smallint"
    assert columns(sql)["name"] == "numeric"


def test_only_what_loses_nothing_is_widened(database: str, sql: Connection) -> None:
    make_orders(sql, name="bigint", more="PRIMARY KEY (id), n integer")
    orders = schema("orders", {**ORDERS, "n": INTEGER})
    report = prepare(database, [orders], executable=NO_TARGET, migrate=True)
    assert report.tables[0].done == ("n widened from integer",)
    assert [change.column for change in report.tables[0].migrations] == ["name"]
    assert columns(sql)["name"] == "bigint"


def test_a_text_column_cannot_order_instants(database: str, sql: Connection) -> None:
    make_orders(sql)
    sql.execute("ALTER TABLE orders ALTER updated_at TYPE text")
    report = prepare(database, [schema("orders", ORDERS)], executable=NO_TARGET)
    sql.execute(report.tables[0].migrations[0].sql)
    assert columns(sql)["updated_at"] == "timestamp with time zone"


def test_two_preparations_at_once(database: str) -> None:
    orders = schema("orders", ORDERS)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: prepare(database, [orders]), range(2))
    assert sorted([first.has_changed, second.has_changed]) == [False, True]


def test_a_table_in_use_is_waited_for_no_longer_than_the_limit(
    database: str, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_orders(sql)
    monkeypatch.setattr("target_config.database.LOCK_TIMEOUT_S", 0.1)
    with sql.transaction():
        sql.execute("LOCK orders IN ROW EXCLUSIVE MODE")
        with pytest.raises(TargetConfigError, match="is in use for more than"):
            prepare(database, [schema("orders", ORDERS)], executable=NO_TARGET)


@pytest.fixture
def stranger(database: str, sql: Connection) -> Iterator[str]:
    """URL of a role that owns nothing in the database."""
    role = urlsplit(database).path[1:] + "_role"
    sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    parts = urlsplit(database)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{role}:pw@{host}"))
    sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_without_rights_is_told_so(sql: Connection, stranger: str) -> None:
    orders = schema("orders", ORDERS)
    with pytest.raises(TargetConfigError, match=r"denied for schema public; GRANT CREATE"):
        prepare(stranger, [orders])
    make_orders(sql)
    with pytest.raises(TargetConfigError, match=r"public.orders: permission denied"):
        prepare(stranger, [orders], executable=NO_TARGET)
    sql.execute(f"GRANT ALL ON SCHEMA public TO {urlsplit(stranger).username}")
    with pytest.raises(TargetConfigError, match=r"for table orders; run this as the owner"):
        prepare(stranger, [orders], executable=NO_TARGET)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"netloc": "me:s3cret@127.0.0.1:1", "query": ""}, "127.0.0.1:1/.*Connection refused"),
        ({"path": "/none_such"}, 'database "none_such" does not exist; create it'),
        ({"netloc": "none_such:s3cret@"}, "none_such"),
        ({"netloc": "me:s3@cret@host", "query": ""}, "cannot be read; write special"),
    ],
)
def test_a_database_that_does_not_let_us_in(
    postgres: str, change: dict[str, str], what: str
) -> None:
    url = urlunsplit(urlsplit(postgres)._replace(**change))
    with pytest.raises(TargetConfigError, match=what) as caught:
        prepare(url, [schema("orders", ORDERS)])
    assert "cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_not_there_or_fails(database: str, sql: Connection) -> None:
    orders = schema("orders", ORDERS)
    with pytest.raises(TargetConfigError, match="not installed; install the package meltanolabs"):
        prepare(database, [orders], executable=NO_TARGET)
    with pytest.raises(TargetConfigError, match="false could not make its tables"):
        prepare(database, [orders], executable="false")
    with pytest.raises(TargetConfigError, match=r"lacks id, .* after the target ran"):
        prepare(database, [orders], executable="true")
    with pytest.raises(TargetConfigError, match="add_record_metadata"):
        prepare(database, [orders], settings={"add_record_metadata": False})
    sql.execute("CREATE VIEW orders AS SELECT 1 AS id")
    with pytest.raises(TargetConfigError, match=r"public.orders is a view"):
        prepare(database, [orders], executable=NO_TARGET)
