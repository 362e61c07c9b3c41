"""Newest wins, deletes and time zones with the real target-postgres as a process."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from singer_lines import DATE_TIME, INTEGER, NUMBER, SDC, TEXT, Target, finish, record, schema

from target_config.prepare import prepare

Connection = psycopg.Connection[tuple[Any, ...]]

ORDERS = {"id": INTEGER, "updated_at": DATE_TIME, "name": TEXT}
STREAMS = [f"orders_{number}" for number in range(3)]
BOOLEAN = {"type": ["boolean", "null"]}
TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
SMALL = {"type": ["integer", "null"], "minimum": 0, "maximum": 9}
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def instant(number: int) -> str:
    return (NEW_YEAR + timedelta(microseconds=number)).isoformat().replace("+00:00", "Z")


def row(key: int, version: int | None, **more: Any) -> dict[str, Any]:
    updated_at = None if version is None else instant(version)
    return {"id": key, "updated_at": updated_at, "name": f"name {version}", **more}


def lived(sql: Connection, stream: str = "orders") -> dict[int, tuple[str | None, str, bool]]:
    found = sql.execute(
        f"SELECT id, updated_at, name, _sdc_deleted_at IS NOT NULL FROM {stream}"
    ).fetchall()
    return {
        key: (at and at.astimezone(UTC).isoformat().replace("+00:00", "Z"), name, deleted)
        for key, at, name, deleted in found
    }


def guarded(database: str, sql: Connection, streams: list[str]) -> list[dict[str, Any]]:
    """Guarded tables that the target need not extend, and their SCHEMA messages."""
    for stream in streams:
        sql.execute(
            f"CREATE TABLE IF NOT EXISTS {stream}"
            f" (id bigint PRIMARY KEY, updated_at timestamptz, name text, {SDC})"
        )
    messages = [schema(stream, ORDERS) for stream in streams]
    assert prepare(database, messages, executable="/nowhere/target").is_ready
    return messages


def lines(stream: str, order: list[int | None], grows_at: int, batch_size: int) -> Any:
    """One key's versions as they arrive; the schema grows before the record number `grows_at`.

    Rows of the narrow schema that do not fill a batch wait, and are written after later ones.
    Within a batch the newest is the last, as the tap's window puts it.
    """
    for properties, part in (
        (ORDERS, order[:grows_at]),
        ({**ORDERS, "extra": TEXT}, order[grows_at:]),
    ):
        yield schema(stream, properties)
        for start in range(0, len(part), batch_size):
            batch = part[start : start + batch_size]
            for version in sorted(batch, key=lambda v: -1 if v is None else v):
                yield record(stream, row(1, version))


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    orders=st.tuples(*[st.permutations([None, *range(6)]) for _ in STREAMS]),
    grows_at=st.integers(0, 6),
    batch_size=st.integers(1, 3),
    use_copy=st.booleans(),
)
def test_the_newest_stays_whatever_the_order_the_batches_and_the_schemas(
    database: str,
    sql: Connection,
    target: Target,
    orders: tuple[list[int | None], ...],
    grows_at: int,
    batch_size: int,
    use_copy: bool,
) -> None:
    guarded(database, sql, STREAMS)
    sql.execute(f"TRUNCATE {', '.join(STREAMS)}")
    messages = [
        line
        for stream, order in zip(STREAMS, orders, strict=True)
        for line in lines(stream, order, grows_at, batch_size)
    ]
    target.run(messages, use_copy=use_copy, batch_size_rows=batch_size)
    assert {stream: lived(sql, stream) for stream in STREAMS} == {
        stream: {1: (instant(5), "name 5", False)} for stream in STREAMS
    }


def test_deletes(database: str, sql: Connection, target: Target) -> None:
    streams = ["tombstone", "equal", "newer", "sweep"]
    schemas = guarded(database, sql, streams)
    deleted = {"id": 1, "updated_at": instant(2), "_sdc_deleted_at": instant(2)}
    target.run(
        [
            *schemas,
            *(record(stream, row(1, 1)) for stream in streams[:3]),
            *(record(stream, deleted) for stream in streams[:3]),
            record("equal", row(1, 2)),
            record("newer", row(1, 3)),
            record("sweep", row(1, 5), version=10),
            record("sweep", row(2, 5), version=10),
            record("sweep", row(1, 4), version=20),  # stale, but seen by the full pass
            {"type": "ACTIVATE_VERSION", "stream": "sweep", "version": 20},
        ],
        batch_size_rows=1,
    )
    assert lived(sql, "tombstone") == {1: (instant(2), "name 1", True)}
    assert lived(sql, "equal") == {1: (instant(2), "name 1", True)}
    assert lived(sql, "newer") == {1: (instant(3), "name 3", False)}
    assert lived(sql, "sweep") == {
        1: (instant(5), "name 5", False),
        2: (instant(5), "name 5", True),
    }


def test_two_pipelines_bring_the_same_new_keys_at_once(
    database: str, sql: Connection, target: Target
) -> None:
    (orders,) = guarded(database, sql, ["orders"])
    keys = range(1_500)
    pulls = [orders, *(record("orders", row(key, key % 2)) for key in keys)]
    events = [orders, *(record("orders", row(key, 1 - key % 2)) for key in keys)]
    processes = [target.start(lines, batch_size_rows=100) for lines in (pulls, events)]
    for process in processes:
        finish(process)
    assert lived(sql) == {key: (instant(1), "name 1", False) for key in keys}


def arrivals(seed: int, keys: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Versions of each key, one in six a tombstone, in any order, some to each of two pipelines."""
    chance = random.Random(seed)
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    rows = [
        row(key, version) if chance.random() > 1 / 6
        else {"id": key, "updated_at": instant(version), "_sdc_deleted_at": instant(version)}
        for key in range(keys) for version in range(1, 6)
    ]  # fmt: skip
    chance.shuffle(rows)
    for one in rows:
        chance.choice(parts).append(one)
    return parts


