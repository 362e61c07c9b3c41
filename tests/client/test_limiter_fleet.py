"""Budgets judged by the arrival times at a server, with several processes of several threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import PROCESSES, Fleet, Limit, Place, budgets, judge, most_in

places = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the budgets are kept."""
    kept = request.getfixturevalue("database") if request.param == "postgres" else None
    return Place(tmp_path, kept)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Processes that are started once, since that takes them long."""
    fleet = Fleet()
    yield fleet
    fleet.close()


@pytest.mark.parametrize(
    ("place", "limits", "seconds"),
    [
        ("sqlite", [Limit(100, "1s")], 3.3),
        ("sqlite", [Limit(10, "500ms"), Limit(30, "2s")], 3.3),
        ("postgres", [Limit(120, "2s")], 4.3),
    ],
    indirect=["place"],
)
def test_never_over_well_used_and_fair(
    fleet: Fleet, place: Place, limits: list[Limit], seconds: float
) -> None:
    raw = {"all": {"limits": [limit.raw for limit in limits]}}
    seen = judge(fleet.run(place, raw, seconds), limits, tight=limits[-1])
    for limit, most in zip(limits, seen.most, strict=True):
        assert most <= limit.requests
    # A database beside three processes on two cores has less for each; its own bench says how much.
    assert seen.used >= (0.95 if place.url is None else 0.8)
    assert min(seen.shares) >= 0.6 / PROCESSES, seen.shares


@places
def test_a_pause_of_one_process_holds_them_all(fleet: Fleet, place: Place) -> None:
    raw = {"all": {"limits": [{"requests": 50, "per": "500ms"}]}}
    paused = []

    def pause() -> None:
        time.sleep(0.5)
        with place.limiter() as limiter:
            limiter.pause(limiter.buckets(budgets(raw), "GET", "/orders", {}), 0.8)
            paused.append(time.time())

    times = [arrival.at for arrival in fleet.run(place, raw, 1.7, meanwhile=pause)]
    under_way = 0.05
    before = [at for at in times if at < paused[0] + under_way]
    after = [at for at in times if at > paused[0] + 0.8 - under_way]
    assert len(before) >= 50
    assert len(before) + len(after) == len(times), "nobody went in the meantime"
    assert len(after) > 20
    assert most_in(after[:40], 0.1) <= 14, "50 in 500 ms, one by one"
