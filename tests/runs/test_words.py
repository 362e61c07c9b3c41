"""Numbers as people read them, and axes with round numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.runs.words import axis, count, duration, lag_axis, percent, rate, time_axis


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.44, "0.4 s"), (12.3, "12.3 s"), (59.94, "59.9 s"), (59.96, "1 min"),
        (250, "4 min 10 s"), (3_599.6, "1 h"), (11_100, "3 h 5 min"), (86_399, "1 d"),
        (187_200, "2 d 4 h"), (86_400 * 400, "400 d"), (-90, "-1 min 30 s"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1_234.5, "1,234"), (56.33, "56.3"), (5, "5"), (0.042, "0.042"), (0.0001, "0")],
)
def test_a_rate_has_about_three_digits(value: float, text: str) -> None:
    assert rate(value) == text


def test_counts_and_shares() -> None:
    assert (count(1_234_567), percent(0.0123), percent(1)) == ("1,234,567", "1.23 %", "100 %")


@given(st.floats(0, 1e12))
def test_an_axis_reaches_the_most_in_a_few_round_steps(most: float) -> None:
    found = axis(most, "records")
    assert found.top >= most * (1 - 1e-6)
    assert most == 0 or found.top <= max(2.5 * most, 0.01)
    assert len({label for _, label in found.ticks}) == len(found.ticks)
    assert 2 <= len(found.ticks) <= 6
    assert found.ticks[0] == (0, "0")
    assert found.ticks[-1][0] == pytest.approx(found.top)


@given(st.integers(0, 10_000))
def test_an_axis_of_whole_things_has_whole_numbers(most: int) -> None:
    assert all(at == int(at) for at, _ in axis(most, "records", whole=True).ticks)


@given(st.floats(0.001, 86_400 * 1_000))
def test_a_time_axis_ends_with_the_run_and_its_labels_differ(seconds: float) -> None:
    found = time_axis(seconds)
    labels = [label for _, label in found.ticks]
    assert found.top == max(seconds, 0.1)
    assert all(0 <= at <= found.top * (1 + 1e-6) for at, _ in found.ticks)
    assert len(set(labels)) == len(labels)
    assert 1 <= len(labels) <= 7


@pytest.mark.parametrize(
    ("seconds", "unit", "labels"),
    [
        (29.5, "seconds", ["0", "5", "10", "15", "20", "25"]),
        (600, "minutes", ["0", "2", "4", "6", "8", "10"]),
        (86_400, "hours", ["0", "6", "12", "18", "24"]),
    ],
)
def test_a_time_axis_counts_in_what_suits_it(seconds: float, unit: str, labels: list[str]) -> None:
    found = time_axis(seconds)
    assert ([label for _, label in found.ticks], found.unit) == (labels, unit)


def test_a_lag_axis_ends_with_a_round_number() -> None:
    found = lag_axis(86_400 * 511)
    assert (found.ticks[-1], found.unit) == ((86_400 * 600, "600"), "days")
