"""Column types: what target-postgres makes of a JSON Schema, and what an existing column can take.

Types are written as PostgreSQL's `format_type` writes them. The first half follows target-postgres
0.8.1 (`JSONSchemaToPostgres`), which makes a column once and never alters its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from psycopg.sql import SQL, Identifier

INSTANT = "timestamp with time zone"
NAIVE_INSTANT = "timestamp without time zone"

MAX_NAME_BYTES = 63

METADATA: dict[str, dict[str, Any]] = {
    **{
        f"_sdc_{name}_at": {"type": ["null", "string"], "format": "date-time"}
        for name in ("extracted", "received", "batched", "deleted")
    },
    **{
        f"_sdc_{name}": {"type": ["null", "integer"]}
        for name in ("sequence", "table_version", "sync_started_at")
    },
}
"""The columns that the target adds to every table under `add_record_metadata`."""

_FORMATS = {
    "date-time": INSTANT,
    "date": "date",
    "time": "time without time zone",
    "uuid": "uuid",
}
_INTEGERS = ("smallint", "integer", "bigint")
_FLOATS = ("real", "double precision")
_TEXTS = ("text", "character varying")
_MIXED = (("array", "jsonb"), ("object", "jsonb"), ("string", "text"), ("number", "numeric"))


class Migration(msgspec.Struct, frozen=True):
    """A column whose type cannot take the stream's values, and the line that changes it."""

    column: str
    existing: str
    wanted: str
    sql: str
    is_safe: bool
    """Every stored value stays exactly what it is, and so does its JSON type."""


def column_type(schema: Any) -> str | None:
    """Return the type of the column for one property, date-times with a time zone.

    `None` where it depends on an extension of the server (`x-sql-datatype: pgvector`).
    """
    if not isinstance(schema, Mapping):
        return "text"
    for candidate in [schema, *schema.get("anyOf", [])]:
        if isinstance(candidate, Mapping) and candidate.get("x-sql-datatype") == "pgvector":
            return None
        if candidate is schema or candidate.get("type") != "null":
            found = _plain_type(candidate)
            if found:
                return found
    return "text"


def _plain_type(schema: Mapping[str, Any]) -> str | None:
    if schema.get("x-sql-datatype") in _INTEGERS:
        return str(schema["x-sql-datatype"])
    declared = schema.get("type")
    types = [declared] if isinstance(declared, str) else list(declared or [])
    types = [kind for kind in types if kind != "null"]
    if len(types) > 1:
        return _mixed_type(types)
    match types:
        case ["string"]:
            return _string_type(schema)
        case ["integer"]:
            return _integer_type(schema)
        case ["number"]:
            return "numeric"
        case ["boolean"]:
            return "boolean"
        case ["object"]:
            return "jsonb"
        case ["array"]:
            return _array_type(schema.get("items"))
        case _:
            return None


def _mixed_type(types: list[str]) -> str:
    for kind, name in (*_MIXED, ("integer", "bigint"), ("boolean", "boolean")):
        if kind in types:
            return name
    return "text"


def _string_type(schema: Mapping[str, Any]) -> str:
    if schema.get("format") == "x-singer.decimal":
        precision, scale = schema.get("precision"), schema.get("scale")
        return "numeric" if precision is None else f"numeric({precision},{scale or 0})"
    return _FORMATS.get(str(schema.get("format")), "text")


def _integer_type(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    for name, limit in (("smallint", 2**15), ("integer", 2**31)):
        if low >= -limit and high < limit:
            return name
    return "bigint"


def _array_type(items: Any) -> str:
    if isinstance(items, str):
        items = {"type": items}
    if isinstance(items, list):
        return "jsonb[]"
    if not isinstance(items, Mapping):
        return "jsonb"
    if "type" not in items:
        return "jsonb[]"
    return f"{column_type({'type': items['type']})}[]"


def migration(
    schema: str, table: str, column: str, existing: str, wanted: str | None, *, is_order: bool
) -> Migration | None:
    """Say how the column must change to take the stream's values; `None` when it takes them.

    `is_order`: the column orders versions, so text does not do where another type is wanted.
    """
    if wanted is None:
        return None
    becomes: str | None
    if is_order and existing in _TEXTS and wanted != "text":
        becomes, clause = (
            wanted,
            f"ALTER COLUMN {{column}} TYPE {wanted} USING {{column}}::{wanted}",
        )
    elif takes(existing, wanted):
        return None
    else:
        becomes, clause = _change(existing, wanted)
    is_safe = (becomes == "text" and existing.startswith("character varying")) or (
        becomes in (*_INTEGERS, "numeric") and _is_number(existing) and existing not in _FLOATS
    )
    sql = SQL(f"ALTER TABLE {{table}} {clause};").format(
        table=Identifier(schema, table),
        column=Identifier(column),
        old=Identifier(f"{column.encode()[: MAX_NAME_BYTES - 5].decode(errors='ignore')}__old"),
    )
    return Migration(column, existing, wanted, sql.as_string(), is_safe)


def takes(existing: str, wanted: str) -> bool:
    """Tell whether target-postgres can write every value of `wanted` without change or loss."""
    if existing == wanted or (existing == NAIVE_INSTANT and wanted == INSTANT):
        return True
    if existing in _TEXTS:
        return wanted != "jsonb" and not wanted.endswith("[]")
    if existing in _INTEGERS:
        return wanted in _INTEGERS[: _INTEGERS.index(existing)]
    return existing == "numeric" and _is_number(wanted)


def _change(existing: str, wanted: str) -> tuple[str | None, str]:
    """Return a type that takes old and new values, and the clause that makes it of the old ones.

    Nothing but its own type takes a typed array: there the old column makes way.
    """
    if wanted.endswith("[]"):
        return None, "RENAME COLUMN {column} TO {old}"
    becomes, using = "text", " USING {column}::text"
    if existing in _INTEGERS and wanted in _INTEGERS:
        becomes, using = wanted, ""
    elif _is_number(existing) and _is_number(wanted):
        becomes, using = "numeric", ""
    elif existing == "date" and wanted == INSTANT:
        becomes, using = INSTANT, " USING {column}::timestamp AT TIME ZONE 'UTC'"
    elif wanted == "jsonb":
        becomes, using = "jsonb", " USING to_jsonb({column})"
    elif existing == "jsonb":
        using = " USING {column} #>> '{{}}'"
    return becomes, f"ALTER COLUMN {{column}} TYPE {becomes}{using}"


def _is_number(name: str) -> bool:
    return name in (*_INTEGERS, *_FLOATS) or re.match(r"numeric\b", name) is not None
