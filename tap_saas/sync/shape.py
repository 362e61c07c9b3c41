"""What a stream's records must look like: the settings that both lanes of `prepare` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from tap_saas.connector.incremental import Incremental
from tap_saas.sync.columns import Column, Columns


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One stream's rules for its records; columns are named as in the record.

    `declared` is the user's JSON Schema, `None` where the schema is learnt. `constant` are the
    partition's columns: their values come with each page.
    """

    stream: str
    columns: Columns
    key: tuple[str, ...]
    version: str | None
    incremental: Incremental | None
    constant: tuple[str, ...] = ()
    observed: str | None = None
    dropped: frozenset[str] = frozenset()
    declared: Mapping[str, Any] | None = None
    on_new_field: Literal["evolve", "ignore", "fail"] = "evolve"
    on_invalid: Literal["reject", "fail"] = "reject"
    shaper: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None

    @property
    def replication_key(self) -> str | None:
        """The column of the replication key."""
        return None if self.incremental is None else self.incremental.column

    @property
    def instants(self) -> frozenset[str]:
        """Columns whose texts are instants in whatever format the API writes them."""
        names = {self.observed} if self.observed else set()
        if self.version is not None:
            names.add(self.version)
        if self.incremental is not None and self.incremental.kind == "instant":
            names.add(self.incremental.column or "")
        return frozenset(name for name in names if name)

    def with_columns(self, columns: Columns) -> Shape:
        """The same rules for more columns."""
        return msgspec.structs.replace(self, columns=columns)

    def column(self, name: str) -> Column | None:
        """The column of that name, where there is one yet."""
        return self.columns.by_name.get(name)

    @property
    def required(self) -> frozenset[str]:
        """Fields that the declared schema asks for."""
        return frozenset(() if self.declared is None else self.declared.get("required", ()))


class Batch(msgspec.Struct, kw_only=True):
    """A page prepared for writing: rows in order, rejects, and what the page says of the
    replication key.

    `rows` are dicts with the columns' names, or the structs of the fast lane. `columns` is the set
    that the rows need.
    """

    rows: list[Any]
    rejects: list[Any]
    columns: Columns
    received: int
    stale: int = 0
    filtered: int = 0
    contradicted: int = 0
    max_seen: Any = None
    min_seen: Any = None
