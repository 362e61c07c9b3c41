"""What SCHEMA messages ask of the database: a table a stream, named as target-postgres does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from target_config.columns import INSTANT, MAX_NAME_BYTES, METADATA, column_type
from target_config.errors import TargetConfigError

_ORDERED = (INSTANT, "date", "smallint", "integer", "bigint", "numeric")


class Version(msgspec.Struct, frozen=True):
    """The column that orders a row's versions; `as_text` compares byte by byte."""

    column: str
    as_text: bool = False


class Current(msgspec.Struct, frozen=True):
    """Children that are read whole: the columns of their parent, that of the instant of reading,
    and the stream that has the readings that showed none.
    """

    parent: tuple[str, ...]
    at: str
    empty: str


class Stream(msgspec.Struct, frozen=True):
    """One stream's table as it must be; `columns` without a type are not compared."""

    name: str
    schema: str
    table: str
    key: tuple[str, ...]
    version: Version | None
    columns: dict[str, str | None]
    message: dict[str, Any]
    current: Current | None = None

    @property
    def qualified(self) -> str:
        """`schema.table`, as lines for people show it."""
        return f"{self.schema}.{self.table}"


def read_streams(messages: Iterable[Mapping[str, Any]], schema: str) -> list[Stream]:
    """Return the streams of SCHEMA messages; of several for one stream the last counts.

    Raises: `TargetConfigError` for messages, names and versions that cannot become a guarded table.
    """
    streams: dict[str, Stream] = {}
    for message in messages:
        if message.get("type", "SCHEMA") == "SCHEMA":
            stream = read_stream(message, schema)
            streams[stream.name] = stream
    owners: dict[str, str] = {}
    for stream in streams.values():
        other = owners.setdefault(stream.table, stream.name)
        if other != stream.name:
            raise TargetConfigError(
                f"the streams {other} and {stream.name} both go to the table {stream.qualified}",
                "give them names that differ after their last '-'",
            )
    return list(streams.values())


def read_stream(message: Mapping[str, Any], schema: str) -> Stream:
    """Return what one SCHEMA message asks for."""
    name, definition = message.get("stream"), message.get("schema")
    if not isinstance(name, str) or not isinstance(definition, Mapping):
        raise TargetConfigError(
            "a SCHEMA message without stream or schema", "pass the lines of --test=schema on as is"
        )
    properties = definition.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise TargetConfigError(
            f"{name}: the stream has no properties", "give it a schema, or a record to learn from"
        )
    columns = {column: column_type(facts) for column, facts in {**properties, **METADATA}.items()}
    key = tuple(message.get("key_properties") or ())
    for column in key:
        _require(name, columns, column, "primary key")
    stream = Stream(
        name=name,
        schema=schema,
        table=name.rpartition("-")[2],
        key=key,
        version=_version(name, message, columns) if key else None,
        columns=columns,
        message=dict(message),
        current=_current(message["schema"].get("x-current"), columns),
    )
    _check_names(stream)
    return stream


def _current(declared: Any, columns: Mapping[str, Any]) -> Current | None:
    """Read the annotation `x-current`; no view where selection has taken a column away."""
    if not isinstance(declared, Mapping):
        return None
    current = msgspec.convert(declared, Current)
    return current if {*current.parent, current.at} <= columns.keys() else None


def _version(
    name: str, message: Mapping[str, Any], columns: Mapping[str, str | None]
) -> Version | None:
    """Read the annotation `x-version`; without it the first bookmark property is the version."""
    bookmarks = message.get("bookmark_properties") or [None]
    declared = message["schema"].get("x-version", bookmarks[0])
    if declared is None:
        return None
    as_text = isinstance(declared, Mapping)
    column = str(declared["text"] if as_text else declared)
    _require(name, columns, column, "version")
    found = columns[column]
    if as_text and found != "text":
        raise TargetConfigError(
            f"{name}: the version {column} is declared as text and is {found}",
            f"write version: {column}",
        )
    if not as_text and found not in _ORDERED and not str(found).startswith("numeric"):
        raise TargetConfigError(
            f"{name}: the version {column} is {found}, which has no order in time",
            f"make it a date-time or a number, or write version: {{text: {column}}}",
        )
    return Version(column, as_text)


def _require(name: str, columns: Mapping[str, Any], column: str, role: str) -> None:
    if column not in columns:
        raise TargetConfigError(
            f"{name}: the {role} {column} is not in the stream's schema",
            f"select the property {column}",
        )


def _check_names(stream: Stream) -> None:
    for name in (stream.table, *stream.columns):
        if not name or len(name.encode()) > MAX_NAME_BYTES or '"' in name or "%" in name:
            raise TargetConfigError(
                f"{stream.name}: {name!r} cannot be a name in PostgreSQL",
                f'rename it: 1 to {MAX_NAME_BYTES} bytes, without " and %',
            )
