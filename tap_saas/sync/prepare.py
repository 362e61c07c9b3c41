"""A page into a batch: select, add context, normalise, validate, newest in the window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from tap_saas.connector.fields import ShapeError, Shaper
from tap_saas.connector.formats import normalise_instant
from tap_saas.errors import ApiError
from tap_saas.sync import evolve, structs
from tap_saas.sync.columns import MOST_COLUMNS, bad_name
from tap_saas.sync.fast import FastLane, SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.rejects import Reject
from tap_saas.sync.rows import BadRecordError, Rows, WidensColumnError
from tap_saas.sync.shape import DELETED, Batch, Flagged, Shape, Tombstone


class Preparer:
    """Prepares the pages of one stream. It learns: its shape grows with the records that it sees.

    `fast` allows the fast lane. `newest` is shared by all partitions of the stream.
    """

    def __init__(self, shape: Shape, newest: Newest | None, *, fast: bool) -> None:
        self._newest = newest if shape.key and shape.version else None
        self._allow_fast = fast
        self._rows = Rows(shape)
        self._blank: frozenset[str] = frozenset()
        self.fast: FastLane | None = None
        self._renew()

    @property
    def shape(self) -> Shape:
        """The shape with all that has been learnt."""
        return self._rows.shape

    def _renew(self) -> None:
        """A lane for the present columns."""
        try:
            self.fast = FastLane(self.shape, self._blank) if self._allow_fast else None
        except structs.NoStructError:
            self.fast = None

    def shape_by(self, shaper: Shaper | None) -> None:
        """Shape records by this from now on: `fields.add` may name a partition's values."""
        self._rows.shape = msgspec.structs.replace(self.shape, shaper=shaper)

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
        """
        batch = Batch(
            rows=[],
            rejects=[],
            columns=self.shape.columns,
            received=len(records),
            constant=constant,
        )
        shaped = self._shape_all(records, constant, batch)
        self._grow([record for _, record in shaped])
        converted = self._convert_all(shaped, batch)
        self._keep_newest(converted, batch, since)
        blank = self._still_blank([record for _, record in shaped])
        if self.shape.columns is not batch.columns or blank != self._blank:
            self._blank, batch.columns = blank, self.shape.columns
            self._renew()
        return batch

    def _shape_all(
        self, records: list[Any], constant: Mapping[str, Any], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        """Each record with `fields` applied and the partition's values added."""
        shaped: list[tuple[Any, dict[str, Any]]] = []
        for raw in records:
            if not isinstance(raw, dict):
                batch.rejects.append(Reject("not_object", "the record is not an object", raw))
                continue
            if isinstance(raw, Tombstone):
                shaped.append((raw, raw))
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
            flagged = self.shape.flag is not None and self.shape.flag.holds_in(raw)
            shaped.append((raw, (Flagged if flagged else dict)({**constant, **record})))
        return shaped

    def _grow(self, records: list[dict[str, Any]]) -> None:
        """New columns for new fields, as `on_new_field` says."""
        shape = self.shape
        keys = (*shape.key, *shape.constant)
        if shape.on_new_field == "ignore":
            return
        if shape.on_new_field == "fail" and (
            new := evolve.new_fields(shape.columns, records) - set(keys) - self._rows.ordering
        ):
            shown = ", ".join(sorted(new)[:10]) + (f" and {len(new) - 10} more" * (len(new) > 10))
            raise ApiError(
                f"the records have new fields: {shown}",
                stream=shape.stream,
                do="add them to the schema, or say on_new_field: evolve",
            )
        columns = evolve.grow(shape.columns, records, shape.reads, keys)
        if columns is not shape.columns:
            self._rows.learn(columns)

    def _still_blank(self, records: list[dict[str, Any]]) -> frozenset[str]:
        """Fields that have been null in all records so far: the fast lane can take them."""
        known = self.shape.columns.by_name.keys()
        blank = {name for record in records for name in record.keys() - known}
        blank = {name for name in blank if not bad_name(name)} | self._blank
        return frozenset(blank) if len(blank) <= MOST_COLUMNS else self._blank

    def _convert_all(
        self, shaped: list[tuple[Any, dict[str, Any]]], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        """All records by column names; a column that widens changes those before it too."""
        shape_rejects = list(batch.rejects)
        while True:
            batch.rejects, batch.contradicted, batch.gathered = list(shape_rejects), 0, 0
            try:
                return self._convert_once(shaped, batch)
            except WidensColumnError as widens:
                column = self.shape.columns.by_name[widens.column]
                self._rows.learn(self.shape.columns.with_([evolve.widened(column)]))

    def _convert_once(
        self, shaped: list[tuple[Any, dict[str, Any]]], batch: Batch
    ) -> list[tuple[Any, dict[str, Any]]]:
        converted = []
        for raw, record in shaped:
            try:
                converted.append((raw, self._converted(record, batch)))
            except BadRecordError as error:
                reject = error.reject
                key = [record.get(name) for name in self.shape.key] or None
                batch.rejects.append(msgspec.structs.replace(reject, payload=raw, record_key=key))
        return converted

    def _converted(self, record: dict[str, Any], batch: Batch) -> dict[str, Any]:
        if isinstance(record, Tombstone):
            return self._rows.tombstone(record)
        row = self._rows.convert(record, batch)
        if isinstance(record, Flagged):
            version = self._version(row)
            at = version if isinstance(version, datetime) else datetime.now(UTC)
            row[DELETED] = normalise_instant(at.isoformat())
        return row

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
        try:
            if incremental.kind == "instant" and column is not None and column.kind == "date-time":
                return incremental.restore(value)
            return incremental.read(value)
        except ValueError as error:
            raise BadRecordError("bad_date", str(error), f"/{incremental.column}") from error

    def _version(self, row: dict[str, Any]) -> Any:
        """The version as a comparable of the same kind as the fast lane's."""
        column = self.shape.column(self.shape.version or "")
        value = None if column is None else row.get(column.out)
        if value is None or column is None:
            return None
        if column.kind == "date-time":
            return datetime.fromisoformat(value)
        return Decimal(value) if column.kind == "decimal" else value
