"""Durations, sizes and percentages: `30s`, `10MB`, `5%`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final, Self

_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_BYTES: Final = {"GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d)")
_SIZE: Final = re.compile(r"(\d+)(B|KB|MB|GB)")
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)%")
_LONGEST: Final = timedelta(days=100 * 365)


def parse_duration(text: Any) -> timedelta:
    """`500ms`, `30s`, `5m`, `1h` or `7d`, at most a hundred years; raises ValueError."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; write a number and ms, s, m, h or d, as in 30s"
        )
    number = int(match[1]) if len(match[1]) < 20 else 10**20
    if number * _MS[match[2]] > _LONGEST // timedelta(milliseconds=1):
        raise ValueError(f"{text!r} is longer than a hundred years; write a shorter duration")
    return timedelta(milliseconds=number * _MS[match[2]])


def format_duration(duration: timedelta) -> str:
    """The duration to the millisecond in the largest unit that divides it: `90s`, `7d`."""
    number = round(duration / timedelta(milliseconds=1))
    if number == 0:
        return "0s"
    unit = next(unit for unit, size in _MS.items() if number % size == 0)
    return f"{number // _MS[unit]}{unit}"


def parse_size(text: Any) -> int:
    """`64KB` or `10MB` in bytes; KB, MB and GB are powers of 1,000 (SI); raises ValueError."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a size; write a number and B, KB, MB or GB, as in 64KB")
    if len(match[1]) > 15:
        raise ValueError(f"{text!r} is larger than any machine; write a smaller size")
    return int(match[1]) * _BYTES[match[2]]


def parse_percent(text: Any) -> float:
    """`5%` as a fraction, 0.05; from 0% to 100%; a bare 0 is 0%; raises ValueError."""
    if text in (0, "0") and not isinstance(text, bool):
        return 0.0
    match = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a percentage; write one from 0% to 100%, as in 5%")
    if float(match[1]) > 100:
        raise ValueError(f"{text!r} is more than 100%; write one from 0% to 100%")
    return float(match[1]) / 100


class Duration(timedelta):
    """`500ms`, `30s`, `5m`, `1h`, `7d`."""

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a duration; raises ValueError."""
        length = parse_duration(raw)
        return cls(days=length.days, seconds=length.seconds, microseconds=length.microseconds)


class ByteSize(int):
    """`64KB`, `10MB`: a number of bytes."""

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a size; raises ValueError."""
        return cls(parse_size(raw))


class Percent(float):
    """`5%`: a fraction from 0 to 1."""

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a percentage; raises ValueError."""
        return cls(parse_percent(raw))
