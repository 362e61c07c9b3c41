"""The columns of a stream: what a JSON Schema says, as the few kinds that every target can hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

import msgspec

Kind: TypeAlias = Literal[
    "integer", "number", "decimal", "boolean", "string", "date-time", "date", "time", "uuid",
    "object", "array", "text",
]  # fmt: skip
MAX_NAME_BYTES = 63  # PostgreSQL, NAMEDATALEN
_BAD_LETTER = re.compile('["%\x00\ud800-\udfff]')
EXACT_DIGITS = 15  # what a double keeps: IEEE 754
MAX_DOUBLE_EXPONENT = 300
MORE = "_more_fields"
"""The column (an object) for fields that have no column of their own."""
MOST_COLUMNS = 300
"""As many columns as any row has room for: a value takes up to 24 bytes of PostgreSQL's 8 KB page
even where it is stored elsewhere. Only a declared schema may have more; no more are learnt.
"""

_STRING_FORMATS: dict[str, Kind] = {
    "date-time": "date-time", "date": "date", "time": "time", "uuid": "uuid",
    "x-singer.decimal": "decimal", "singer.decimal": "decimal",
}  # fmt: skip
_NAMELESS = ("boolean", "object", "array")
_JSON_TYPES: dict[Kind, dict[str, Any]] = {
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "decimal": {"type": ["string", "null"], "format": "x-singer.decimal"},
    "boolean": {"type": ["boolean", "null"]},
    "string": {"type": ["string", "null"]},
    "date-time": {"type": ["string", "null"], "format": "date-time"},
    "date": {"type": ["string", "null"], "format": "date"},
    "time": {"type": ["string", "null"], "format": "time"},
    "uuid": {"type": ["string", "null"], "format": "uuid"},
    "object": {"type": ["object", "null"]},
    "array": {"type": ["array", "null"]},
    "text": {"type": ["string", "null"]},
}


class Column(msgspec.Struct, frozen=True):
    """One column: `name` in the record, `out` in SCHEMA, its kind, and the declared schema if any.

    `learnt` columns come from values that were seen; a value that contradicts one is kept beside
    it.
    """

    name: str
    out: str
    kind: Kind
    declared: dict[str, Any] | None = None
    learnt: bool = False

    def json_schema(self) -> dict[str, Any]:
        """What SCHEMA says of this column: no bounds, no `items`, no `required` (they kill
        targets).
        """
        schema = dict(_JSON_TYPES[self.kind])
        if self.kind == "object" and self.declared and "properties" in self.declared:
            schema["properties"] = _nested(self.declared["properties"])
        return schema


def _nested(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Nested properties, for flattening and nested selection."""
    return {name: column(name, sub).json_schema() for name, sub in properties.items()}


def column(name: str, declared: Mapping[str, Any]) -> Column:
    """The column that a declared property becomes."""
    return Column(name=name, out=short_name(name), kind=kind_of(declared), declared=dict(declared))


def kind_of(declared: Mapping[str, Any]) -> Kind:
    """The kind of a declared property; mixed and open types are text."""
    options = declared.get("anyOf") or declared.get("oneOf")
    if options:
        kinds = {kind_of(option) for option in options if option.get("type") != "null"}
        return kinds.pop() if len(kinds) == 1 else "text"
    named = declared.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    types.discard("null")
    if types == {"string"}:
        return _STRING_FORMATS.get(declared.get("format", ""), "string")
    if types == {"integer", "number"}:
        return "number"
    if len(types) != 1:
        return "text"
    return cast("Kind", types.pop())


def short_name(name: str) -> str:
    """The column's name, cut with a hash where it is longer than PostgreSQL keeps (63 bytes)."""
    raw = name.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return f"{raw[: MAX_NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def bad_name(name: str) -> bool:
    """Names that no column can have: they kill target-postgres, now or at the next batch."""
    return not name or name.startswith("_sdc_") or _BAD_LETTER.search(name) is not None


