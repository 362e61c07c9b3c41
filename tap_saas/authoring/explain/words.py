"""Numbers, durations and lists as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta

from tap_saas.connector.request_form import RequestForm

_LONGEST_S = 119.5
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(length: float | timedelta) -> str:
    """`300 ms`, `4.2 s`, `90 s`, `5 min 10 s`, `9 h 5 min`, `3 d 4 h`, of seconds."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if 0 < seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < _LONGEST_S:
        return f"{round(seconds, 1 if seconds < 59.95 else None):g} s"
    # Two units: the smaller one is rounded, which may fill the larger one.
    at = next(at for at, (_, size) in enumerate(_UNITS) if seconds >= size)
    small = _UNITS[at + 1][1]
    whole, rest = divmod(round(seconds / small) * small, _UNITS[at][1])
    if at and whole * _UNITS[at][1] >= _UNITS[at - 1][1]:
        return f"1 {_UNITS[at - 1][0]}"
    shown = f"{whole:g} {_UNITS[at][0]}"
    return f"{shown} {rest // small:g} {_UNITS[at + 1][0]}" if rest else shown


def number(count: int) -> str:
    """`5,000,000`."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(part: float) -> str:
    """`3.2 %`, `0.05 %`, `120 %`; never 100 % of what is less."""
    if abs(part) < 0.1:
        return f"{part * 100:.2g} %"
    shown = math.floor(abs(part) * 1000 + 1e-9) / 10
    return f"{math.copysign(shown, part):g} %"


def asked(form: RequestForm) -> str:
    """`GET /orders`."""
    return f"{form.verb} {form.path}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *most, end = list(words) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end
