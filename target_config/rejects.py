"""The table `_rejects`, read for people and for a replay; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Composable, Identifier, Literal

from target_config.database import Connection, connect, telling
from target_config.errors import TargetConfigError

TABLE = "_rejects"
_COUNTS = Path(__file__).with_name("rejects_counts.sql").read_text(encoding="utf-8")
_ROWS = "SELECT j::text FROM {rows} WHERE {which}"
_SCHEMAS = SQL(
    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = {} AND c.relkind IN ('r', 'p') ORDER BY 1"
)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rejects are meant; what is `None` or empty asks for nothing."""

    streams: Sequence[str] = ()
    error: str | None = None
    run: str | None = None
    replayed: bool = True
    """Also those that have been replayed."""

    def sql(self) -> Composable:
        """The condition on a row `j` as jsonb: a table of an older version lacks columns."""
        tests: list[Composable] = [SQL("true")]
        if self.streams:
            tests.append(SQL("j ->> 'stream' = ANY({})").format(Literal(list(self.streams))))
        for name, value in (("error", self.error), ("run_id", self.run)):
            if value is not None:
                tests.append(SQL("j ->> {} = {}").format(Literal(name), Literal(value)))
        if not self.replayed:
            tests.append(SQL("j ->> 'replayed_at' IS NULL"))
        return SQL(" AND ").join(tests)


class Count(msgspec.Struct, frozen=True):
    """How many records of a stream were rejected for one reason, and the last time (RFC 3339)."""

    stream: str
    error: str
    records: int
    replayed: int
    newest: str | None


class Rejects:
    """The rejects of one schema; `None` is the only schema that has any."""

    def __init__(self, database_url: str, schema: str | None) -> None:
        self._url, self._schema = database_url, schema

    def counts(self, wanted: Filter) -> list[Count]:
        """Counts by stream and error type, most first."""
        return [Count(*row) for row in self._stream(SQL(_COUNTS), wanted)]

    def newest(self, wanted: Filter, limit: int) -> list[dict[str, Any]]:
        """The newest rejects."""
        order = "ORDER BY j ->> 'rejected_at' DESC LIMIT {limit}"
        found = self._stream(SQL(f"{_ROWS} {order}"), wanted, limit=Literal(limit))
        return [msgspec.json.decode(str(row[0])) for row in found]

    def all(self, wanted: Filter) -> Iterator[dict[str, Any]]:
        """All rejects, those of one stream and partition together, the oldest first."""
        order = "ORDER BY j ->> 'stream', j -> 'context', j ->> 'rejected_at', j ->> 'id'"
        for row in self._stream(SQL(f"{_ROWS} {order}"), wanted):
            yield msgspec.json.decode(str(row[0]))

    def _stream(self, query: SQL, wanted: Filter, **more: Composable) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, never all in memory; `{rows}` and `{which}` are filled in."""
        with connect(self._url) as connection:
            table = Identifier(self._schema or _only_schema(connection), TABLE)
            rows = SQL("(SELECT to_jsonb(r) AS j FROM {} r) AS rejects").format(table)
            text = query.format(rows=rows, which=wanted.sql(), **more)
            with telling(TABLE), connection.cursor() as cursor:
                connection.execute("SET TIME ZONE 'UTC'")
                try:
                    yield from cursor.stream(text)
                except psycopg.errors.UndefinedTable:
                    raise _no_table(f"the schema {self._schema}") from None


def _only_schema(connection: Connection) -> str:
    found = [str(row[0]) for row in connection.execute(_SCHEMAS.format(Literal(TABLE)))]
    if not found:
        raise _no_table("the database")
    if len(found) > 1:
        raise TargetConfigError(
            f"several schemas have a table {TABLE}: {', '.join(found)}", "pass one as --schema"
        )
    return found[0]


def _no_table(where: str) -> TargetConfigError:
    return TargetConfigError(
        f"{where} has no table {TABLE}", "pass --schema, or run saasctl target prepare first"
    )
