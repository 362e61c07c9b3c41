"""The time that a plan tells is the limiter's own, and jumping over its periods changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.authoring.explain.course import Course, often_s, spending
from tap_saas.authoring.explain.explanation import Use
from tap_saas.authoring.explain.pace import Pace, Segment, used
from tap_saas.authoring.explain.volume import Requests
from tap_saas.client.limiter import WAKE_LATE_S
from tap_saas.client.stores.bucket import Claim, Rate
from tap_saas.client.stores.memory import MemoryStore

HOUR_S = 3_600.0


def claim(*limits: tuple[int, float], gap_s: float = 0.0) -> Claim:
    rates = tuple(Rate(requests, per_s, per_s + 0.03) for requests, per_s in limits)
    return Claim("acme/all", "all", rates, gap_s=gap_s)


def tried(one: Claim, requests: int, answer_s: float) -> float:
    """Each request asked for by itself."""
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    for _ in range(requests):
        grant = store.try_("one", (one,))
        while not grant.go:
            clock[0] += grant.wait_s + WAKE_LATE_S
            grant = store.try_("one", (one,), grant.since)
        clock[0] += answer_s
    return clock[0]


def paced(one: Claim, requests: int, answer_s: float) -> float:
    return Pace(answer_s).run([Segment(claims=(one,), requests=requests)])


limits = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([1.0, 5.0, 60.0, 3_600.0])),
    max_size=3,
    unique_by=lambda limit: limit[1],
)


@settings(max_examples=120)
@given(limits=limits, requests=st.integers(0, 600), answer_s=st.sampled_from([0.0, 0.1, 2.0]))
@example(limits=[(5, 1.0), (11, 60.0)], requests=100, answer_s=0.1)
@example(limits=[(3, 1.0), (40, 5.0), (9, 3_600.0)], requests=599, answer_s=0.0)
def test_periods_may_be_jumped_over(
    limits: list[tuple[int, float]], requests: int, answer_s: float
) -> None:
    one = claim(*limits)
    assert paced(one, requests, answer_s) == pytest.approx(
        tried(one, requests, answer_s), rel=0.01, abs=0.1
    )


@pytest.mark.parametrize(("requests", "hours"), [(1_000, 0), (10_000, 9), (10_001, 10)])
def test_a_thousand_an_hour_for_ten_thousand_pages(requests: int, hours: int) -> None:
    """The first thousand go at once; each further thousand waits an hour."""
    last_burst_s = ((requests - 1) % 1_000 + 1) * 0.3
    expected = hours * HOUR_S + last_burst_s
    assert paced(claim((1_000, HOUR_S)), requests, 0.3) == pytest.approx(expected, rel=0.01)


def test_a_large_budget_is_tried_in_part() -> None:
    one = claim((100, 1.0), (40_000, 86_400.0))
    took = paced(one, 1_000_000, 0.001)
    assert took == pytest.approx(24 * 86_400 + 400, rel=0.01)


def test_requests_of_two_streams_spend_of_one_budget() -> None:
    one = claim((10, 60.0))
    both = Pace(0.0).run([Segment(claims=(one,), requests=10), Segment(claims=(one,), requests=5)])
    assert both == pytest.approx(60, abs=0.1)
    other = Claim("acme/other", "other", one.rates)
    apart = [Segment(claims=(one,), requests=10), Segment(claims=(other,), requests=5)]
    assert Pace(0.0).run(apart) == 0.0


def test_spread_requests_are_sent_one_by_one() -> None:
    assert paced(claim((10, 10.0), gap_s=1.0), 100, 0.0) == pytest.approx(99, rel=0.01)


def course(one: Claim, requests: int) -> Course:
    return Course(
        stream="orders",
        records=0,
        requests=Requests(own=requests, parents={}),
        tokens=0,
        claims={"orders": (one,)},
    )


@settings(max_examples=60)
@given(limits=limits.filter(bool), requests=st.integers(1, 60))
def test_runs_as_often_as_told_never_wait_for_each_other(
    limits: list[tuple[int, float]], requests: int
) -> None:
    one = claim(*limits)
    alone = paced(one, requests, 0.01)
    every = often_s([course(one, requests)], alone)
    pace, segments = Pace(0.01), [Segment(claims=(one,), requests=requests)]
    for _ in range(8):
        took = pace.run(segments)
        if requests <= min(limit for limit, _ in limits):
            assert took == pytest.approx(alone, abs=0.05)
        pace.rest(every - took)


def test_more_often_than_told_is_too_often() -> None:
    one = claim((100, HOUR_S))
    every = often_s([course(one, 30)], 1.0)
    assert every == pytest.approx(HOUR_S / 3, rel=0.01)
    pace, segments = Pace(0.01), [Segment(claims=(one,), requests=30)]
    took = []
    for _ in range(8):
        took.append(pace.run(segments))
        pace.rest(0.8 * every - took[-1])
    assert max(took) > 60


@pytest.mark.parametrize(
    ("requests", "interval_s", "share"),
    [(4, HOUR_S, 0.004), (4, HOUR_S / 60, 0.24), (500, 86_400.0, 0.5), (2_400, 86_400.0, 0.1)],
)
def test_headroom_is_what_the_fullest_window_leaves(
    requests: int, interval_s: float, share: float
) -> None:
    rate = Rate(1_000, HOUR_S, HOUR_S + 1)
    needs = used(rate, requests, interval_s)
    assert needs == pytest.approx(share)
    use = Use(budget="all", requests=rate.requests, per_s=rate.per_s, used=needs)
    assert use.headroom == pytest.approx(1 - share)


def test_a_bucket_that_streams_share_counts_all_of_them() -> None:
    one = claim((10, 60.0))
    assert spending([course(one, 3), course(one, 4)])["acme/all"][1] == 7
