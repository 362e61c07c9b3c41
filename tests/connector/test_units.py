"""Durations, sizes and percentages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector import units


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta()),
    ],
)
def test_duration_is_read_and_written(text: str, duration: timedelta) -> None:
    assert units.parse_duration(text) == duration
    assert units.format_duration(duration) == text


@given(st.integers(0, 10**12))
def test_written_duration_reads_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert units.parse_duration(units.format_duration(duration)) == duration


def test_duration_below_a_millisecond_is_rounded() -> None:
    assert units.format_duration(timedelta(microseconds=1_500_600)) == "1501ms"


@pytest.mark.parametrize(
    ("text", "size"), [("64KB", 64_000), ("10MB", 10_000_000), ("1GB", 10**9), ("7B", 7)]
)
def test_size_is_read(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("raw", "fraction"), [("5%", 0.05), ("100%", 1.0), ("0.5%", 0.005), ("0%", 0.0), (0, 0.0)]
)
def test_percentage_is_read(raw: Any, fraction: float) -> None:
    assert units.parse_percent(raw) == pytest.approx(fraction)


@pytest.mark.parametrize(
    ("parse", "raw", "line"),
    [
        (units.parse_duration, "5", "'5' is not a duration; write a number and ms, s, m, h or d"),
        (units.parse_duration, 5, "5 is not a duration"),
        (units.parse_duration, "-5s", "is not a duration"),
        (units.parse_duration, "1h30m", "is not a duration"),
        (units.parse_duration, "40000d", "longer than a hundred years"),
        (units.parse_duration, "9" * 5000 + "s", "longer than a hundred years"),
        (units.parse_size, "10", "'10' is not a size; write a number and B, KB, MB or GB"),
        (units.parse_size, "10mb", "is not a size"),
        (units.parse_size, "9" * 5000 + "GB", "larger than any machine"),
        (units.parse_percent, "5", "'5' is not a percentage; write one from 0% to 100%"),
        (units.parse_percent, 0.05, "is not a percentage"),
        (units.parse_percent, False, "False is not a percentage"),
        (units.parse_percent, "101%", "more than 100%"),
    ],
)
def test_wrong_unit_is_one_line(parse: Callable[[Any], Any], raw: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        parse(raw)
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)