def test_two_pipelines_at_once_leave_the_newest_of_each_key(
    database: str, sql: Connection, target: Target
) -> None:
    """One copies, the other inserts; one's schema grows meanwhile. Many keys: many orders."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    (orders,) = guarded(database, sql, ["orders"])
    size = 40
    processes = []
    parts = arrivals(seed, keys=150)
    for part, use_copy in zip(parts, (True, False), strict=True):
        messages = [orders]
        for start in range(0, len(part), size):
            # Within a batch the newest is the last, as the tap's window puts it.
            batch = sorted(part[start : start + size], key=lambda one: str(one["updated_at"]))
            if use_copy and start >= len(part) // 2:
                messages.append(schema("orders", {**ORDERS, "extra": TEXT}))
            messages += [record("orders", one) for one in batch]
        processes.append(target.start(messages, batch_size_rows=size, use_copy=use_copy))
    for process in processes:
        finish(process)
    newest: dict[int, dict[str, Any]] = {}
    for one in sorted([*parts[0], *parts[1]], key=lambda one: str(one["updated_at"])):
        newest[one["id"]] = one
    found = lived(sql)
    assert {key: (at, deleted) for key, (at, _, deleted) in found.items()} == {
        key: (one["updated_at"], "_sdc_deleted_at" in one) for key, one in newest.items()
    }
    for key, one in newest.items():
        assert "_sdc_deleted_at" in one or found[key][1] == one["name"]


def test_instants_are_right_in_any_session_time_zone(
    database: str, sql: Connection, target: Target
) -> None:
    name = database.partition("?")[0].rpartition("/")[2]
    sql.execute(f"ALTER DATABASE {name} SET timezone = 'America/St_Johns'")
    (orders,) = guarded(database, sql, ["orders"])
    # One local time, half past one at night, twice: clocks go back between these two instants.
    twice = ["2025-11-02T04:00:00Z", "2025-11-02T05:00:00Z"]
    rows = [record("orders", {**row(key, 0), "updated_at": at}) for key, at in enumerate(twice)]
    target.run([orders, *rows], use_copy=True)
    target.run([orders, record("orders", row(2, 7))], use_copy=False)
    assert [at for at, _, _ in lived(sql).values()] == [*twice, instant(7)]
    with psycopg.connect(database) as other:
        (fresh,) = other.execute(
            "SELECT bool_and(now() - _sdc_received_at < interval '5 min'"
            " AND now() >= _sdc_received_at) FROM orders"
        ).fetchone() or (None,)
    assert fresh, "the target's own instants are shifted"


@pytest.mark.parametrize("use_copy", [True, False])
def test_a_column_that_takes_a_type_keeps_its_values(
    database: str, sql: Connection, target: Target, use_copy: bool
) -> None:
    existing = {
        "text": "text text, bool text, number text, instant text",
        "numeric": "number numeric, whole numeric",
        "arrays": "texts text[], mixed jsonb, whole bigint",
    }
    schemas = {
        "text": {"text": TEXT, "bool": BOOLEAN, "number": NUMBER, "instant": DATE_TIME},
        "numeric": {"number": NUMBER, "whole": INTEGER},
        "arrays": {"texts": TEXTS, "mixed": {"type": "array"}, "whole": SMALL},
    }
    values: dict[str, dict[str, Any]] = {
        "text": {"text": "a", "bool": True, "number": 1.5, "instant": instant(0)},
        "numeric": {"number": 0.25, "whole": 2**53 + 1},
        "arrays": {"texts": ["a", "b"], "mixed": ["a", 1], "whole": 7},
    }
    for name, columns in existing.items():
        sql.execute(f'CREATE TABLE "{name}" (id bigint PRIMARY KEY, {columns}, {SDC})')
    messages = [
        schema(name, {"id": INTEGER, **properties}, version=None)
        for name, properties in schemas.items()
    ]
    assert prepare(database, messages).is_ready
    target.run(
        [*messages, *(record(name, {"id": 1, **row}) for name, row in values.items())],
        use_copy=use_copy,
    )
    found = {name: sql.execute(f'SELECT * FROM "{name}"').fetchone() for name in existing}
    text = found["text"]
    assert text is not None
    assert text[1] == "a"
    assert text[2] in ("t", "true")
    assert text[3] == "1.5"
    assert text[4].startswith("2025-01-01 00:00:00")
    assert (found["numeric"] or ())[1:3] == (pytest.approx(0.25), 2**53 + 1)
    assert (found["arrays"] or ())[1:4] == (["a", "b"], ["a", 1], 7)
