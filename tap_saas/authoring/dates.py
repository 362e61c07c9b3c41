"""Which fields are instants, how they are written, and in which order the list has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tap_saas.authoring import vocabulary
from tap_saas.authoring.keys import short
from tap_saas.authoring.naming import words
from tap_saas.connector.formats import InstantFormat
from tap_saas.connector.jsonpath import Path

Role = Literal["changed", "created", "happened", "other"]
Order = Literal["asc", "desc", "none"]

STRFTIME = (
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y/%m/%d %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%Y/%m/%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y%m%dT%H%M%SZ",
    "%Y%m%d%H%M%S",
)
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ROLES: tuple[Role, ...] = ("changed", "created", "happened", "other")


class DateField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of instants: where, how written, and its value in each record."""

    path: Path
    format: str
    role: Role
    values: list[datetime | None]
    has_zone: bool

    @property
    def name(self) -> str:
        """Its path as the connector writes it."""
        return short(self.path)

    @property
    def order(self) -> Order:
        """How the records that were seen are sorted by it; `none` where fewer than two differ."""
        known = [value for value in self.values if value is not None]
        if len(known) != len(self.values) or len(set(known)) < 2:
            return "none"
        if known == sorted(known):
            return "asc"
        return "desc" if known == sorted(known, reverse=True) else "none"

    def of(self, record: Mapping[str, Any]) -> datetime | None:
        """A record's instant, `None` where it has none."""
        return _read(InstantFormat.parse(self.format), self.path.get(record))


def find(records: Sequence[Mapping[str, Any]]) -> list[DateField]:
    """The fields that hold instants in every record that has them, the one of changes first."""
    found = [field for path in _paths(records) if (field := _field(path, records)) is not None]
    return sorted(found, key=lambda field: (_ROLES.index(field.role), len(field.path.steps)))


def _paths(records: Sequence[Mapping[str, Any]]) -> list[Path]:
    """All fields, and those of objects one level down."""
    paths: dict[tuple[str, ...], None] = {}
    for record in records:
        for name, value in record.items():
            if isinstance(value, dict):
                paths |= dict.fromkeys((name, inner) for inner in value)
            else:
                paths[(name,)] = None
    return [Path(steps) for steps in paths]


def _field(path: Path, records: Sequence[Mapping[str, Any]]) -> DateField | None:
    raw = [path.get(record) for record in records]
    given = [value for value in raw if value is not UNSET and value is not None and value != ""]
    if not given:
        return None
    name = str(path.steps[-1])
    for format in _formats(name, given[0]):
        read = InstantFormat.parse(format)
        if all(_read(read, value) is not None for value in given):
            return DateField(
                path=path,
                format=format,
                role=_role(name),
                values=[_read(read, value) for value in raw],
                has_zone=all(_has_zone(format, value) for value in given),
            )
    return None


def _formats(name: str, value: Any) -> Sequence[str]:
    """The formats that a value may be written in, the likeliest first."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ()
    if _number(value) is not None:
        is_timely = _role(name) != "other" or bool(vocabulary.TIMELY & set(words(name)))
        return (
            (_epoch(value), *(STRFTIME[-1:] if isinstance(value, str) else ())) if is_timely else ()
        )
    if not isinstance(value, str):
        return ()
    return ("date", *STRFTIME) if len(value) == len("2025-01-31") else ("iso8601", *STRFTIME)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _epoch(value: Any) -> str:
    size = abs(float(value))
    return "epoch_s" if size < 1e11 else "epoch_ms" if size < 1e14 else "epoch_us"


def _read(format: InstantFormat, value: Any) -> datetime | None:
    if value is UNSET or value is None or value == "":
        return None
    try:
        instant = format.read(value)
    except ValueError:
        return None
    return instant if _EARLIEST <= instant < _LATEST else None


def _has_zone(format: str, value: Any) -> bool:
    """False for a text that leaves open where its clock hangs."""
    if format.startswith("epoch") or "%z" in format or format.endswith(("Z", "GMT")):
        return True
    if format != "iso8601":
        return False
    text = str(value)
    return text[-1:] in "zZ" or text.upper().endswith("UTC") or any(c in "+-" for c in text[19:])


def _role(name: str) -> Role:
    parts = set(words(name))
    if any(part.startswith(vocabulary.CHANGED) for part in parts):
        return "changed"
    if any(part.startswith(vocabulary.CREATED) for part in parts):
        return "created"
    happened = parts & vocabulary.HAPPENED and not parts & vocabulary.PLANNED
    return "happened" if happened else "other"
