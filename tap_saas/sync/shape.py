"""What a stream's records must look like: the settings that both lanes of `prepare` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from tap_saas.connector.incremental import Incremental
from tap_saas.connector.place import Condition
from tap_saas.sync import evolve
from tap_saas.sync.columns import Column, Columns

DELETED = "_sdc_deleted_at"


class Tombstone(dict[str, Any]):
    """A record that says only that its row is gone: key, version and `_sdc_deleted_at`, by column
    names and as the table has them.
    """


class Flagged(dict[str, Any]):
    """A listed record that the API calls deleted."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One stream's rules for its records; columns are named as in the record.

    `declared` is the user's JSON Schema, `None` where the schema is learnt. `constant` are the
    partition's columns: their values come with each page. `dropped` are names in SCHEMA that
    selection leaves out. `flag` holds for a record that is gone. `text_version` says that versions
    are compared letter by letter.
    """

    stream: str
    columns: Columns
    key: tuple[str, ...]
    version: str | None
    text_version: bool = False
    incremental: Incremental | None
    constant: tuple[str, ...] = ()
    observed: str | None = None
    dropped: frozenset[str] = frozenset()
    declared: Mapping[str, Any] | None = None
    on_new_field: Literal["evolve", "ignore", "fail"] = "evolve"
    shaper: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None
    flag: Condition | None = None

    @property
    def replication_key(self) -> str | None:
        """The column of the replication key."""
        return None if self.incremental is None else self.incremental.column

    @property
    def reads(self) -> evolve.Readers:
        """The fields that order records, and what reads their values."""
        return evolve.readers(None if self.text_version else self.version, self.incremental)

    def with_columns(self, columns: Columns) -> Shape:
        """The same rules for more columns."""
        return msgspec.structs.replace(self, columns=columns)

    def column(self, name: str) -> Column | None:
        """The column of that name, where there is one yet."""
        return self.columns.by_name.get(name)


class Seen(msgspec.Struct, kw_only=True):
    """The largest and the smallest replication key of a page, `None` where there is none."""

    max_seen: Any = None
    min_seen: Any = None


class Batch(Seen, kw_only=True):
    """A page prepared for writing: rows in order, rejects, and what the page says of the
    replication key.

    `rows` are dicts with the columns' names, or the structs of the fast lane. `columns` is the set
    that the rows need, `constant` holds the partition's values. `contradicted` counts values beside
    their column, `gathered` those in `_more_fields`.
    """

    rows: list[Any]
    rejects: list[Any]
    columns: Columns
    received: int
    constant: Mapping[str, Any] = {}
    stale: int = 0
    filtered: int = 0
    contradicted: int = 0
    gathered: int = 0
