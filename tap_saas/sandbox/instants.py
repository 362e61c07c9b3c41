"""Instants as the sandbox keeps them: whole milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(1_440)]
_SECONDS = [f"{second:02d}" for second in range(60)]
_MILLIS = [f"{ms:03d}" for ms in range(1_000)]


def iso_ms(ms: int) -> str:
    """RFC 3339 with exactly three fraction digits and Z, as records write instants."""
    minutes, rest = divmod(ms, 60_000)
    day, minute = divmod(minutes, 1_440)
    return f"{_day(day)}T{_MINUTES[minute]}:{_SECONDS[rest // 1000]}.{_MILLIS[rest % 1000]}Z"


def iso_us(ms: int) -> str:
    """RFC 3339 with exactly six fraction digits and Z, as the truth writes versions."""
    return iso_ms(ms)[:-1] + "000Z"


def first_ms_at_or_after(text: str, form: str) -> int:
    """The first whole millisecond that is not before the instant `text` in `form`.

    Forms: `iso` (any RFC 3339, no zone means UTC), `epoch_s` and `epoch_ms` (with decimals).
    Raises: ValueError when the text is not of that form.
    """
    if form in {"epoch_s", "epoch_ms"}:
        try:
            number = Decimal(text) * (1000 if form == "epoch_s" else 1)
        except InvalidOperation as error:
            raise ValueError(f"{text!r} is not a number") from error
        if not number.is_finite() or abs(number) >= 1 << 42:
            raise ValueError(f"{text!r} is out of range")
        return int(number) + (number > int(number))
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return -((EPOCH - moment) // timedelta(milliseconds=1))


@lru_cache(maxsize=4_096)
def _day(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()
