"""What says which record an event means, and how new that is: key values and a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import UNSET

from tap_saas.connector.fields import HASH_COLUMN, Fields, HashKey, Record, ShapeError, shaper
from tap_saas.connector.formats import ISO8601, InstantFormat, normalise_instant
from tap_saas.connector.incremental import instant_format
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.model import OBSERVED, Stream, column

_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,300}")
_NUMBERS: Final = ("integer", "number", "decimal")
_MAX_DIGITS: Final = 300


class IdentityError(ValueError):
    """What an event lacks: `field` is the column, `kind` and the text say why."""

    def __init__(self, kind: str, field: str, message: str) -> None:
        self.kind = kind
        self.field = field
        super().__init__(message)


class Identity:
    """The key and the version of one stream's records.

    `kinds` are the kinds of its columns where they are known: integer, number, decimal, string,
    date-time and so on.
    """

    def __init__(self, stream: Stream, kinds: Mapping[str, str]) -> None:
        self._stream, self._kinds = stream, kinds
        self._key = key_paths(stream)
        self._version = stream.version_column
        self._shape = _key_shaper(stream)
        parsed = stream.fields.parse if stream.fields else {}
        self._as_found = frozenset({*parsed, HASH_COLUMN})
        self.version_format = version_format(stream)

    @property
    def is_observed(self) -> bool:
        """Whether the version is the instant at which the API gave a record."""
        return self._stream.version == OBSERVED

    def with_key(self, record: Record) -> Record:
        """The record, not yet shaped, with its key values as the stream has them.

        Raises:
            IdentityError: a key value cannot be one of its column's.
        """
        found = {name: record.get(name, path.get(record)) for name, path in self._key.items()}
        return self._own(record) | {
            name: self._coerced(name, value)
            for name, value in found.items()
            if value is not UNSET and value is not None and name not in self._as_found
        }

    def tombstone(self, record: Record, happened: datetime | None) -> Record:
        """The columns of the key and the version of what was deleted; they need no more shaping.

        `record` is what is known of it, `happened` the end of the time at which it was deleted.

        Raises:
            IdentityError: a key value is missing or wrong, or nothing says how new this is.
        """
        shaped = self._shaped(record)
        row = self._key_of(shaped)
        if self._version is not None:
            row[self._version] = self._version_value(shaped, self._version, happened)
        return row

    def known(self, record: Record, happened: datetime | None) -> Record:
        """As `tombstone`, without the version where nothing says it."""
        try:
            return self.tombstone(record, happened)
        except IdentityError as error:
            if error.kind != "bad_version":
                raise
            return self._key_of(self._shaped(record))

    def gone(self, row: Record, at: datetime) -> Record:
        """A row of `known` whose version is no older than `at`; raises IdentityError."""
        if self._version is None:
            return row
        return {**row, self._version: self._version_value(row, self._version, at)}

    def _shaped(self, record: Record) -> Record:
        try:
            record = self._own(record)
            shaped = record if self._shape is None else self._shape(record)
        except ShapeError as error:
            raise IdentityError("bad_key", error.field, str(error)) from error
        assert shaped is not None, "the shape of a key leaves no record out"
        return shaped

    def _key_of(self, shaped: Record) -> Record:
        return {name: self._key_value(shaped, name) for name in self._stream.key_columns}

    def values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a request, those that are named as key columns as the stream has them."""
        names = self._stream.key_columns
        return {
            name: self._coerced(name, value) if name in names else value
            for name, value in found.items()
        }

    def _own(self, record: Record) -> Record:
        """A copy that may be shaped: lifting takes members out of objects, which events share."""
        record = dict(record)
        for path in self._stream.fields.lift if self._stream.fields else ():
            lifted = path.get(record)
            if isinstance(lifted, dict):
                record = path.set(record, dict(lifted))
        return record

    def _key_value(self, shaped: Record, name: str) -> Any:
        value = shaped.get(name)
        if value is None:
            raise IdentityError("bad_key", name, f"the key {name} is missing or null")
        return self._coerced(name, value)

    def _coerced(self, name: str, value: Any) -> Any:
        if name in self._as_found:
            return value
        try:
            return coerced(value, self._kinds.get(name))
        except ValueError as error:
            raise IdentityError("bad_key", name, f"the key {name}: {error}") from error

    def _version_value(self, shaped: Record, name: str, happened: datetime | None) -> Any:
        own = shaped.get(name)
        if self._stream.version_kind == "text":
            if not isinstance(own, str):
                raise IdentityError("bad_version", name, f"the version {name} is no text")
            return own
        form = self.version_format
        is_number = self._is_number(own)
        if form is None or (is_number and not _counts_time(form)):
            return self._number(name, own)
        moments = [one for one in (self._end(form, own), happened) if one is not None]
        if not moments:
            raise IdentityError("bad_version", name, f"the version {name} is missing or no instant")
        return form.write(max(moments)) if is_number else instant_text(max(moments))

    def _is_number(self, own: Any) -> bool:
        kind = self._kinds.get(self._version or "")
        if kind is not None:
            return kind in _NUMBERS
        if self.is_observed or self._version in self._as_found:
            return False
        form = self.version_format
        if form is not None and _counts_time(form):
            return True
        return isinstance(own, int | float | Decimal) and not isinstance(own, bool)

    def _number(self, name: str, own: Any) -> Any:
        try:
            return coerced(own, "number")
        except ValueError as error:
            raise IdentityError("bad_version", name, f"the version {name}: {error}") from error

    @staticmethod
    def _end(form: InstantFormat, own: Any) -> datetime | None:
        try:
            return form.read_end(own)
        except ValueError:
            return None


