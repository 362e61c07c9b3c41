"""A run over time: a bounded number of points, no count lost, and the rates that they give."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from example_runs import run_of
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.report import Run, Snapshot, Used, Waiting
from tap_saas.runs.rates import edges, per_second, total_at, uses
from tap_saas.runs.run_file import Budget, Rate
from tap_saas.runs.series import MOST_POINTS, SHORTEST_STEP_S, Series, Track, point

BEGAN = datetime(2025, 3, 1, tzinfo=UTC)


def snapshot(elapsed_s: float, records: int, waiting: list[Waiting] | None = None) -> Snapshot:
    run = Run(run_id="r", stream="orders", started_at=BEGAN, rows_ingested=records)
    return Snapshot(
        elapsed_s=elapsed_s, rows=[run], rejects={}, statuses={}, used={"all": Used(records)},
        waiting=waiting or [], reading=["orders"],
    )  # fmt: skip


GROWTH = st.lists(
    st.tuples(st.floats(0.0, 100.0), st.integers(0, 1_000)), min_size=1, max_size=2_000
)


@given(GROWTH)
def test_points_are_bounded_and_the_last_total_is_exact(growth: list[tuple[float, int]]) -> None:
    track = Track()
    at, records, taken = 0.0, 0, {(0.0, 0)}
    for step_s, new in growth:
        at, records = at + step_s, records + new
        taken.add((round(at, 3), records))
        track.add(snapshot(at, records))
    track.add(snapshot(at, records), last=True)
    series = track.series()
    assert len(series.t) <= MOST_POINTS
    assert {len(values) for values in (series.t, series.records, track.used("all"))} == {
        len(series.t)
    }
    assert set(zip(series.t, series.records, strict=True)) <= taken
    assert (series.records[0], series.records[-1]) == (0, records)
    assert all(a <= b for a, b in pairwise(series.t))


def test_a_long_run_keeps_points_all_along_it() -> None:
    track = Track()
    ticks = 20_000
    for i in range(1, ticks + 1):
        track.add(snapshot(i * SHORTEST_STEP_S, i))
    t = track.series().t
    gaps = [after - before for before, after in pairwise(t)]
    assert MOST_POINTS / 2 <= len(t) <= MOST_POINTS
    assert max(gaps) <= 4 * ticks * SHORTEST_STEP_S / MOST_POINTS


def test_a_wait_counts_while_it_lasts() -> None:
    wait = Waiting("orders", "api", "the API", since_s=2.0, until_s=30.0)
    assert point(snapshot(5.0, 0, [wait])).waited_api_s == 3.0


@given(GROWTH)
def test_rates_add_up_to_the_total(growth: list[tuple[float, int]]) -> None:
    track = Track()
    at, records = 0.0, 0
    for step_s, new in growth:
        at, records = at + max(step_s, 0.01), records + new
        track.add(snapshot(at, records))
    track.add(snapshot(at, records), last=True)
    series = track.series()
    parts = edges(run_of(series=series))
    rates = per_second(series.t, series.records, parts)
    added = sum(
        rate * (end - begin) for rate, (begin, end) in zip(rates, pairwise(parts), strict=True)
    )
    assert added == pytest.approx(records)


def test_a_total_grows_evenly_between_two_points() -> None:
    t, totals = [0.0, 4.0, 10.0], [0, 40, 100]
    assert [total_at(t, totals, at) for at in (-1.0, 0.0, 2.0, 4.0, 7.0, 10.0, 99.0)] == [
        0, 0, 20, 40, 70, 100, 100,
    ]  # fmt: skip


def test_the_use_of_a_limit_is_its_share_of_what_is_stated() -> None:
    t = [float(at) for at in range(101)]
    series = Series(t=t, records=[0] * 101)
    budget = Budget(
        name="all",
        limits=[
            Rate(requests=10, per_s=1.0, allowed=8.0),
            Rate(requests=10_000, per_s=3_600.0, allowed=10_000.0),
        ],
        requests=500,
        series=[5 * at for at in range(101)],
    )
    run = run_of(series=series, budgets=[budget])
    fast, slow = uses(run, edges(run))
    assert fast.most == pytest.approx(0.5)
    assert slow.most == pytest.approx(0.05)
    assert fast.label == "all: 10 in 1 s, 80 % ours"
    assert slow.label == "all: 10,000 in 1 h"


def test_a_run_without_points_has_one_part() -> None:
    run = run_of(series=Series())
    assert edges(run) == [0.0, 0.0]
    assert per_second([], [], edges(run)) == [0.0]
