"""`check` sees everything that `prepare` would have made, and that somebody took away."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from singer_lines import DATE_TIME, INTEGER, SDC, TEXT, schema

from target_config import guard
from target_config.check import check
from target_config.prepare import prepare
from target_config.streams import read_stream

Connection = psycopg.Connection[tuple[Any, ...]]

ORDERS = {"id": INTEGER, "updated_at": DATE_TIME, "seen_at": DATE_TIME, "name": TEXT}
MESSAGE = schema("orders", ORDERS)


@pytest.fixture
def ready(database: str, sql: Connection) -> str:
    """A database with a guarded table `orders`."""
    sql.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz, seen_at timestamptz,"
        f" name text, {SDC})"
    )
    sql.execute(guard.script(read_stream(MESSAGE, "public")))
    assert check(database, [MESSAGE]) == []
    return database


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "lacks the key (id)"),
        ("ALTER TABLE orders ALTER seen_at TYPE timestamp", "seen_at without a time zone"),
        ("ALTER TABLE orders DISABLE TRIGGER USER", "trigger tap_saas_guard_lock disabled"),
        ("DROP TRIGGER tap_saas_guard_row ON orders", "lacks the trigger tap_saas_guard_row"),
        ("DROP FUNCTION tap_saas_guard_orders() CASCADE", "lacks the trigger tap_saas_guard_lock"),
        (
            "CREATE OR REPLACE FUNCTION tap_saas_guard_orders() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NEW; END'",
            "has a guard of another make",
        ),
    ],
)
def test_harm_is_seen_and_mended(ready: str, sql: Connection, harm: str, what: str) -> None:
    sql.execute(harm)
    (problem,) = check(ready, [MESSAGE])
    assert what in problem.what
    assert problem.line == f"public.orders: {problem.what}; run saasctl target prepare"
    prepare(ready, [MESSAGE])
    assert check(ready, [MESSAGE]) == []


def test_another_version_column_is_seen_and_mended(ready: str) -> None:
    moved = schema("orders", ORDERS, version="seen_at")
    (problem,) = check(ready, [moved])
    assert "newest wins by updated_at), the stream wants: " in problem.what
    assert problem.what.endswith("newest wins by seen_at")
    prepare(ready, [moved])
    assert check(ready, [moved]) == []
