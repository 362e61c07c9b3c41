"""What PostgreSQL has of our tables now: columns, keys, guard. One query for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from target_config.database import Connection

_CATALOG = Path(__file__).with_name("catalog.sql").read_text(encoding="utf-8")


class UniqueKey(msgspec.Struct, frozen=True):
    """A unique index on whole columns of all rows."""

    name: str
    is_primary: bool
    columns: frozenset[str]


class Trigger(msgspec.Struct, frozen=True):
    """One of the guard's triggers and the function that it calls."""

    is_enabled: bool
    function: str
    body: str
    comment: str | None


class Table(msgspec.Struct, frozen=True):
    """A table as it is now; `columns` maps names to types as `format_type` writes them."""

    name: str
    is_table: bool
    columns: dict[str, str]
    keys: list[UniqueKey]
    triggers: dict[str, Trigger]


def read_tables(connection: Connection, schema: str, names: Iterable[str]) -> dict[str, Table]:
    """Return those of the named tables (views too) that exist, by name."""
    rows = connection.execute(_CATALOG, {"schema": schema, "names": list(names)}).fetchall()
    found = [msgspec.json.decode(str(row[0]), type=Table) for row in rows]
    return {table.name: table for table in found}
