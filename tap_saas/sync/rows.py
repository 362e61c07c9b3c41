"""One record into a row: normalised, with a place for every value, or refused with a reason."""

from __future__ import annotations

import math
from typing import Any

import jsonschema_rs

from tap_saas.sync import evolve
from tap_saas.sync.columns import MORE, Column, Columns, bad_name
from tap_saas.sync.convert import (
    MAX_KEY_BYTES,
    BadValueError,
    WidensError,
    as_text,
    clean,
    clean_text,
    convert,
    is_clean_text,
)
from tap_saas.sync.rejects import Reject
from tap_saas.sync.shape import Batch, Shape

_ERRORS = {
    "Required": "missing_field",
    "Type": "bad_type",
    "Enum": "bad_value",
    "Format": "bad_date",
}


class Rows:
    """Makes rows of one stream's records; `shape` grows where a value needs a new column."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._validator = None if shape.declared is None else _validator(shape)
        self.ordering = shape.reads.keys()

    def learn(self, columns: Columns) -> None:
        """Take these columns from now on."""
        self.shape = self.shape.with_columns(columns)

    def convert(self, record: dict[str, Any], batch: Batch) -> dict[str, Any]:
        """The record by column names, each value normalised.

        Raises:
            BadRecordError: it is a reject.
            WidensColumnError: a column must become a decimal first.
        """
        self._validate(record)
        row: dict[str, Any] = {}
        for name, value in record.items():
            column = None if name == MORE else self.shape.columns.by_name.get(name)
            if isinstance(value, float) and not math.isfinite(value):
                value = None  # JSON has no word for it
            if column is None:
                if value is not None:
                    self._keep_unknown(row, name, value, batch)
                continue
            try:
                row[column.out] = self._value(column, value)
            except WidensError as error:
                raise WidensColumnError(name) from error
            except BadValueError as error:
                if not column.learnt or name in self.shape.key or name in self.ordering:
                    raise BadRecordError(error.error, str(error), f"/{name}") from error
                self._keep_aside(row, column, record, batch)
        self._check_key(record, row)
        return row

    def tombstone(self, record: dict[str, Any]) -> dict[str, Any]:
        """The row of a tombstone: its values are as the table has them.

        Raises:
            BadRecordError: a value is none of its column's.
        """
        row: dict[str, Any] = {}
        for name, value in record.items():
            column = self.shape.columns.by_name.get(name)
            if column is None:
                raise BadRecordError("bad_key", f"the table has no column {name} yet", f"/{name}")
            try:
                row[column.out] = convert(column.kind, value)
            except (BadValueError, WidensError) as error:
                raise BadRecordError("bad_key", str(error), f"/{name}") from error
        self._check_key(record, row)
        return row

    def _keep_unknown(self, row: dict[str, Any], name: str, value: Any, batch: Batch) -> None:
        """A value without a column: its field says nothing of order, or there are too many."""
        if name in self.ordering:
            raise BadRecordError("bad_date", f"{as_text(value)[:60]!r} orders nothing", f"/{name}")
        if name in self.shape.key:
            raise BadRecordError("bad_key", f"{as_text(value)[:60]!r} names nothing", f"/{name}")
        if self.shape.on_new_field == "ignore":
            return
        if bad_name(name):
            message = f"no column can be called {name!r}; rename it with fields.rename"
            raise BadRecordError("bad_name", message, "")
        self._gather(row, name, value, batch)

    def _keep_aside(
        self, row: dict[str, Any], column: Column, record: dict[str, Any], batch: Batch
    ) -> None:
        """A value that contradicts its learnt column, beside it."""
        row[column.out] = None
        if column.out in self.shape.dropped:
            return
        batch.contradicted += 1
        value = record[column.name]
        aside = evolve.beside(self.shape.columns, column, record)
        if aside is None:
            self._gather(row, column.name, value, batch)
            return
        self._need(aside)
        row[aside.out] = as_text(value)

    def _gather(self, row: dict[str, Any], name: str, value: Any, batch: Batch) -> None:
        """A value in `_more_fields`, under the name of its field."""
        self._need(evolve.more())
        batch.gathered += 1
        try:
            kept = clean(value)
        except BadValueError:
            kept = as_text(value)
        row.setdefault(MORE, {})[clean_text(name)] = kept

    def _need(self, column: Column) -> None:
        if column.name not in self.shape.columns.by_name:
            self.learn(self.shape.columns.with_([column]))

    def _value(self, column: Column, value: Any) -> Any:
        """One value; the replication key is read in the format that the API writes it in."""
        incremental = self.shape.incremental
        if (
            incremental is not None
            and column.name == incremental.column
            and value is not None
            and incremental.kind == "instant"
            and (incremental.format != "iso8601" or incremental.zone)
        ):
            try:
                read = incremental.read(value)
            except ValueError as error:
                raise BadValueError("bad_date", str(error)) from error
            if column.kind == "date-time":
                return incremental.store(read)
        if column.learnt and column.kind == "decimal" and isinstance(value, str):
            raise BadValueError("bad_type", "a text in a column of numbers")
        return convert(column.kind, value)

    def _validate(self, record: dict[str, Any]) -> None:
        """The declared schema, with all that JSON Schema can say."""
        if self._validator is None or self._validator.is_valid(record):
            return
        try:
            cleaned = clean(record)  # the validator cannot read a lone surrogate
        except BadValueError as error:
            raise BadRecordError(error.error, str(error), "") from error
        wrong = next(iter(self._validator.iter_errors(cleaned)), None)
        if wrong is None:
            return
        kind = type(wrong.kind).__name__.rpartition("_")[2]
        pointer = "".join(f"/{part}" for part in wrong.instance_path)
        raise BadRecordError(_ERRORS.get(kind, "bad_value"), wrong.message, pointer)

    def _check_key(self, record: dict[str, Any], row: dict[str, Any]) -> None:
        length = 0
        for name in self.shape.key:
            column = self.shape.columns.by_name.get(name)
            value = None if column is None else row.get(column.out)
            if value is None:
                raise BadRecordError("bad_key", f"the key {name} is missing or null", f"/{name}")
            given = record[name]
            if isinstance(value, (dict, list)) or (
                isinstance(given, str) and not is_clean_text(given)
            ):
                raise BadRecordError("bad_key", f"the key {name} cannot be stored", f"/{name}")
            length += len(value.encode()) if isinstance(value, str) else 8
        if length > MAX_KEY_BYTES:
            raise BadRecordError("bad_key", f"the key is longer than {MAX_KEY_BYTES:,} bytes", "")


def _validator(shape: Shape) -> jsonschema_rs.Validator:
    """The declared schema's validator; what we add to records needs no place in it."""
    declared = dict(shape.declared or {})
    added = {column.name for column in shape.columns.by_name.values() if not column.learnt}
    ours: dict[str, Any] = {name: {} for name in sorted({*shape.constant, *added})}
    return jsonschema_rs.validator_for(
        {**declared, "properties": {**ours, **declared.get("properties", {})}}
    )


class WidensColumnError(ValueError):
    """A column that must become a decimal before the page is converted."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class BadRecordError(ValueError):
    """A record that becomes a reject."""

    def __init__(self, error: str, message: str, pointer: str) -> None:
        super().__init__(message)
        self.reject = Reject(error, message, None, pointer)
