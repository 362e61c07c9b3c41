"""Numbers, durations and instants as people read them, and axes with round numbers."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

LEAST = 0.01  # an axis of less would have ticks that all read 0
NICE = (1.0, 2.0, 5.0, 10.0)
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))
_NAMES = {"d": "days", "h": "hours", "min": "minutes", "s": "seconds"}
_STEPS = {
    "s": (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60),
    "min": (0.5, 1, 2, 5, 10, 15, 30, 60),
    "h": (0.5, 1, 2, 3, 6, 12, 24),
}


def count(n: int) -> str:
    """`1,234`."""
    return f"{n:,}"


def rate(value: float) -> str:
    """About three digits: `1,234`, `56.3`, `0.042`."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    digits = 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") or "0"


def duration(seconds: float) -> str:
    """Two units at most: `0.4 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 59.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole >= 3_600:
        whole = round(seconds / 60) * 60
    if whole >= 86_400:
        whole = round(seconds / 3_600) * 3_600
    parts = []
    for unit, size in _UNITS:
        n, whole = divmod(whole, int(size))
        if n:
            parts.append(f"{n} {unit}")
    return " ".join(parts[:2])


def percent(share: float) -> str:
    """`12.3 %`."""
    return f"{rate(share * 100)} %"


def instant(at: datetime) -> str:
    """`2025-03-01 12:00:00`, in UTC as all instants here."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


class Axis(msgspec.Struct, frozen=True):
    """An axis from 0 to `top`, with the labels of `ticks`; `unit` is what its numbers count."""

    top: float
    ticks: list[tuple[float, str]]
    unit: str


def axis(most: float, unit: str, ticks: int = 4, *, whole: bool = False) -> Axis:
    """An axis with a few round numbers (`whole` ones) that goes at least up to `most`."""
    step = _nice(max(most, LEAST) / ticks) if most > 0 else 1.0
    step = max(step, 1.0) if whole else step
    n = max(1, math.ceil(most / step - 1e-9))
    return Axis(n * step, [(i * step, rate(i * step)) for i in range(n + 1)], unit)


def time_axis(seconds: float, ticks: int = 6) -> Axis:
    """An axis of a duration, in the unit that suits it; it ends where the duration does."""
    unit, size = _unit(seconds)
    most = max(seconds, 0.1) / size
    steps = _STEPS.get(unit, ())
    step = next((step for step in steps if most / step <= ticks), _nice(most / ticks))
    labels = [(i * step * size, rate(i * step)) for i in range(math.floor(most / step + 1e-9) + 1)]
    return Axis(max(seconds, 0.1), labels, _NAMES[unit])


def lag_axis(seconds: float, ticks: int = 4) -> Axis:
    """As `time_axis`, but it ends with a round number."""
    unit, size = _unit(seconds)
    found = axis(seconds / size, _NAMES[unit], ticks)
    return Axis(found.top * size, [(at * size, label) for at, label in found.ticks], found.unit)


def _unit(seconds: float) -> tuple[str, float]:
    """The largest unit of which there are more than two."""
    return next(((unit, size) for unit, size in _UNITS if seconds > 2 * size), _UNITS[-1])


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in NICE if nice * power >= step * (1 - 1e-9))
