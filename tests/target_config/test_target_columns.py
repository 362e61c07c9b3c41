"""Column types are predicted as the target makes them; what a column takes is what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_config.columns import INSTANT, NAIVE_INSTANT, column_type, migration, takes

NAMES = ["string", "integer", "number", "boolean", "object", "array", "null", "date"]
FORMATS = ["date-time", "date", "time", "uuid", "email", "uri", "ipv4", "x-singer.decimal", "odd"]
BOUNDS = [-(2**40), -(2**31), -(2**15), 0, 2**15 - 1, 2**15, 2**31 - 1, 2**31]

types = st.one_of(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
items = st.one_of(
    st.just({}),
    st.just([{"type": "string"}]),
    st.sampled_from(NAMES),
    st.fixed_dictionaries({"type": types}),
)
plain = st.fixed_dictionaries(
    {},
    optional={
        "type": types,
        "format": st.sampled_from(FORMATS),
        "items": items,
        "minimum": st.sampled_from(BOUNDS),
        "maximum": st.sampled_from(BOUNDS),
        "precision": st.integers(1, 30),
        "scale": st.integers(0, 9),
        "maxLength": st.integers(1, 99),
        "contentEncoding": st.just("base16"),
        "x-sql-datatype": st.sampled_from(["smallint", "integer", "bigint"]),
    },
)
properties = st.one_of(
    plain, st.fixed_dictionaries({"anyOf": st.lists(plain, min_size=1, max_size=3)})
)


@pytest.fixture(scope="module")
def target_type() -> Any:
    """What target-postgres itself makes of a property, as PostgreSQL would show it."""
    from sqlalchemy.dialects import postgresql
    from target_postgres.connector import PostgresConnector

    connector = PostgresConnector({"sqlalchemy_url": "postgresql+psycopg://nobody@localhost/none"})
    shown = {"TIMESTAMP WITHOUT TIME ZONE": INSTANT.upper(), "TIME": "TIME WITHOUT TIME ZONE"}

    def of(schema: Mapping[str, Any]) -> str:
        name = connector.to_sql_type(dict(schema)).compile(dialect=postgresql.dialect())
        name = shown.get(name, name).lower().replace(", ", ",").replace("decimal", "numeric")
        return f"{name[:-1]},0)" if name.startswith("numeric(") and "," not in name else name

    return of


@given(schema=properties)
def test_a_type_is_what_the_target_makes_of_it(target_type: Any, schema: dict[str, Any]) -> None:
    assert column_type(schema) == target_type(schema)


@pytest.mark.parametrize(
    ("existing", "wanted", "change"),
    [
        ("bigint", "numeric", "TYPE numeric;"),
        ("integer", "bigint", "TYPE bigint;"),
        ("smallint", "integer", "TYPE integer;"),
        ("numeric(10,2)", "numeric", "TYPE numeric;"),
        ("numeric(10,2)", "bigint", "TYPE numeric;"),
        ("character varying(10)", "text", 'TYPE text USING "c"::text;'),
    ],
)
def test_widenings_that_lose_nothing_are_safe(existing: str, wanted: str, change: str) -> None:
    found = migration("s", "t", "c", existing, wanted, is_order=False)
    assert found is not None
    assert found.is_safe
    assert found.sql == f'ALTER TABLE "s"."t" ALTER COLUMN "c" {change}'


@pytest.mark.parametrize(
    ("existing", "wanted", "change"),
    [
        ("bigint", "text", 'TYPE text USING "c"::text;'),
        ("double precision", "numeric", "TYPE numeric;"),
        ("text", "jsonb", 'TYPE jsonb USING to_jsonb("c");'),
        ("text[]", "jsonb", 'TYPE jsonb USING to_jsonb("c");'),
        ("jsonb", "text", "TYPE text USING \"c\" #>> '{}';"),
        ("date", INSTANT, f"TYPE {INSTANT} USING \"c\"::timestamp AT TIME ZONE 'UTC';"),
        ("boolean", "bigint", 'TYPE text USING "c"::text;'),
        (INSTANT, "date", 'TYPE text USING "c"::text;'),
    ],
)
def test_other_changes_are_told_and_left_to_people(existing: str, wanted: str, change: str) -> None:
    found = migration("s", "t", "c", existing, wanted, is_order=False)
    assert found is not None
    assert not found.is_safe
    assert found.sql == f'ALTER TABLE "s"."t" ALTER COLUMN "c" {change}'


def test_a_column_makes_way_for_a_typed_array() -> None:
    found = migration("s", "t", "c", "jsonb", "text[]", is_order=False)
    assert found is not None
    assert not found.is_safe
    assert found.sql == 'ALTER TABLE "s"."t" RENAME COLUMN "c" TO "c__old";'


def test_text_cannot_order_versions_of_another_type() -> None:
    assert migration("s", "t", "c", "text", INSTANT, is_order=False) is None
    found = migration("s", "t", "c", "text", INSTANT, is_order=True)
    assert found is not None
    assert found.sql.endswith(f'TYPE {INSTANT} USING "c"::{INSTANT};')


@given(
    existing=st.sampled_from(["bigint", "numeric", "text", "jsonb", "boolean", "uuid", "date"]),
    wanted=properties.map(column_type),
)
def test_a_migrated_column_takes_what_was_wanted(existing: str, wanted: str) -> None:
    found = migration("s", "t", "c", existing, wanted, is_order=False)
    if found is None:
        assert takes(existing, wanted)
        return
    if "RENAME" in found.sql:
        assert wanted.endswith("[]")
        return
    becomes = found.sql.partition(" TYPE ")[2].partition(" USING")[0].rstrip(";")
    assert takes(becomes, wanted)
    assert takes(NAIVE_INSTANT, INSTANT)
