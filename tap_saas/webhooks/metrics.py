"""What a receiver counts, as Prometheus reads it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from tap_saas.queues.base import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PREFIX = "tap_saas_webhook"

Sample = tuple[Mapping[str, object], float]


class Metrics:
    """Counts of one receiver since it began; for its event loop alone."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._events: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def answered(self, source: str, status: int, seconds: float) -> None:
        """Count an answer of a known source, "" for all unknown ones."""
        self._requests[source, status] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def kept(self, source: str, outcome: str) -> None:
        """Count an event: stored or duplicate."""
        self._events[source, outcome] += 1

    def refused(self, source: str, reason: str) -> None:
        """Count a request that is no event of ours."""
        self._refused[source, reason] += 1

    def text(self, pending: int, is_ready: bool, queue: Status | None, now: datetime) -> str:
        """All of them; those of the queue too, where it could be asked."""
        lines = [*self._own(pending, is_ready), *(_of_queue(queue, now) if queue else ())]
        return "\n".join(lines) + "\n"

    def _own(self, pending: int, is_ready: bool) -> Iterator[str]:
        requests = [({"source": s, "status": n}, c) for (s, n), c in self._requests.items()]
        yield from _metric("requests_total", "counter", "Answers by status", requests)
        events = [({"source": s, "outcome": o}, c) for (s, o), c in self._events.items()]
        yield from _metric("events_total", "counter", "Events, stored or duplicate", events)
        refused = [({"source": s, "reason": r}, c) for (s, r), c in self._refused.items()]
        yield from _metric("refused_total", "counter", "Requests that are no events", refused)
        yield from _metric("pending", "gauge", "Events that wait for their commit", [({}, pending)])
        yield from _metric("ready", "gauge", "Whether events are taken now", [({}, is_ready)])
        yield from self._histogram()

    def _histogram(self) -> Iterator[str]:
        name = f"{PREFIX}_answer_seconds"
        yield f"# HELP {name} From a request's head to its answer"
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._buckets, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._seconds:.6f}"
        yield f"{name}_count {total}"


def _of_queue(queue: Status, now: datetime) -> Iterator[str]:
    each = queue.sources
    kept = [({"source": one.source}, one.events) for one in each]
    yield from _metric("queue_events", "gauge", "Events that the queue has", kept)
    size = [({"source": one.source}, one.bytes) for one in each]
    yield from _metric("queue_bytes", "gauge", "Bytes of them", size)
    last = [({"source": one.source}, one.last_offset or 0) for one in each]
    yield from _metric("queue_last_offset", "gauge", "Offset of the newest", last)
    known = [
        ({"source": one.source, "consumer": consumer}, offset)
        for one in each
        for consumer, offset in one.acknowledged.items()
    ]
    yield from _metric("queue_acknowledged_offset", "gauge", "Proven written up to here", known)
    ages = [
        ({"source": one.source}, max(0.0, (now - one.waiting_since).total_seconds()))
        for one in each
        if one.waiting_since is not None
    ]
    help_ = "Age of the oldest that a consumer lacks"
    yield from _metric("queue_waiting_seconds", "gauge", help_, ages)
    yield from _metric("queue_file_bytes", "gauge", "Size on disk", [({}, queue.file_bytes)])
    free: list[Sample] = [] if queue.free_bytes is None else [({}, queue.free_bytes)]
    yield from _metric("queue_free_bytes", "gauge", "Free space of its disk", free)


def _metric(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> Iterator[str]:
    name = f"{PREFIX}_{name}"
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
        yield f"{name}{{{told}}} {value:.15g}" if told else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