def learn(
    name: str, value: Any, *, reads: Callable[[Any], Any] | None = None, key: bool = False
) -> Column | None:
    """The column that a value suggests; `None` for a null, which says nothing.

    `reads` makes a text a date-time: only the replication key and the version have it, since a text
    that looks like a date today may not tomorrow. What orders nothing suggests no column for them,
    nor what names nothing for a `key`. A whole number is an integer only in a `key`: elsewhere a
    fraction may come, and targets do not widen a column.
    """
    kind = _kind_of_value(value)
    if key and kind == "number" and isinstance(value, int):
        kind = "integer"
    if reads is not None and kind is not None:
        kind = _kind_of_order(value, kind, reads)
    if kind is None or ((key or reads is not None) and kind in _NAMELESS):
        return None
    return Column(name=name, out=short_name(name), kind=kind, learnt=True)


def _kind_of_order(value: Any, kind: Kind, reads: Callable[[Any], Any]) -> Kind | None:
    try:
        is_instant = isinstance(reads(value), datetime)
    except TypeError:  # a version that is a number: nothing reads it
        return kind
    except ValueError:
        return None
    return "date-time" if is_instant and isinstance(value, str) else kind


def _kind_of_value(value: Any) -> Kind | None:
    match value:
        case None:
            return None
        case bool():
            return "boolean"
        case int() | float() | Decimal():
            return "number" if fits_double(value) else "decimal"
        case str():
            return "string"
        case dict():
            return "object"
        case _:
            return "array"


def fits_double(number: float | Decimal) -> bool:
    """True where a double holds the number: at most 15 digits and a small exponent."""
    if isinstance(number, float):
        return True
    text = str(number)
    if "E" in text:
        number = Decimal(number)
        return abs(number.adjusted()) < MAX_DOUBLE_EXPONENT and _digits(number) <= EXACT_DIGITS
    return len(text) <= EXACT_DIGITS or len(text.strip("-0").replace(".", "").strip("0")) <= (
        EXACT_DIGITS
    )


def _digits(number: Decimal) -> int:
    return len(number.normalize().as_tuple().digits)


class Columns:
    """The columns of a stream in SCHEMA's order, by the record's field name. Immutable: `with_`
    gives another.
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        self.by_name: dict[str, Column] = {column.name: column for column in columns}

    @classmethod
    def declared(cls, schema: Mapping[str, Any]) -> Columns:
        """The columns of a JSON Schema with `properties`; `_more_fields` is ours."""
        properties = schema.get("properties", {})
        return cls(column(name, sub) for name, sub in properties.items() if name != MORE)

    def with_(self, new: Iterable[Column]) -> Columns:
        """These columns, with `new` ones added or put in the place of their namesakes."""
        return Columns([*(self.by_name | {c.name: c for c in new}).values()])

    def without(self, name: str) -> Columns:
        """These columns but one."""
        return Columns(known for known in self.by_name.values() if known.name != name)

    @property
    def room(self) -> int:
        """How many more columns may be learnt."""
        return max(MOST_COLUMNS - len(self.by_name), 0)

    def json_schema(self) -> dict[str, Any]:
        """The SCHEMA of the stream, built the same way each time: another order is another table to
        a target.
        """
        return {
            "type": "object",
            "properties": {c.out: c.json_schema() for c in self.by_name.values()},
        }

    def learnt(self) -> list[list[str]]:
        """What must be kept to know the learnt columns in the next run: `[[name, kind], ...]`."""
        return [[c.name, c.kind] for c in self.by_name.values() if c.learnt or _widened(c)]

    def with_learnt(self, learnt: Iterable[Iterable[str]]) -> Columns:
        """These columns and those of `learnt()`; a declared one is only widened to a decimal."""
        new = []
        for name, kind in learnt:
            known = self.by_name.get(name)
            if known is None or known.learnt:
                new.append(Column(name, short_name(name), kind, learnt=True))  # type: ignore[arg-type]
            elif kind == "decimal" and known.kind == "number":
                new.append(msgspec.structs.replace(known, kind="decimal"))
        return self.with_(new)


def _widened(column: Column) -> bool:
    return (
        column.kind == "decimal"
        and column.declared is not None
        and kind_of(column.declared) == "number"
    )
