"""One value into its column: normalised to what every target takes, or refused with a reason."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from tap_saas.connector import formats
from tap_saas.sync.columns import Kind, fits_double

BIGINT = 2**63
MAX_EXPONENT = 1000  # far inside PostgreSQL's numeric (131,072 digits before the point)
MAX_WHOLE = 10 ** (MAX_EXPONENT + 1)
MAX_KEY_BYTES = 2_500  # a longer key kills: an entry of PostgreSQL's indexes has 2,704 bytes
MAX_DEPTH = 200  # objects in objects; our own walks over them stop at about 400
TOO_DEEP = "nested too deeply to be shown"
_BAD_TEXT = re.compile("[\x00\ud800-\udfff]")
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class BadValueError(ValueError):
    """A value that its column cannot hold; `error` is a reject's error type."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class WidensError(ValueError):
    """A number that needs more than 15 digits: the column becomes a decimal."""


def convert(kind: Kind, value: Any) -> Any:
    """The value as its column holds it, JSON-able by msgspec.

    Raises:
        BadValueError: the value cannot be held; the record is a reject.
        WidensError: the column must become a decimal first.
    """
    if value is None:
        return None
    return _CONVERT[kind](value)


def clean(value: Any) -> Any:
    """A nested value without what jsonb refuses: NUL, lone surrogates and NaN are replaced.

    Raises:
        BadValueError: a number has a huge exponent, or the nesting is too deep.
    """
    return _clean(value, _number, MAX_DEPTH)


def _clean(value: Any, number: Callable[[Any], Any], depth: int) -> Any:
    match value:
        case str():
            return clean_text(value)
        case bool() | None:
            return value
        case int() | float() | Decimal():
            return number(value)
        case _ if not depth:
            raise BadValueError("too_deep", f"objects or arrays nested over {MAX_DEPTH} levels")
        case dict():
            below = depth - 1
            return {clean_text(n): _clean(inner, number, below) for n, inner in value.items()}
        case list():
            return [_clean(inner, number, depth - 1) for inner in value]
        case _:
            return value


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD."""
    return _BAD_TEXT.sub("\ufffd", text)


def is_clean_text(text: str) -> bool:
    """True for a text that PostgreSQL stores as it is."""
    return _BAD_TEXT.search(text) is None


def is_clean(value: Any) -> bool:
    """True for a value whose text is exactly that value: without NUL and lone surrogates."""
    if isinstance(value, str):
        return is_clean_text(value)
    try:
        return b"\\u0000" not in _encoded(value)
    except RecursionError:
        return False


def _wrong(kind: str, value: Any) -> BadValueError:
    shown = _shown(value)
    return BadValueError("bad_type", f"{shown} is not {kind}")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else as_text(value)
    return clean_text(text if len(text) <= 60 else text[:57] + "...")


def _is_finite(number: float | Decimal) -> bool:
    if isinstance(number, Decimal):
        return number.is_finite()
    return not isinstance(number, float) or math.isfinite(number)  # an int may be too large for one


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise _wrong("an integer", value)
    if not -BIGINT <= value < BIGINT:
        if _is_finite(value):
            raise BadValueError("out_of_range", f"{_shown(value)} is beyond 64 bits")
        raise _wrong("an integer", value)
    whole = int(value)
    if whole != value:
        raise _wrong("an integer", value)
    return whole


def _number(value: Any) -> int | Decimal | float | None:
    """A finite number; NaN and the infinities are null, as JSON has no word for them."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise _wrong("a number", value)
    if not isinstance(value, int) and not _is_finite(value):
        return None
    if isinstance(value, int):
        is_huge = not -MAX_WHOLE < value < MAX_WHOLE
    else:
        is_huge = isinstance(value, Decimal) and abs(value.adjusted()) > MAX_EXPONENT
    if is_huge:
        raise BadValueError("out_of_range", f"{_shown(value)} has a huge exponent")
    return value


def _double(value: Any) -> int | Decimal | float | None:
    number = _number(value)
    if number is not None and not fits_double(number):
        raise WidensError
    return number


def _decimal(value: Any) -> str | None:
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            raise _wrong("a decimal", value) from None
    number = _number(value)
    if number is None:
        return None
    return format(Decimal(repr(number)) if isinstance(number, float) else Decimal(number), "f")


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("a text", value)
    return clean_text(value)


def _instant(value: Any) -> str:
    if not isinstance(value, str):
        raise BadValueError("bad_date", f"{_shown(value)} is not a date-time")
    try:
        return formats.normalise_instant(value)
    except ValueError:
        raise BadValueError("bad_date", f"{_shown(value)} is not a date-time") from None


def _date(value: Any) -> str:
    try:
        if isinstance(value, str):
            if len(value) == 10:
                return dt.date.fromisoformat(value).isoformat()
            instant = formats.read_instant(value)
            if instant.time() == dt.time():
                return instant.date().isoformat()
    except ValueError:
        pass
    raise BadValueError("bad_date", f"{_shown(value)} is not a date")


def _time(value: Any) -> str:
    try:
        if isinstance(value, str):
            time = dt.time.fromisoformat(value)
            if time.tzinfo is None:
                return time.isoformat()
    except ValueError:
        pass
    raise BadValueError("bad_date", f"{_shown(value)} is not a time of day")


def _uuid(value: Any) -> str:
    try:
        if isinstance(value, str):
            return str(uuid.UUID(value))
    except ValueError:
        pass
    raise _wrong("a UUID", value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("an object", value)
    cleaned: dict[str, Any] = clean(value)
    return cleaned


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong("an array", value)
    cleaned: list[Any] = clean(value)
    return cleaned


def as_text(value: Any) -> str:
    """Any value as text: a text as it is, all else as JSON; NUL and lone surrogates are replaced.

    No number is too large for it. What is nested so deeply that our own walks end is only told.
    """
    if isinstance(value, str):
        return clean_text(value)
    try:
        text = _encoded(value)
        if b"\\u0000" in text:
            text = _ENCODER.encode(_clean(value, lambda number: number, -1))
    except RecursionError:
        return TOO_DEEP
    return text.decode()


def _encoded(value: Any) -> bytes:
    """Its JSON; `\\u0000` for a value with a lone surrogate, which has none."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return b"\\u0000"


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _double,
    "decimal": _decimal,
    "boolean": _boolean,
    "string": _string,
    "date-time": _instant,
    "date": _date,
    "time": _time,
    "uuid": _uuid,
    "object": _object,
    "array": _array,
    "text": as_text,
}
