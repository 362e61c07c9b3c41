"""A run's requests in their order, and the time that they take within the budgets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from tap_saas.authoring.explain.assumed import Assumed
from tap_saas.authoring.explain.explanation import Figures, Use
from tap_saas.authoring.explain.pace import Pace, Segment, rates, used
from tap_saas.authoring.explain.volume import Requests
from tap_saas.client.limiter import Buckets
from tap_saas.connector.model import Stream

LISTS_TRIED = 50
"""So many partitions with a bucket each are tried; the others take as long as these."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a stream: `records` by `requests`, and `tokens` requests for a token.

    `claims` are what a request for each stream of the pass spends. Where the stream's partitions
    have buckets of their own, `lists` is how many those are. `at_once`: how many requests for its
    own lists are under way at a time.
    """

    stream: str
    records: int
    requests: Requests
    tokens: int
    claims: Mapping[str, Buckets]
    lists: int = 1
    at_once: int = 1

    @property
    def segments(self) -> list[Segment]:
        """The requests in their order, those for parents before those for children."""
        found = [
            Segment(claims=self.claims[name], requests=count)
            for part in (self.requests.sample, self.requests.parents)
            for name, count in part.items()
            if count
        ]
        return found + self._own()

    @property
    def times(self) -> float:
        """How many times as long as `segments` the run takes."""
        return max(1.0, self.lists / LISTS_TRIED)

    def _own(self) -> list[Segment]:
        own, tried = self.requests.own, min(self.lists, LISTS_TRIED)
        if not own:
            return []
        claims = self.claims[self.stream]
        each = math.ceil(own / self.lists)
        if self.lists == 1:
            return [Segment(claims=claims, requests=own, at_once=self.at_once)]
        return [
            Segment(claims=_of_list(claims, at), requests=each, at_once=self.at_once)
            for at in range(tried)
        ]


def figures(courses: Sequence[Course], assumed: Assumed) -> Figures:
    """A run of these streams, one after the other, in numbers."""
    pace = Pace(assumed.answer_s)
    seconds = waited = 0.0
    purposes: Counter[str] = Counter()
    for course in courses:
        before = pace.waited_s
        seconds += pace.run(course.segments) * course.times
        waited += (pace.waited_s - before) * course.times
        purposes[f"lists of {course.stream}"] += course.requests.own
        purposes["a schema that is learnt, once"] += sum(course.requests.sample.values())
        for name, count in course.requests.parents.items():
            purposes[f"{name}, for {course.stream}"] += count
    tokens = max((course.tokens for course in courses), default=0)
    purposes["a token"] += tokens
    return Figures(
        records=sum(course.records for course in courses),
        requests=sum(purposes.values()),
        by_purpose={purpose: count for purpose, count in purposes.items() if count},
        seconds=seconds + tokens * assumed.answer_s,
        waited_s=waited,
    )


def spending(courses: Sequence[Course]) -> dict[str, tuple[Buckets, int]]:
    """By bucket: the claim, and how many requests of a run spend of it."""
    found: dict[str, tuple[Buckets, int]] = {}
    for course in courses:
        for segment in course.segments:
            for claim in segment.claims:
                known = found.get(claim.bucket, ((claim,), 0))
                found[claim.bucket] = (known[0], known[1] + segment.requests)
    return found


def uses(courses: Sequence[Course], assumed: Assumed) -> list[Use]:
    """What the schedule needs of each limit."""
    return [
        Use(
            budget=claim.budget,
            requests=rate.requests,
            per_s=rate.per_s,
            used=used(rate, count, assumed.interval_s),
        )
        for claims, count in spending(courses).values()
        for claim, rate in rates(claims)
    ]


def often_s(courses: Sequence[Course], seconds: float) -> float:
    """The shortest time between runs in which none has to wait for a budget because of another.

    A run that needs more than a window allows waits anyway: then it is as long as a run takes.
    """
    longest = seconds
    for claims, count in spending(courses).values():
        for _, rate in rates(claims):
            fitting = rate.requests // max(1, count)
            if fitting:
                longest = max(longest, rate.span_s / fitting)
    return longest


def has_own_buckets(stream: Stream) -> bool:
    """True where a budget's `key` makes a bucket for each partition."""
    return any(budget.names & set(stream.context) for budget in stream.budgets.values())


def _of_list(claims: Buckets, at: int) -> Buckets:
    """The claims of another partition: a bucket of its own where the key says so."""
    return tuple(
        msgspec.structs.replace(claim, bucket=f"{claim.bucket} {at}")
        if ":" in claim.bucket
        else claim
        for claim in claims
    )