def key_paths(stream: Stream) -> dict[str, Path]:
    """The columns of the primary key and where a record has them; none for a digest."""
    if stream.primary_key is None or isinstance(stream.primary_key, HashKey):
        return {}
    return {column(path): path for path in stream.primary_key}


def version_format(stream: Stream) -> InstantFormat | None:
    """How records write a version that is an instant; `None` where it is a counter or a text."""
    name, incremental = stream.version_column, stream.incremental
    if stream.version_kind != "field":
        return ISO8601 if stream.version == OBSERVED else None
    parsed = stream.fields.parse.get(name or "") if stream.fields else None
    if parsed is not None:
        return None if parsed in ("json", "decimal") else InstantFormat.parse(parsed)
    if incremental is None or incremental.column != name:
        return ISO8601
    if incremental.kind != "instant":
        return None
    return instant_format(incremental.format, incremental.zone)


def coerced(value: Any, kind: str | None) -> Any:
    """A single value as a column's kind has it: `"42"` as 42, 42 as `"42"`.

    Raises:
        ValueError: it is no single value, or cannot be one of this kind.
    """
    if value is None or isinstance(value, dict | list):
        raise ValueError("it is missing or no single value")
    if kind == "integer":
        return _integer(value)
    if kind in ("number", "decimal"):
        return _number(value)
    if kind in ("string", "text", "uuid") and not isinstance(value, str):
        return _text(value)
    return value


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with Z."""
    return normalise_instant(instant.isoformat())


def _key_shaper(stream: Stream) -> Any:
    """What makes a record's key and version columns of it, and leaves none out."""
    fields = stream.fields
    if fields is not None:
        parse = {name: how for name, how in fields.parse.items() if name != stream.version_column}
        fields = Fields(lift=fields.lift, rename=fields.rename, parse=parse)
    hashed = stream.primary_key.hash if isinstance(stream.primary_key, HashKey) else []
    return shaper(fields, stream.columns, hashed, {})


def _counts_time(form: InstantFormat) -> bool:
    return form.text.startswith("epoch")


def _integer(value: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    number = _number(value)
    if isinstance(number, int):
        return number
    if abs(number.adjusted()) > _MAX_DIGITS or number != number.to_integral_value():
        raise ValueError(f"{str(value)[:40]} is no whole number")
    return int(number)


def _number(value: Any) -> int | Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return number


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
