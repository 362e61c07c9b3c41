"""What becomes of a record's fields before it is written: lifted, renamed, parsed and so on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.connector.formats import InstantFormat, normalise_instant
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.place import Condition
from tap_saas.connector.template import Tree

Record = dict[str, Any]
Shaper = Callable[[Record], Record | None]
HASH_COLUMN = "_key"
MAX_DIGITS = 400

_JSON = msgspec.json.Decoder(float_hook=Decimal)
_INSTANT_SCHEMA = {"type": ["string", "null"], "format": "date-time"}
_DECIMAL_SCHEMA = {"type": ["string", "null"], "format": "x-singer.decimal"}


class ShapeError(ValueError):
    """A record that cannot be shaped; `field` is the column, the text says why."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class HashKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{hash: [day, country]}`: a digest column `_key` where an API gives no id.

    hash: the fields whose values, together, name a record
    """

    hash: list[Path]


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{rename: {ID: id}, drop: [raw]}`: what becomes of a record's fields, in this order.

    lift: objects whose members become fields; a field of the record itself wins
    rename: old name and new name
    add: new fields, texts with placeholders
    parse: how a field is read: json, decimal, or a format of instants
    keep_if: only records for which this holds
    drop: fields that are left out
    """

    lift: list[Path] = []
    rename: dict[str, str] = {}
    add: dict[str, Tree] = {}
    parse: dict[str, str] = {}
    keep_if: Condition | None = None
    drop: list[str] = []

    @property
    def types(self) -> dict[str, dict[str, Any]]:
        """The JSON Schema of each parsed field that is known by its format."""
        types: dict[str, dict[str, Any]] = {}
        for name, format in self.parse.items():
            if format != "json":
                types[name] = dict(_DECIMAL_SCHEMA if format == "decimal" else _INSTANT_SCHEMA)
        return types


def shaper(
    fields: Fields | None,
    columns: Mapping[str, Path],
    hashed: Sequence[Path],
    values: Mapping[str, Any],
) -> Shaper | None:
    """One function for all of it, `None` where records stay as they are.

    `columns` are nested values that become columns, `hashed` the paths of `_key`. The function may
    change the record that it gets; it returns `None` for a record that `keep_if` leaves out and
    raises `ShapeError`.
    """
    steps = _field_steps(fields, values) if fields else []
    if columns:
        steps.append(lambda record: _take_columns(record, columns))
    if hashed:
        steps.append(lambda record: _add_hash(record, hashed))
    keep_if = fields.keep_if if fields else None
    drop = frozenset(fields.drop) if fields else frozenset()
    if not steps and keep_if is None and not drop:
        return None

    def shape(record: Record) -> Record | None:
        for step in steps:
            step(record)
        if keep_if is not None and not keep_if.holds_in(record):
            return None
        for name in drop:
            record.pop(name, None)
        return record

    return shape


def parser(format: str) -> Callable[[Any], Any]:
    """The function that reads a value of a format; both raise `ValueError`."""
    if format == "json":
        return _parse_json
    if format == "decimal":
        return _parse_decimal
    instant = InstantFormat.parse(format)
    return lambda value: _instant_text(instant.read(value))


def digest(values: Sequence[Any]) -> str:
    """SHA-256 in hex over values in one spelling: 1, 1.0 and the decimal 1.00 are the same."""
    text = json.dumps([_plain(value) for value in values], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _field_steps(fields: Fields, values: Mapping[str, Any]) -> list[Callable[[Record], None]]:
    steps: list[Callable[[Record], None]] = []
    if fields.lift:
        steps.append(lambda record: _lift(record, fields.lift))
    if fields.rename:
        steps.append(lambda record: _rename(record, fields.rename))
    added = {name: tree.fill(values) for name, tree in fields.add.items()}
    added = {name: value for name, value in added.items() if value is not UNSET}
    if added:
        steps.append(lambda record: record.update(added))
    parsers = {name: parser(format) for name, format in fields.parse.items()}
    if parsers:
        steps.append(lambda record: _parse(record, parsers))
    return steps


def _lift(record: Record, paths: Sequence[Path]) -> None:
    for path in paths:
        holder: Any = record
        *way, last = path.keys or ("",)
        for name in way:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(holder.get(last), dict):
            for name, value in holder.pop(last).items():
                record.setdefault(name, value)


def _rename(record: Record, names: Mapping[str, str]) -> None:
    taken = {new: record.pop(old) for old, new in names.items() if old in record}
    record.update(taken)


def _parse(record: Record, parsers: Mapping[str, Callable[[Any], Any]]) -> None:
    for name, parse in parsers.items():
        value = record.get(name)
        if value is None:
            continue
        try:
            record[name] = parse(value)
        except ValueError as error:
            raise ShapeError(name, str(error)) from error


def _take_columns(record: Record, columns: Mapping[str, Path]) -> None:
    for name, path in columns.items():
        if name not in record and (value := path.get(record)) is not UNSET:
            record[name] = value


def _add_hash(record: Record, paths: Sequence[Path]) -> None:
    found = [path.get(record) for path in paths]
    values = [None if value is UNSET else value for value in found]
    if all(value is None for value in values):
        names = ", ".join(str(path) for path in paths)
        raise ShapeError(HASH_COLUMN, f"none of {names} has a value")
    record[HASH_COLUMN] = digest(values)


def _parse_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return _JSON.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError("not JSON") from error


def _parse_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("not a decimal")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation as error:
        raise ValueError("not a decimal") from error
    if not number.is_finite():
        raise ValueError("not a decimal")
    return number


def _instant_text(instant: datetime) -> str:
    return normalise_instant(instant.isoformat())


def _plain(value: Any) -> Any:
    """A value in its one spelling: whole numbers as int, others as the text of their decimal."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float | Decimal):
        return _plain_number(Decimal(str(value)))
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _plain_number(number: Decimal) -> Any:
    if not number.is_finite():
        return None
    if number.adjusted() > MAX_DIGITS:
        return {"decimal": str(number)}
    if number == number.to_integral_value():
        return int(number)
    return {"decimal": f"{number:f}".rstrip("0")}
