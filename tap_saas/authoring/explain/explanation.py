"""What an explanation says, as values: `--json` prints them, the text is made of them."""

from __future__ import annotations

from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One question that is to be answered before an API is read, and its answer in sentences."""

    question: str
    lines: list[str]


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it would be sent; a page from 2 on is asked for as the page before says."""

    stream: str
    page: int
    method: str
    url: str
    body: str | None = None


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What the schedule needs of a limit: `used` of `requests` in `per_s` seconds, 1.0 for all."""

    budget: str
    requests: int
    per_s: float
    used: float

    @property
    def headroom(self) -> float:
        """The part that remains, below 0 where there is too little."""
        return 1 - self.used


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers: `requests` by what they are for, seconds, and how many of them waited."""

    records: int
    requests: int
    by_purpose: dict[str, int]
    seconds: float
    waited_s: float


class StreamPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All about one stream.

    `gone` is how it is known what is gone, `pushed` what events and webhooks bring. `proofs` are
    the headers that prove who asks. `during` and `after` are STATE in the middle of a first run and
    after it. `rare` are the runs now and then that read everything once more, by what they are.
    `often_s`: the shortest time between runs for which budgets suffice.
    """

    stream: str
    answers: list[Answer]
    gone: list[str]
    pushed: list[str]
    proofs: list[str]
    first_requests: list[Asking]
    later_requests: list[Asking]
    flow: list[str]
    during: dict[str, Any]
    after: dict[str, Any]
    first: Figures
    later: Figures
    rare: dict[str, Figures]
    often_s: float
    uses: list[Use]
    warnings: list[str]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A connector, explained. `first` and `later` are runs of all streams that are explained."""

    connector: str
    title: str | None
    missing: list[str]
    assumptions: list[str]
    plans: list[StreamPlan]
    first: Figures
    later: Figures
    uses: list[Use]
    warnings: list[str]
