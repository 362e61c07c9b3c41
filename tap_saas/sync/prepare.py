"""A page into a batch: select, add context, normalise, validate, newest in the window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jsonschema_rs
import msgspec

from tap_saas.connector.fields import ShapeError, Shaper
from tap_saas.errors import ApiError, RejectRatioError
from tap_saas.sync import evolve, structs
from tap_saas.sync.columns import Columns, bad_name
from tap_saas.sync.convert import (
    BadValueError,
    WidensError,
    as_text,
    clean,
    convert,
    is_clean_text,
)
from tap_saas.sync.fast import FastLane, SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.rejects import Reject
from tap_saas.sync.shape import Batch, Shape

_ERRORS = {
    "Required": "missing_field",
    "Type": "bad_type",
    "Enum": "bad_value",
    "Format": "bad_date",
}


class Preparer:
    """Prepares the pages of one stream. It learns: its shape grows with the records that it sees.

    `fast` allows the fast lane. `newest` is shared by all partitions of the stream.
    """

    def __init__(self, shape: Shape, newest: Newest | None, *, fast: bool) -> None:
        self._newest = newest if shape.key and shape.version else None
        self._allow_fast = fast
        self.shape = shape
        self._validator = (
            None if shape.declared is None else jsonschema_rs.validator_for(dict(shape.declared))
        )
        self.fast: FastLane | None = None
        self._renew()

    def _renew(self) -> None:
        """A lane for the present columns."""
        try:
            self.fast = FastLane(self.shape) if self._allow_fast else None
        except structs.NoStructError:
            self.fast = None

    def learn(self, columns: Columns) -> None:
        """Take these columns from now on."""
        self.shape = self.shape.with_columns(columns)
        self._renew()

    def shape_by(self, shaper: Shaper | None) -> None:
        """Shape records by this from now on: `fields.add` may name a partition's values."""
        self.shape = msgspec.structs.replace(self.shape, shaper=shaper)

    def prepare_fast(
        self, records: list[Any], constant: Mapping[str, Any], since: Any
    ) -> Batch | None:
        """The batch of records that the fast lane decoded, or `None` where the dict lane must do
        it.
        """
        if self.fast is None or (records and not self.fast.fits(records)):
            return None
        try:
            return self.fast.prepare(records, constant, self._newest, since)
        except SurpriseError:
            return None

    def prepare(self, records: list[Any], constant: Mapping[str, Any], since: Any) -> Batch:
        """The batch of records as JSON values.

        Raises:
            ApiError: `on_new_field: fail` met a new field.
            RejectRatioError: `on_invalid: fail` met a bad record.
        """
        batch = Batch(rows=[], rejects=[], columns=self.shape.columns, received=len(records))
        shaped = self._shape_all(records, constant, batch)
        self._grow([record for _, record in shaped])
        converted = self._convert_all(shaped, batch)
        self._keep_newest(converted, batch, since)
        if batch.rejects and self.shape.on_invalid == "fail":
            reject = batch.rejects[0]
            raise RejectRatioError(
                f"a record was refused: {reject.pointer or 'record'}: {reject.message}",
                stream=self.shape.stream,
                do="mend the schema, or say on_invalid: reject",
            )
        batch.columns = self.shape.columns
        return batch

    def _shape_all(
        self, records: list[Any], constant: Mapping[str, Any], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        """Each record with `fields` applied and the partition's values added."""
        shaped = []
        for raw in records:
            if not isinstance(raw, dict):
                batch.rejects.append(Reject("not_object", "the record is not an object", raw))
                continue
            record: dict[str, Any] | None = dict(raw)
            if self.shape.shaper is not None:
                try:
                    record = self.shape.shaper(dict(raw))
                except ShapeError as error:
                    batch.rejects.append(Reject("bad_type", str(error), raw, f"/{error.field}"))
                    continue
            if record is None:
                batch.filtered += 1
                continue
            shaped.append((raw, {**constant, **record}))
        return shaped

    def _grow(self, records: list[dict[str, Any]]) -> None:
        """New columns for new fields, as `on_new_field` says."""
        if self.shape.on_new_field == "ignore":
            return
        shape = self.shape
        keys = (*shape.key, *shape.constant)
        columns = evolve.grow(shape.columns, records, shape.instants, keys)
        if columns is self.shape.columns:
            return
        if self.shape.on_new_field == "fail":
            new = sorted(columns.by_name.keys() - self.shape.columns.by_name.keys())
            raise ApiError(
                f"the records have new fields: {', '.join(new)}",
                stream=self.shape.stream,
                do="add them to the schema, or say on_new_field: evolve",
            )
        self.learn(columns)

    def _convert_all(
        self, shaped: list[tuple[Any, dict[str, Any]]], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        """All records by column names; a column that widens changes those before it too."""
        shape_rejects = list(batch.rejects)
        while True:
            batch.rejects, batch.contradicted = list(shape_rejects), 0
            try:
                return self._convert_once(shaped, batch)
            except WidensColumnError as widens:
                column = self.shape.columns.by_name[widens.column]
                self.learn(self.shape.columns.with_([evolve.widened(column)]))

    def _convert_once(
        self, shaped: list[tuple[Any, dict[str, Any]]], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        converted = []
        for raw, record in shaped:
            try:
                converted.append((raw, self._convert(record, batch)))
            except BadRecordError as error:
                reject = error.reject
                key = [record.get(name) for name in self.shape.key] or None
                batch.rejects.append(msgspec.structs.replace(reject, payload=raw, record_key=key))
        return converted

    def _convert(self, record: dict[str, Any], batch: Batch) -> dict[str, Any]:
        """The record by column names, each value normalised."""
        self._validate(record)
        row: dict[str, Any] = {}
        for name, value in record.items():
            column = self.shape.columns.by_name.get(name)
            if column is None:
                if bad_name(name) and self.shape.on_new_field != "ignore":
                    raise BadRecordError("bad_name", f"no column can be called {name!r}", "")
                continue  # null so far, or on_new_field: ignore
            try:
                row[column.out] = self._value(name, column.kind, value)
            except WidensError as error:
                raise WidensColumnError(name) from error
            except BadValueError as error:
                if not column.learnt or name in self.shape.key or name in self.shape.instants:
                    raise BadRecordError(error.error, str(error), f"/{name}") from error
                aside = evolve.beside(column)
                if aside.name not in self.shape.columns.by_name:
                    self.learn(self.shape.columns.with_([aside]))
                row[column.out], row[aside.out] = None, as_text(value)
                batch.contradicted += 1
        self._check_key(record, row)
        return row

    def _value(self, name: str, kind: Any, value: Any) -> Any:
        """One value; the replication key is read in the format that the API writes it in."""
        incremental = self.shape.incremental
        if (
            incremental is not None
            and name == incremental.column
            and value is not None
            and incremental.kind == "instant"
            and incremental.format != "iso8601"
        ):
            try:
                read = incremental.read(value)
            except ValueError as error:
                raise BadValueError("bad_date", str(error)) from error
            if kind == "date-time":
                return incremental.store(read)
        return convert(kind, value)

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

    def _keep_newest(
        self, converted: list[tuple[Any, dict[str, Any]]], batch: Batch, since: Any
    ) -> None:
        """Drop what is older than the window has seen, and note the page's smallest and largest
        replication key.
        """
        shape = self.shape
        out = {name: shape.columns.by_name[name].out for name in shape.key if shape.column(name)}
        for raw, row in converted:
            try:
                seen = self._replication_value(raw, row)
            except BadRecordError as error:
                batch.rejects.append(msgspec.structs.replace(error.reject, payload=raw))
                continue
            if seen is not None and self._is_before(seen, since):
                batch.filtered += 1
                continue
            if seen is not None:
                batch.max_seen = seen if batch.max_seen is None else max(seen, batch.max_seen)
                batch.min_seen = seen if batch.min_seen is None else min(seen, batch.min_seen)
            if self._newest is not None:
                key = tuple(row[name] for name in out.values())
                if self._newest.is_stale(key[0] if len(key) == 1 else key, self._version(row)):
                    batch.stale += 1
                    continue
            for name in shape.dropped:
                row.pop(name, None)
            batch.rows.append(row)

    def _is_before(self, seen: Any, since: Any) -> bool:
        incremental = self.shape.incremental
        return (
            incremental is not None
            and incremental.filter == "client"
            and since is not None
            and seen < since
        )

    def _replication_value(self, raw: Any, row: dict[str, Any]) -> Any:
        """The replication key's value as a comparable, `None` where there is none."""
        incremental = self.shape.incremental
        if incremental is None or incremental.column is None:
            return None
        column = self.shape.column(incremental.column)
        value = None if column is None else row.get(column.out)
        if value is None:
            if incremental.missing == "reject":
                where = f"/{incremental.column}"
                raise BadRecordError("missing_field", "the replication key is missing", where)
            return None
        if incremental.kind == "instant" and column is not None and column.kind == "date-time":
            return incremental.restore(value)
        return incremental.read(value)

    def _version(self, row: dict[str, Any]) -> Any:
        """The version as a comparable of the same kind as the fast lane's."""
        column = self.shape.column(self.shape.version or "")
        value = None if column is None else row.get(column.out)
        if value is not None and column is not None and column.kind == "date-time":
            return datetime.fromisoformat(value)
        return value


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
