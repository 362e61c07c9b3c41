"""A run over time in a bounded number of points."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tap_saas.report import Snapshot

MOST_POINTS = 240
SHORTEST_STEP_S = 0.25


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the run began at each of the instants `t` (seconds); lists of one length."""

    t: list[float] = []
    records: list[int] = []
    rejects: list[int] = []
    requests: list[int] = []
    waited_budget_s: list[float] = []
    waited_api_s: list[float] = []
    waited_target_s: list[float] = []


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one instant, as in `Series`; `used` is what each budget has spent."""

    t: float
    records: int = 0
    rejects: int = 0
    requests: int = 0
    waited_budget_s: float = 0.0
    waited_api_s: float = 0.0
    waited_target_s: float = 0.0
    used: Mapping[str, int] = {}


class Track:
    """Gathers points; when there are too many, every other one goes and the step doubles.

    Counts are totals, so a point that goes takes nothing with it but resolution.
    """

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most = most
        self._points = [Point(t=0.0)]
        self._step_s = SHORTEST_STEP_S

    def add(self, snapshot: Snapshot, *, last: bool = False) -> None:
        """Take a point, unless it comes too soon; the last one is always taken."""
        if not last and snapshot.elapsed_s - self._points[-1].t < self._step_s:
            return
        self._points.append(point(snapshot))
        if len(self._points) >= self._most:
            del self._points[1:-1:2]
            self._step_s *= 2

    def series(self) -> Series:
        """All points, by what they count."""
        names = Series.__struct_fields__
        return Series(**{name: [getattr(one, name) for one in self._points] for name in names})

    def used(self, budget: str) -> list[int]:
        """What a budget has spent at each point."""
        return [one.used.get(budget, 0) for one in self._points]


def point(snapshot: Snapshot) -> Point:
    """The counts of a snapshot; waits that have not ended count as far as they have come."""
    waited = {"budget": 0.0, "api": 0.0, "target": 0.0}
    for wait in snapshot.waiting:
        waited[wait.cause] += snapshot.elapsed_s - wait.since_s
    for row in snapshot.rows:
        waited["budget"] += row.waited_budget_s
        waited["api"] += row.waited_api_s
        waited["target"] += row.waited_target_s
    return Point(
        t=round(snapshot.elapsed_s, 3),
        records=sum(row.rows_ingested for row in snapshot.rows),
        rejects=sum(row.rows_rejected for row in snapshot.rows),
        requests=sum(row.requests for row in snapshot.rows),
        waited_budget_s=round(waited["budget"], 3),
        waited_api_s=round(waited["api"], 3),
        waited_target_s=round(waited["target"], 3),
        used={name: used.requests for name, used in snapshot.used.items()},
    )
