"""A schema that grows: fields that are new, values that contradict what was learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from tap_saas.connector import formats
from tap_saas.connector.incremental import Incremental
from tap_saas.sync.columns import MORE, Column, Columns, bad_name, learn, short_name

Readers = Mapping[str, Callable[[Any], Any]]
"""Fields that order records, and what reads them; they raise `ValueError`."""


def readers(version: str | None, incremental: Incremental | None) -> Readers:
    """The readers of version and replication key; texts that are compared as such have none."""
    found: dict[str, Callable[[Any], Any]] = {}
    if version is not None:
        found[version] = formats.read_instant
    if incremental is not None and incremental.column is not None:
        if incremental.kind != "text":
            found[incremental.column] = incremental.reader()
        else:
            found.pop(incremental.column, None)
    return found


def new_fields(columns: Columns, records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names that have a value but no column."""
    known = columns.by_name.keys()
    return {
        name
        for record in records
        for name in record.keys() - known
        if record[name] is not None and not bad_name(name)
    }


def grow(
    columns: Columns, records: Collection[Mapping[str, Any]], reads: Readers, keys: Collection[str]
) -> Columns:
    """The columns with one more for each field that is new and not null; the same object where none
    is.

    `keys` are those of the primary key and the partition. Where there is room for some only
    (`MOST_COLUMNS`), the fields that most records have get it: identifiers as names are in few.
    """
    new: dict[str, Column] = {}
    for record in records:
        for name in record.keys() - columns.by_name.keys() - new.keys():
            if not bad_name(name) and name != MORE:
                column = learn(name, record[name], reads=reads.get(name), key=name in keys)
                if column is not None:
                    new[name] = column
    if len(new) > (room := columns.room):
        seen = Counter(name for record in records for name in record.keys() & new.keys())
        first = {*keys, *reads}
        ranked = sorted(new, key=lambda name: (name not in first, -seen[name], name))
        new = {name: new[name] for name in ranked[: max(room, len(first & new.keys()))]}
    return _add(columns, sorted(new.values(), key=lambda c: c.name)) if new else columns


def _add(columns: Columns, new: Iterable[Column]) -> Columns:
    """The columns with the new ones; of two that would share a name in SCHEMA the first stays.

    A catalog knows a long field by its short name alone: its column is given to the field.
    """
    holders = {column.out: column for column in columns.by_name.values()}
    added = []
    for column in new:
        holder = holders.get(column.out)
        if holder is not None and holder.name == holder.out != column.name:
            columns = columns.without(holder.name)
            column = Column(column.name, column.out, holder.kind, learnt=True)
        elif holder is not None:
            continue
        holders[column.out] = column
        added.append(column)
    return columns.with_(added) if added else columns


def beside(columns: Columns, column: Column, record: Mapping[str, Any]) -> Column | None:
    """The column `<field>__text` for a value that contradicts a learnt type.

    `None` where the record has a field of that name, or the column is another's, or there is no
    room for it.
    """
    name = f"{column.name}__text"
    if name in record:
        return None
    known = columns.by_name.get(name)
    if known is not None:
        return known if known.learnt and known.kind in ("text", "string") else None
    aside = Column(name=name, out=short_name(name), kind="text", learnt=True)
    return aside if columns.room > 0 and _add(columns, [aside]) is not columns else None


def more() -> Column:
    """The column `_more_fields`."""
    return Column(MORE, MORE, "object", learnt=True)


def widened(column: Column) -> Column:
    """The column as a decimal: its numbers need more than 15 digits."""
    return Column(column.name, column.out, "decimal", column.declared, column.learnt)
