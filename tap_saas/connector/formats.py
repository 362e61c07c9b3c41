"""How APIs write instants: read and written as aware UTC date-times."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tap_saas.connector.grains import after_epoch, after_iso, after_strftime
from tap_saas.connector.written import Written, text_of

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_EPOCH_MICROSECONDS: Final = {"epoch_s": 10**6, "epoch_ms": 10**3, "epoch_us": 1}
NAMES: Final = ("iso8601", "date", *_EPOCH_MICROSECONDS)
_ODD_ENDS: Final = re.compile(r"\s*(?:z|utc|gmt)$|\s+(?=[+-]\d\d)", re.IGNORECASE)
_CANONICAL_LENGTH: Final = len("2025-01-01T00:00:00Z")
_FARTHEST: Final = 10**30  # microseconds: far beyond year 9999, small enough to handle
_SAMPLE: Final = datetime(2001, 12, 31, 23, 59, 58, tzinfo=UTC)


def read_instant(text: str, zone: tzinfo = UTC) -> datetime:
    """The UTC instant of an RFC 3339 text, floored to microseconds.

    Liberal: a space for the T, any offset, a date alone (midnight), no offset (then `zone`).

    Raises:
        ValueError: not an instant, or an impossible one (February 30, second 60, year 0).
    """
    if text[4:5] != "-" or text[7:8] != "-" or text[10:11] not in ("T", "t", " ", ""):
        raise _not_an_instant(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = _read_odd(text)
    if instant.tzinfo is UTC:
        return instant
    return _to_utc(instant, zone, text)


def _read_odd(text: str) -> datetime:
    """What `fromisoformat` does not know: lower case z, a word or a space before the offset."""
    cleaned = _ODD_ENDS.sub(lambda match: "Z" if match.group().strip() else "", text.strip())
    try:
        return datetime.fromisoformat(cleaned)
    except ValueError:
        raise _not_an_instant(text) from None


def _not_an_instant(text: str) -> ValueError:
    shown = text if len(text) <= 40 else text[:37] + "..."
    return ValueError(f"{shown!r} is not a date-time such as 2025-01-31T08:30:00Z")


def _to_utc(instant: datetime, zone: tzinfo, value: Any) -> datetime:
    try:
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=zone)
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} is outside the years 1 to 9999") from None


def normalise_instant(text: str) -> str:
    """A date-time text as RFC 3339 in UTC with Z, microseconds when not 0; raises ValueError."""
    instant = read_instant(text)
    # A valid text of this length with these signs in place has digits everywhere else.
    canonical = len(text) == _CANONICAL_LENGTH and text[10::3] == "T::Z"
    return text if canonical else _written(instant)


def _written(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat() + "Z"


class InstantFormat(Written):
    """`iso8601`, `date`, `epoch_s`, `epoch_ms`, `epoch_us` or a strftime text, each with `@Zone`.

    The optional zone is that of times without an offset (default UTC); an epoch has no zone.
    """

    __slots__ = ("_after", "_read", "_write", "zone")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        name, zone = _split_zone(text)
        self.zone: Final = zone
        self._read: Callable[[Any], datetime]
        self._write: Callable[[datetime], str | int]
        self._after: Callable[[Any, datetime], datetime]
        if name in _EPOCH_MICROSECONDS:
            unit = _EPOCH_MICROSECONDS[name]
            self._read = lambda value: _read_epoch(value, unit)
            self._write = lambda instant: (instant - EPOCH) // (unit * _MICROSECOND)
            self._after = lambda value, first: after_epoch(value, first, unit)
        elif "%" in name:
            _check_directives(name)
            self._read = lambda value: _read_strftime(value, name, zone)
            self._write = lambda instant: instant.astimezone(zone).strftime(name)
            self._after = lambda value, first: after_strftime(value, first, name, zone)
        elif name in NAMES:
            self._read = lambda value: _read_iso(value, zone)
            self._write = _iso_writer(zone) if name == "iso8601" else _date_writer(zone)
            self._after = lambda value, first: after_iso(value, first, zone)
        else:
            raise ValueError(
                f"unknown format {name!r}; use one of {', '.join(NAMES)}, or a text like %Y-%m-%d"
            )

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a format; raises ValueError that names the unknown word, directive or zone."""
        return cls(text_of(raw, "a format", "iso8601"))

    def read(self, value: Any) -> datetime:
        """The UTC instant, floored to microseconds; raises ValueError."""
        return self._read(value)

    def read_end(self, value: Any) -> datetime:
        """The last microsecond of the time that a value means: 10:00:05 ends at 10:00:05.999999.

        A day ends at its zone's midnight. Raises ValueError.
        """
        first = self._read(value)
        try:
            return self._after(value, first) - _MICROSECOND
        except OverflowError:
            return _LAST

    def write(self, instant: datetime) -> str | int:
        """The instant as this format writes it; epochs are floored integers; raises ValueError."""
        try:
            return self._write(instant)
        except OverflowError:
            raise ValueError(f"{instant} is outside the years 1 to 9999 in {self.zone}") from None


def _split_zone(text: str) -> tuple[str, tzinfo]:
    name, at, zone = text.rpartition("@")
    if not at:
        return text, UTC
    try:
        return name, UTC if zone == "UTC" else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {zone!r}; write one such as Europe/Berlin") from None


def _check_directives(name: str) -> None:
    """Refuse what cannot be read back, such as `%s` or `%-d`, which only some systems write."""
    try:
        datetime.strptime(_SAMPLE.strftime(name), name)  # noqa: DTZ007 - only tried
    except (ValueError, re.error) as error:
        raise ValueError(f"format {name!r} cannot be read: {error}") from None


def _read_iso(value: Any, zone: tzinfo) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a date-time text; say its format, as in epoch_s")
    return read_instant(value, zone)


def _iso_writer(zone: tzinfo) -> Callable[[datetime], str]:
    if zone is UTC:
        return lambda instant: _written(instant.astimezone(UTC))
    return lambda instant: instant.astimezone(zone).isoformat()


def _date_writer(zone: tzinfo) -> Callable[[datetime], str]:
    return lambda instant: instant.astimezone(zone).date().isoformat()


def _read_strftime(value: Any, name: str, zone: tzinfo) -> datetime:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    try:
        return _to_utc(datetime.strptime(text, name), zone, value)  # noqa: DTZ007 - zone added
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not written as {name}") from None


def _read_epoch(value: Any, unit: int) -> datetime:
    """The instant `value` units of `unit` microseconds after 1970, exact before it is floored."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise ValueError(f"{value!r} is not a number of seconds since 1970 or a fraction of them")
    try:
        number = Decimal(str(value).strip()) * unit
        if not abs(number) < _FARTHEST:
            raise OverflowError
        return EPOCH + int(number.to_integral_value(ROUND_FLOOR)) * _MICROSECOND
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number of seconds since 1970") from None
    except OverflowError:
        raise ValueError(f"{value!r} is outside the years 1 to 9999") from None


ISO8601: Final = InstantFormat("iso8601")
