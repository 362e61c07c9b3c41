"""How exactly an instant is given: the first instant that a written one no longer means."""

from __future__ import annotations

import re
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_ISO_TIME: Final = re.compile(r"\d\d(:?\d\d(:?\d\d(?:[.,](\d+))?)?)?")
_FRACTION: Final = re.compile(r"[.,](\d{1,6})")
_DIRECTIVE: Final = re.compile(r"%(.)")
# The directives that `strptime` knows, finest first.
_FINEST: Final = (
    ("ScX", timedelta(seconds=1)),
    ("M", timedelta(minutes=1)),
    ("HI", timedelta(hours=1)),
)


def after_epoch(value: Any, first: datetime, unit: int) -> datetime:
    """After a number of units of `unit` microseconds: one unit later, or one of its last digit."""
    if isinstance(value, float) and value.is_integer():
        return first + unit * _MICROSECOND
    exponent = Decimal(str(value).strip()).as_tuple().exponent
    assert isinstance(exponent, int), "what is no number was refused before"
    return first + _fraction(unit, max(0, -exponent))


def after_iso(text: str, first: datetime, zone: tzinfo) -> datetime:
    """After an RFC 3339 text: a day, hour, minute, second, or one of its last digit later."""
    time = _ISO_TIME.match(text.strip(), 11)
    if time is None:
        return _after_day(first, zone)
    minute, second, fraction = time.groups()
    if minute is None:
        return first + timedelta(hours=1)
    if second is None:
        return first + timedelta(minutes=1)
    return first + _fraction(10**6, len(fraction or ""))


def after_strftime(text: Any, first: datetime, name: str, zone: tzinfo) -> datetime:
    """After a text of a format: its finest directive counted one further."""
    directives = set(_DIRECTIVE.findall(name))
    if "f" in directives:
        written = _FRACTION.findall(str(text))
        return first + _fraction(10**6, len(written[-1]) if written else 6)
    for letters, grain in _FINEST:
        if directives & set(letters):
            return first + grain
    if directives & set("djxwuaA") or not directives & set("mbByYG"):
        return _after_day(first, zone)
    if directives & set("VUW"):
        return first + 7 * _DAY
    local = first.astimezone(zone)
    months = 1 if directives & set("mbB") else 12
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    if year > MAXYEAR:
        raise OverflowError
    return datetime(year, month + 1, 1, tzinfo=zone).astimezone(UTC)


def _fraction(unit: int, digits: int) -> timedelta:
    """The grain of a number of `unit` microseconds with so many digits after its point."""
    return timedelta(microseconds=max(unit // int(10 ** min(digits, 9)), 1))


def _after_day(first: datetime, zone: tzinfo) -> datetime:
    local = first.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    if midnight.astimezone(UTC) != first:
        return first + _DAY
    # Zones have left out whole days (Samoa, 30 December 2011).
    return max((midnight + _DAY).astimezone(UTC), first + _MICROSECOND)
