"""The fast lane: a page decoded straight into structs and checked column by column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import jsonschema_rs
import msgspec

from tap_saas.connector import formats
from tap_saas.sync import structs
from tap_saas.sync.columns import EXACT_DIGITS, MORE, fits_double
from tap_saas.sync.convert import MAX_EXPONENT, MAX_KEY_BYTES
from tap_saas.sync.newest import Newest
from tap_saas.sync.shape import Batch, Shape

_UNSET = msgspec.UNSET
_NUMBER = msgspec.json.Decoder(float_hook=Decimal)
# Whole columns: one match costs less than a look at each value.
_PLAIN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?Z"
_INSTANTS = re.compile(rf"{_PLAIN}(?:\n{_PLAIN})*", re.ASCII)
_MILLISECONDS = len("YYYY-MM-DDTHH:MM:SS.mmmZ")
_PLAIN_NUMBER = rb"[-0-9.]{1,%d}" % EXACT_DIGITS
_NUMBERS = re.compile(rb"%b(?:\n%b)*" % (_PLAIN_NUMBER, _PLAIN_NUMBER))


class SurpriseError(ValueError):
    """Something that the dict lane must look at: no page is judged here."""


def bounded(text: str) -> Decimal:
    """A nested number, exactly; one with a huge exponent is left to the dict lane."""
    number = Decimal(text)
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise SurpriseError(text)
    return number


class FastLane:
    """Decodes and checks pages of one shape.

    Raises:
        structs.NoStructError: (on making one) the shape needs the dict lane.
    """

    def __init__(self, shape: Shape, blank: frozenset[str] = frozenset()) -> None:
        if shape.shaper is not None or shape.flag is not None:
            raise structs.NoStructError("records are shaped")
        incremental = shape.incremental
        if incremental is not None and (
            incremental.format not in ("iso8601", "counter") or incremental.zone
        ):
            raise structs.NoStructError("the replication key is not written as a target stores it")
        self._shape = shape
        columns = {name: column for name, column in shape.columns.by_name.items() if name != MORE}
        blanks = sorted(blank - columns.keys())
        self._type, unsaid = structs.record_type(
            columns,
            structs.required_fields(shape.declared),
            blanks,
            forbid_unknown=shape.on_new_field != "ignore",
        )
        self._decoder = msgspec.json.Decoder(list[self._type], float_hook=bounded)  # type: ignore[name-defined]
        self._attributes = {name: f"f{n}" for n, name in enumerate(columns)}
        if any(name not in self._attributes for name in (*shape.key, *shape.reads)):
            raise structs.NoStructError("the key or the version is not known yet")
        kinds = {name: column.kind for name, column in columns.items()}
        if any(kinds[name] in ("uuid", "number") for name in shape.key):
            raise structs.NoStructError("a key that is not an integer or a text")
        self._instants = {
            n: self._attributes[n] for n, kind in kinds.items() if kind == "date-time"
        }
        self._numbers = {self._attributes[n]: n for n, kind in kinds.items() if kind == "number"}
        self._unsaid = {
            self._attributes[name]: jsonschema_rs.validator_for(dict(schema)).is_valid
            for name, schema in unsaid.items()
        }
        self._dropped = [self._attributes[n] for n in shape.dropped if n in self._attributes]
        self._dropped += [f"b{n}" for n in range(len(blanks))]
        self._key = [self._attributes[name] for name in shape.key]
        texts = sum(kinds[name] not in ("integer", "date-time") for name in shape.key)
        self._longest_text = MAX_KEY_BYTES // (4 * texts) if texts else None

    def decode(self, raw: bytes) -> list[Any]:
        """The records of a JSON array.

        Raises:
            SurpriseError: a record does not fit, or has a text that PostgreSQL does not store.
        """
        if b"\\" in raw and (b"\\u0000" in raw or b"\\ud" in raw or b"\\uD" in raw):
            raise SurpriseError("text")
        try:
            records: list[Any] = self._decoder.decode(raw)
        except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
            raise SurpriseError("record") from error
        return records

    def fits(self, records: list[Any]) -> bool:
        """True for records that this lane decoded."""
        return type(records[0]) is self._type

    def prepare(
        self, records: list[Any], constant: Mapping[str, Any], newest: Newest | None, since: Any
    ) -> Batch:
        """The batch of a page.

        Raises:
            SurpriseError: a value must be normalised or rejected by the dict lane.
        """
        shape = self._shape
        for name, value in constant.items():
            if name not in self._attributes:
                raise SurpriseError("a partition's value without a column")
            self._fill(records, self._attributes[name], value)
        received = len(records)
        instants = self._check(records)
        keys = self._keys(records)
        seen = self._replication_keys(records, instants)
        batch = Batch(rows=records, rejects=[], columns=shape.columns, received=received)
        is_ours = shape.incremental is not None and shape.incremental.filter == "client"
        if is_ours and since is not None:
            keep = [value is None or value >= since for value in seen]
            records, keys, seen = _pick(records, keep), _pick(keys, keep), _pick(seen, keep)
            instants = {name: _pick(values, keep) for name, values in instants.items()}
            batch.filtered = received - len(records)
        if newest is not None and shape.version is not None:
            versions = instants.get(shape.version) or self._values(records, shape.version)
            newer = newest.keep(keys, versions)
            if newer is not None:
                records = _pick(records, newer)
                batch.stale = len(newer) - len(records)
        for attribute in self._dropped:
            for record in records:
                setattr(record, attribute, _UNSET)
        batch.rows = records
        values = [value for value in seen if value is not None]
        if values:
            batch.max_seen, batch.min_seen = max(values), min(values)
        return batch

    def _check(self, records: list[Any]) -> dict[str, list[Any]]:
        """Look at what the struct's types do not say; the instants of each date-time column."""
        for attribute, name in self._numbers.items():
            self._check_numbers(records, attribute, self._takes_null(name))
        for attribute, is_valid in self._unsaid.items():
            for value in map(attrgetter(attribute), records):
                if value is not _UNSET and not is_valid(value):
                    raise SurpriseError("nested")
        return {
            name: self._check_instants(records, attribute)
            for name, attribute in self._instants.items()
        }

    @staticmethod
    def _fill(records: list[Any], attribute: str, value: Any) -> None:
        """A partition's value, where the record has no field of that name."""
        for record in records:
            if getattr(record, attribute) is _UNSET:
                setattr(record, attribute, value)

    def _values(self, records: list[Any], name: str) -> list[Any]:
        """The values of a column as comparables."""
        attribute = self._attributes[name]
        values = [None if v is _UNSET else v for v in map(attrgetter(attribute), records)]
        if attribute not in self._numbers:
            return values
        return [None if value is None else _NUMBER.decode(value) for value in values]

    def _takes_null(self, name: str) -> bool:
        declared = self._shape.columns.by_name[name].declared
        return declared is None or structs.is_nullable(declared)

    def _keys(self, records: list[Any]) -> list[Any]:
        """The primary keys; one that is missing or null is a surprise."""
        if not self._key:
            return []
        keys = list(map(attrgetter(*self._key), records))
        parts = keys if len(self._key) == 1 else [part for key in keys for part in key]
        if None in parts or _UNSET in parts:
            raise SurpriseError("key")
        longest = self._longest_text
        if longest is not None and any(isinstance(p, str) and len(p) > longest for p in parts):
            raise SurpriseError("key")
        return keys

    def _replication_keys(self, records: list[Any], instants: dict[str, list[Any]]) -> list[Any]:
        incremental, name = self._shape.incremental, self._shape.replication_key
        if incremental is None or name is None:
            return []
        seen = instants.get(name) or self._values(records, name)
        if incremental.missing == "reject" and None in seen:
            raise SurpriseError("replication key")
        return seen

    @staticmethod
    def _check_instants(records: list[Any], attribute: str) -> list[datetime | None]:
        """The instants of a column; texts that are not as `normalise_instant` writes them yet are
        rewritten so.
        """
        texts = list(map(attrgetter(attribute), records))
        if None not in texts and _UNSET not in texts:
            return _instants(records, attribute, texts)
        there = [text is not None and text is not _UNSET for text in texts]
        found = iter(_instants(_pick(records, there), attribute, _pick(texts, there)))
        return [next(found) if is_there else None for is_there in there]

    @staticmethod
    def _check_numbers(records: list[Any], attribute: str, takes_null: bool) -> None:
        """The JSON texts of a column are numbers of at most 15 digits, or null."""
        raws = list(map(attrgetter(attribute), records))
        try:
            if _NUMBERS.fullmatch(b"\n".join(raws)):
                return
        except TypeError:
            pass  # one is missing
        for raw in raws:
            if raw is _UNSET:
                continue
            text = bytes(raw)
            if text == b"null" and takes_null:
                continue
            if text[:1] not in b"-0123456789" or not fits_double(Decimal(text.decode())):
                raise SurpriseError("number")


def _instants(records: list[Any], attribute: str, texts: list[str]) -> list[datetime | None]:
    joined = "\n".join(texts)
    try:
        if not _INSTANTS.fullmatch(joined):
            return [_instant(*one, attribute) for one in zip(records, texts, strict=True)]
        instants: list[datetime | None] = list(map(datetime.fromisoformat, texts))
    except ValueError as error:
        raise SurpriseError("instant") from error
    if "." in joined:
        for record, text in zip(records, texts, strict=True):
            if len(text) == _MILLISECONDS or text[-8:] == ".000000Z":
                setattr(record, attribute, formats.normalise_instant(text))
    return instants


def _instant(record: Any, text: str, attribute: str) -> datetime:
    instant = formats.read_instant(text)
    if instant.tzinfo is not UTC:
        raise SurpriseError("zone")
    setattr(record, attribute, formats.normalise_instant(text))
    return instant


def _pick(values: list[Any], keep: list[bool]) -> list[Any]:
    return [value for value, kept in zip(values, keep, strict=True) if kept] if values else values
