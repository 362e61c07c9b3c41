"""What happened in each part of a run, from the totals of its series."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from tap_saas.runs.run_file import Budget, Rate, RunFile
from tap_saas.runs.words import count, duration, percent

MOST_PARTS = 80
SHORTEST_SPAN_S = 2.0
SHORTEST_PART_S = 1.0
FEW_PARTS = 4


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """The use of one stated limit: its share in each part, the mean of `span_s` seconds."""

    budget: str
    limit: Rate
    buckets: int
    span_s: float
    shares: list[float]

    @property
    def label(self) -> str:
        """`all: 1,000 in 1 h, 80 % ours`."""
        each = "" if self.buckets == 1 else f" for each of {count(self.buckets)} keys"
        share = self.limit.allowed / self.limit.requests
        ours = "" if share == 1 else f", {percent(share)} ours"
        stated = f"{count(self.limit.requests)} in {duration(self.limit.per_s)}"
        return f"{self.budget}: {stated}{each}{ours}"

    @property
    def most(self) -> float:
        """The highest share."""
        return max(self.shares, default=0.0)


def edges(run: RunFile) -> list[float]:
    """Where the parts of a run begin and end, in seconds: a second or longer, unless they are few.

    No part is shorter than the step of the series: what is between two points is not known.
    """
    end = run.series.t[-1] if run.series.t else 0.0
    most = min(MOST_PARTS, len(run.series.t) - 1)
    n = max(1, min(most, max(FEW_PARTS, int(end / SHORTEST_PART_S))))
    return [end * i / n for i in range(n + 1)]


def per_second(t: Sequence[float], totals: Sequence[float], parts: Sequence[float]) -> list[float]:
    """How much was added in each part, a second."""
    at = [total_at(t, totals, edge) for edge in parts]
    return [
        max(0.0, after - before) / (end - begin) if end > begin else 0.0
        for (before, after), (begin, end) in zip(pairwise(at), pairwise(parts), strict=True)
    ]


def total_at(t: Sequence[float], totals: Sequence[float], at: float) -> float:
    """A total at any instant; it grows evenly between two points."""
    i = bisect_right(t, at)
    if i == 0:
        return 0.0
    if i == len(t):
        return float(totals[-1])
    share = (at - t[i - 1]) / (t[i] - t[i - 1])
    return totals[i - 1] + share * (totals[i] - totals[i - 1])


def uses(run: RunFile, parts: Sequence[float]) -> list[Use]:
    """The use of each limit of each budget, the most used first."""
    found = [_use(run, budget, limit, parts) for budget in run.budgets for limit in budget.limits]
    return sorted(found, key=lambda use: -use.most)


def _use(run: RunFile, budget: Budget, limit: Rate, parts: Sequence[float]) -> Use:
    t = run.series.t
    steps = [after - before for before, after in pairwise(t)]
    span_s = max(limit.per_s, SHORTEST_SPAN_S, 4 * max(steps, default=0.0))
    allowed = limit.requests / limit.per_s * span_s * budget.buckets
    shares = [
        (total_at(t, budget.series, end) - total_at(t, budget.series, end - span_s)) / allowed
        for end in parts[1:]
    ]
    return Use(
        budget=budget.name, limit=limit, buckets=budget.buckets, span_s=span_s, shares=shares
    )
