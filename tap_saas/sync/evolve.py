"""A schema that grows: fields that are new, values that contradict what was learnt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tap_saas.sync.columns import Column, Columns, bad_name, learn, short_name


def grow(
    columns: Columns,
    records: Iterable[Mapping[str, Any]],
    instants: frozenset[str],
    keys: Collection[str],
) -> Columns:
    """The columns with one more for each field that is new and not null; the same object where none
    is.

    `instants` are the fields (replication key, version) whose texts are taken for date-times,
    `keys` those of the primary key and the partition.
    """
    known = columns.by_name
    new: dict[str, Column] = {}
    for record in records:
        for name in record.keys() - known.keys() - new.keys():
            if not bad_name(name):
                column = learn(name, record[name], instant=name in instants, key=name in keys)
                if column is not None:
                    new[name] = column
    return columns.with_(sorted(new.values(), key=lambda c: c.name)) if new else columns


def beside(column: Column) -> Column:
    """The column `<field>__text` for values that contradict a learnt type."""
    name = f"{column.name}__text"
    return Column(name=name, out=short_name(name), kind="text", learnt=True)


def widened(column: Column) -> Column:
    """The column as a decimal: its numbers need more than 15 digits."""
    return Column(column.name, column.out, "decimal", column.declared, column.learnt)
