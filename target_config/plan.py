"""What stands between a database as it is and a tap's streams: read once, then acted on or told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from target_config import current, guard
from target_config.catalog import Table, read_tables
from target_config.columns import INSTANT, NAIVE_INSTANT, Migration, migration
from target_config.database import Connection
from target_config.errors import TargetConfigError
from target_config.streams import Stream


class Plan(msgspec.Struct, frozen=True):
    """What one stream's table lacks; `table` is `None` where there is none yet."""

    stream: Stream
    table: Table | None
    missing: tuple[str, ...]
    migrations: tuple[Migration, ...]
    naive: tuple[str, ...]
    """Date-time columns without a time zone, for a table that is there."""
    key: Literal["stands", "lacks", "differs"]
    guard_fault: str | None
    lacks_view: bool = False

    @property
    def is_done(self) -> bool:
        """Nothing is to be done."""
        lacks = self.missing or self.migrations or self.naive or self.guard_fault or self.lacks_view
        return not lacks and self.key == "stands"


def read_plans(connection: Connection, streams: Sequence[Stream]) -> list[Plan]:
    """Compare the database with the streams, which all go to one schema.

    One query for the tables, one for each view.
    """
    if not streams:
        return []
    names = [stream.table for stream in streams]
    tables = read_tables(connection, streams[0].schema, names)
    return [
        _plan(stream, tables.get(stream.table), lacks_view=not current.stands(connection, stream))
        for stream in streams
    ]


def _plan(stream: Stream, table: Table | None, *, lacks_view: bool) -> Plan:
    if table is None:
        missing = tuple(stream.columns)
        return Plan(stream, None, missing, (), (), "lacks", "has no guard", lacks_view)
    if not table.is_table:
        raise TargetConfigError(
            f"{stream.qualified} is a view, the stream {stream.name} needs a table of that name",
            "rename the view, or the stream",
        )
    columns = {name: kind for name, kind in table.columns.items() if name in stream.columns}
    return Plan(
        stream=stream,
        table=table,
        missing=tuple(name for name in stream.columns if name not in columns),
        migrations=tuple(_migrations(stream, columns)),
        naive=tuple(
            name
            for name, kind in columns.items()
            if kind == NAIVE_INSTANT and stream.columns[name] == INSTANT
        ),
        key=_key(stream, table),
        guard_fault=guard.fault(stream, table),
        lacks_view=lacks_view,
    )


def _migrations(stream: Stream, columns: dict[str, str]) -> list[Migration]:
    version = stream.version
    found = [
        migration(
            stream.schema,
            stream.table,
            name,
            kind,
            stream.columns[name],
            is_order=version is not None and version.column == name,
        )
        for name, kind in columns.items()
    ]
    return [change for change in found if change is not None]


def _key(stream: Stream, table: Table) -> Literal["stands", "lacks", "differs"]:
    primary = next((key.columns for key in table.keys if key.is_primary), None)
    wanted = frozenset(stream.key)
    if not wanted:
        return "differs" if primary else "stands"
    if primary is not None and primary != wanted:
        return "differs"
    return "stands" if any(key.columns == wanted for key in table.keys) else "lacks"
