"""The guard by SQL alone: the statements of the target's batches, in any order, cut anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from singer_lines import INTEGER, TEXT, schema

from target_config import guard
from target_config.catalog import read_tables
from target_config.streams import Stream, read_stream

Connection = psycopg.Connection[tuple[Any, ...]]

NOW_MS = 10**12
"""Stands for the time of a row outside of full passes: above small pass numbers, below AFTER."""
AFTER = 10**14

many = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Row(msgspec.Struct):
    """One record of one key as it arrives, or one row as it is kept."""

    id: int
    version: Any
    name: str | None
    is_deleted: bool = False
    full_pass: int | None = None


def make_stream(version: Any = "v", key: Sequence[str] = ("id",), table: str = "t") -> Stream:
    properties = {"id": INTEGER, "v": TEXT if isinstance(version, dict) else INTEGER, "name": TEXT}
    return read_stream(schema(table, properties, key=key, version=version), "public")


def make_table(sql: Connection, stream: Stream, version_type: str = "bigint") -> None:
    name = f'"{stream.table}"'
    sql.execute(f"DROP TABLE IF EXISTS {name}")
    sql.execute(
        f"CREATE TABLE {name} (id bigint PRIMARY KEY, v {version_type}, name text,"
        " _sdc_deleted_at timestamptz, _sdc_table_version bigint)"
    )
    sql.execute(guard.script(stream))


def write(sql: Connection, rows: Iterable[Row]) -> None:
    """What the target does with a batch, in one transaction: the last of a key counts."""
    last = {row.id: row for row in rows}
    with sql.transaction():
        sql.execute("CREATE TEMP TABLE b ON COMMIT DROP AS SELECT * FROM t LIMIT 0")
        sql.cursor().executemany(
            "INSERT INTO b VALUES (%s, %s, %s, CASE WHEN %s THEN now() END, %s)",
            [(r.id, r.version, r.name, r.is_deleted, r.full_pass) for r in last.values()],
        )
        sql.execute("INSERT INTO t SELECT b.* FROM b LEFT JOIN t USING (id) WHERE t.id IS NULL")
        sql.execute(
            "UPDATE t SET id = b.id, v = b.v, name = b.name, _sdc_deleted_at = b._sdc_deleted_at,"
            " _sdc_table_version = b._sdc_table_version FROM b WHERE t.id = b.id"
        )


def activate(sql: Connection, full_pass: int) -> None:
    """What the target does with ACTIVATE_VERSION."""
    sql.execute(
        "UPDATE t SET _sdc_deleted_at = now() WHERE _sdc_deleted_at IS NULL"
        " AND (_sdc_table_version < %s OR _sdc_table_version IS NULL)",
        (full_pass,),
    )


def kept(sql: Connection) -> dict[int, tuple[Any, str | None, bool]]:
    rows = sql.execute("SELECT id, v, name, _sdc_deleted_at IS NOT NULL FROM t").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def arrive(table: dict[int, Row], new: Row) -> None:
    """The rules of guard.sql once more, over plain values."""
    seen = NOW_MS if new.full_pass is None else new.full_pass
    old = table.get(new.id)
    if old is None:
        table[new.id] = msgspec.structs.replace(new, full_pass=seen)
        return
    assert old.full_pass is not None
    is_older = old.version is not None and (new.version is None or new.version < old.version)
    is_newer_pass = new.full_pass is not None and new.full_pass > old.full_pass
    revives = old.is_deleted and not new.is_deleted
    if is_older or (revives and new.version == old.version and not is_newer_pass):
        if is_newer_pass:
            old.full_pass = seen
        return
    name = old.name if new.is_deleted else new.name
    table[new.id] = Row(new.id, new.version, name, new.is_deleted, max(seen, old.full_pass))


arrivals = st.lists(
    st.builds(
        Row,
        id=st.integers(1, 2),
        version=st.one_of(st.none(), st.integers(0, 2)),
        name=st.sampled_from(["a", "b", "c", None]),
        is_deleted=st.booleans(),
        full_pass=st.sampled_from([None, None, 1, 2, AFTER, AFTER + 1]),
    ),
    max_size=14,
)
cuts = st.lists(st.integers(0, 14), max_size=5)


def batches(rows: list[Row], places: list[int]) -> list[list[Row]]:
    ends = [0, *sorted(places), len(rows)]
    return [rows[start:end] for start, end in pairwise(ends)]


@many
@given(rows=arrivals, places=cuts)
def test_rows_are_what_the_rules_say(sql: Connection, rows: list[Row], places: list[int]) -> None:
    make_table(sql, make_stream())
    model: dict[int, Row] = {}
    for batch in batches(rows, places):
        write(sql, batch)
        for row in {row.id: row for row in batch}.values():
            arrive(model, row)
    assert kept(sql) == {r.id: (r.version, r.name, r.is_deleted) for r in model.values()}


VALUES = {
    "bigint": [1, 2, 3, 10, 2**40],
    "numeric": ["0.1", "1", "1.0000000000000000001", "9", "10"],
    "timestamptz": [f"2025-01-01T00:00:00.00000{n}Z" for n in range(5)],
    "date": [f"2025-01-0{n}" for n in range(1, 6)],
    "text": ["10", "9", "A", "a", "é"],
}


@pytest.mark.parametrize("version_type", VALUES)
@settings(many, max_examples=30)
@given(order=st.permutations(range(5)), places=cuts, deleted=st.integers(0, 4))
def test_the_newest_stays_in_any_order(
    sql: Connection, version_type: str, order: list[int], places: list[int], deleted: int
) -> None:
    version = {"text": "v"} if version_type == "text" else "v"
    stream = make_stream(version)
    make_table(sql, stream, version_type)
    values = VALUES[version_type]
    rows = [Row(1, values[n], f"name {n}", is_deleted=n == deleted) for n in order]
    for batch in batches(rows, places):
        # A batch holds one row a key: the tap's window has put the newest last.
        write(sql, sorted(batch, key=lambda row: values.index(row.version)))
    found = sql.execute("SELECT v::text, v = %s, name, _sdc_deleted_at FROM t", (values[4],))
    ((text, is_newest, name, deleted_at),) = found.fetchall()
    assert is_newest, text
    assert (deleted_at is not None) == (deleted == 4)
    assert deleted == 4 or name == "name 4"


def test_a_tombstone_keeps_the_columns_and_only_a_newer_version_revives(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 5, "kept")])
    write(sql, [Row(1, 6, None, is_deleted=True)])
    assert kept(sql) == {1: (6, "kept", True)}
    write(sql, [Row(1, 6, "equal")])
    assert kept(sql) == {1: (6, "kept", True)}
    write(sql, [Row(1, 7, "newer")])
    assert kept(sql) == {1: (7, "newer", False)}


def test_a_later_full_pass_revives_a_row_of_the_same_version(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 5, "a", full_pass=1)])
    activate(sql, 2)
    write(sql, [Row(1, 5, "a", full_pass=1)])
    assert kept(sql) == {1: (5, "a", True)}
    write(sql, [Row(1, 5, "a", full_pass=3)])
    assert kept(sql) == {1: (5, "a", False)}


def test_a_row_that_a_full_pass_saw_stale_outlives_it(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 9, "newer", full_pass=1), Row(2, 9, "unseen", full_pass=1)])
    write(sql, [Row(1, 8, "stale", full_pass=2)])
    activate(sql, 2)
    assert kept(sql) == {1: (9, "newer", False), 2: (9, "unseen", True)}


def test_a_row_that_came_outside_of_a_full_pass_outlives_it(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 1, "old", full_pass=1), Row(2, 1, "old", full_pass=1)])
    write(sql, [Row(1, 2, "by an event"), Row(3, 1, "new by an event")])
    activate(sql, 2)
    assert kept(sql) == {
        1: (2, "by an event", False),
        2: (1, "old", True),
        3: (1, "new by an event", False),
    }


def test_a_full_pass_does_not_revive_what_was_deleted_while_it_ran(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 5, "a", full_pass=1)])
    write(sql, [Row(1, 5, None, is_deleted=True)])
    write(sql, [Row(1, 5, "a", full_pass=2)])  # read before the delete, written after it
    assert kept(sql) == {1: (5, "a", True)}
    write(sql, [Row(1, 5, "a", full_pass=AFTER)])
    assert kept(sql) == {1: (5, "a", False)}


def test_a_late_batch_of_an_older_pass_does_not_hide_that_a_newer_saw_the_row(
    sql: Connection,
) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 5, "a", full_pass=2)])
    write(sql, [Row(1, 5, "a", full_pass=1)])
    activate(sql, 2)
    assert kept(sql) == {1: (5, "a", False)}


def test_without_a_version_the_last_to_come_wins(sql: Connection) -> None:
    make_table(sql, make_stream(version=None))
    write(sql, [Row(1, 5, "a")])
    write(sql, [Row(1, 4, "b")])
    assert kept(sql) == {1: (4, "b", False)}
    write(sql, [Row(1, None, None, is_deleted=True)])
    assert kept(sql) == {1: (4, "b", True)}
    write(sql, [Row(1, 3, "c")])
    assert kept(sql) == {1: (3, "c", False)}


def test_rows_from_before_the_guard_are_guarded_too(sql: Connection) -> None:
    make_table(sql, make_stream())
    sql.execute("ALTER TABLE t DISABLE TRIGGER USER")
    sql.execute("INSERT INTO t VALUES (1, 5, 'old', NULL, NULL), (2, NULL, 'bare', NULL, NULL)")
    sql.execute("ALTER TABLE t ENABLE TRIGGER USER")
    write(sql, [Row(1, 4, "stale", full_pass=1), Row(2, 1, "newer")])
    activate(sql, 1)
    assert kept(sql) == {1: (5, "old", False), 2: (1, "newer", False)}


def test_a_row_from_before_the_guard_that_a_pass_missed_comes_back_with_the_next(
    sql: Connection,
) -> None:
    make_table(sql, make_stream())
    sql.execute("ALTER TABLE t DISABLE TRIGGER USER")
    sql.execute("INSERT INTO t VALUES (1, 5, 'old', NULL, NULL)")
    sql.execute("ALTER TABLE t ENABLE TRIGGER USER")
    activate(sql, 1)
    assert kept(sql) == {1: (5, "old", True)}
    write(sql, [Row(1, 5, "old", full_pass=2)])
    assert kept(sql) == {1: (5, "old", False)}


def test_a_new_row_is_written_once(sql: Connection) -> None:
    make_table(sql, make_stream())
    write(sql, [Row(1, 5, "a")])
    ((place,),) = sql.execute("SELECT ctid::text FROM t").fetchall()
    assert place == "(0,1)", "the UPDATE after the INSERT made a second copy of the row"


@pytest.mark.parametrize("newer_first", [True, False])
def test_a_second_writer_waits_and_meets_the_rows_of_the_first(
    sql: Connection, database: str, newer_first: bool
) -> None:
    make_table(sql, make_stream())
    first, second = (9, 8) if newer_first else (8, 9)
    with psycopg.connect(database, autocommit=True) as other:
        thread = threading.Thread(target=write, args=(other, [Row(1, second, "second")]))
        with sql.transaction():
            sql.execute("INSERT INTO t VALUES (1, %s, 'first')", (first,))
            thread.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            deadline = time.monotonic() + 10
            while sql.execute(waiting).fetchone() != (1,):
                assert time.monotonic() < deadline, "the second writer does not wait for the lock"
        thread.join(timeout=10)
    assert not thread.is_alive()
    assert kept(sql) == {1: (9, "first" if newer_first else "second", False)}


@pytest.mark.parametrize("table", ["t" * 63, "ä" * 31, 'we"ird' * 3, "Upper Case"])
def test_any_name_of_a_table_has_a_guard(sql: Connection, table: str) -> None:
    stream = msgspec.structs.replace(make_stream(), table=table)
    quoted = table.replace('"', '""')
    sql.execute(
        f'CREATE TABLE "{quoted}" (id bigint PRIMARY KEY, v bigint, name text,'
        " _sdc_deleted_at timestamptz, _sdc_table_version bigint)"
    )
    sql.execute(guard.script(stream))
    found = read_tables(sql, "public", [table])[table]
    assert guard.fault(stream, found) is None
    assert guard.function_name(table) != guard.function_name(table[:-1] + "z")


def test_every_part_of_the_key_is_compared(sql: Connection) -> None:
    stream = make_stream(key=("id", "name"))
    make_table(sql, stream)
    sql.execute("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, name)")
    sql.execute("INSERT INTO t VALUES (1, 1, 'a'), (1, 1, 'b'), (1, 1, 'a')")
    assert sql.execute("SELECT id, name FROM t ORDER BY name").fetchall() == [(1, "a"), (1, "b")]
