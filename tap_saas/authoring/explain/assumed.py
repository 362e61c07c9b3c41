"""What an explanation takes for granted: how much there is, how often a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from tap_saas.config import DEFAULT_PARALLEL

DAY_S = 86_400.0
CHANGED_SHARE = 100
"""One record in so many changes between two runs, unless it is said."""


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """The figures that no connector says; `records` and `changed` by stream, `""` for all others.

    `answer_s`: how long the API takes for one answer. `page_size`: records of a page where the
    connector does not say. `now`: when the first run begins. `parallel`: how many partitions,
    windows or children are read at a time.
    """

    records: Mapping[str, int]
    changed: Mapping[str, int]
    runs_per_day: float
    answer_s: float
    now: datetime
    start_date: datetime | None = None
    page_size: int = 100
    parallel: int = DEFAULT_PARALLEL

    def records_of(self, stream: str) -> int:
        """How many records a stream has, in all its lists."""
        return self.records.get(stream, self.records[""])

    def changed_of(self, stream: str) -> int:
        """How many of them changed or are new when a later run begins."""
        said = self.changed.get(stream, self.changed.get(""))
        return max(1, self.records_of(stream) // CHANGED_SHARE) if said is None else said

    @property
    def interval_s(self) -> float:
        """Seconds from the beginning of a run to that of the next."""
        return DAY_S / self.runs_per_day

    @property
    def later(self) -> datetime:
        """When the second run begins."""
        return self.now + timedelta(seconds=self.interval_s)


def share(total: int, parts: int, index: int) -> int:
    """The size of part `index` of `total` things in so many parts, as even as can be."""
    return total * (index + 1) // parts - total * index // parts


def shares(total: int, parts: int) -> dict[int, int]:
    """Which sizes these parts have, and how many parts have each."""
    size, larger = divmod(total, parts)
    counted = {size: parts - larger, size + 1: larger}
    return {size: count for size, count in counted.items() if count}
