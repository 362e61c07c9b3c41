"""What a run did, counted per stream: the rows of `_runs` and the run report."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tap_saas.redact import Redactor, storable

Cause = Literal["budget", "api", "target"]
MOST_BUCKETS = 1_000  # of one budget, told apart; a `key` may have any number of values


class Run(msgspec.Struct, kw_only=True):
    """A row of `_runs`: one run of one stream; seconds are floats, instants are UTC."""

    run_id: str
    stream: str
    started_at: datetime
    duration_s: float = 0.0
    rows_ingested: int = 0
    rows_rejected: int = 0
    error_rate: float = 0.0
    errors: dict[str, int] = {}
    requests: int = 0
    retries: int = 0
    waited_budget_s: float = 0.0
    waited_api_s: float = 0.0
    waited_target_s: float = 0.0
    watermark_from: str | None = None
    watermark_to: str | None = None
    last_cursor: str | None = None
    exit: int | None = None
    incomplete: str | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A thread that stands still: for what, since when, until about when (as `elapsed_s`)."""

    stream: str
    cause: Cause
    what: str
    since_s: float
    until_s: float


class Used(msgspec.Struct, frozen=True):
    """What a run has spent of a budget: requests, in so many buckets (one for each `key`)."""

    requests: int = 0
    buckets: int = 1


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report has counted at one moment, `elapsed_s` seconds after the run began.

    `reading` names the streams that are being read: others may have requests too, for a sample of
    their records or as parents.
    """

    elapsed_s: float
    rows: list[Run]
    rejects: dict[str, dict[str, int]]
    statuses: dict[int, int]
    used: dict[str, Used]
    waiting: list[Waiting]
    reading: list[str]


_TYPES: dict[str, dict[str, Any]] = {
    "started_at": {"type": ["string", "null"], "format": "date-time"},
    "errors": {"type": ["object", "null"]},
    **{
        name: {"type": ["number", "null"]}
        for name in (
            "duration_s",
            "error_rate",
            "waited_budget_s",
            "waited_api_s",
            "waited_target_s",
        )
    },
    **{
        name: {"type": ["integer", "null"]}
        for name in ("rows_ingested", "rows_rejected", "requests", "retries", "exit")
    },
}


def _rounded(run: Run) -> Run:
    """The row as it is now, its waits in full milliseconds as its duration is."""
    return msgspec.structs.replace(
        run,
        errors=dict(run.errors),
        waited_budget_s=round(run.waited_budget_s, 3),
        waited_api_s=round(run.waited_api_s, 3),
        waited_target_s=round(run.waited_target_s, 3),
    )


RUN_KEY = ("run_id", "stream")
RUN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: _TYPES.get(name, {"type": ["string", "null"]}) for name in Run.__struct_fields__
    },
}


class Report:
    """Counts of one run, per stream. Thread-safe; texts are masked before they are kept."""

    def __init__(
        self,
        run_id: str,
        redactor: Redactor | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_id = run_id
        self._redactor = redactor or Redactor()
        self._now = now
        self._timer = timer
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._begun: dict[str, float] = {}
        self._rejects: dict[str, Counter[str]] = {}
        self._statuses: Counter[int] = Counter()
        self._used: Counter[str] = Counter()
        self._buckets: dict[str, set[str]] = {}
        self._waiting: dict[Hashable, Waiting] = {}
        self._reading: dict[str, None] = {}
        self._zero = timer()

    def start(self, stream: str) -> None:
        """A stream is read from now on; counts from before, as of a sample, stay."""
        with self._lock:
            known = self._runs.get(stream)
            if known is not None:
                known.started_at, self._begun[stream] = self._now(), self._timer()
            self._of(stream)
            self._reading[stream] = None

    def requested(self, stream: str, *, retry: bool = False, status: int | None = None) -> None:
        """One more request went out, answered with `status` if at all.

        `retry`: it asks again for the same page.
        """
        with self._lock:
            run = self._of(stream)
            run.requests += 1
            run.retries += retry
            if status is not None:
                self._statuses[status] += 1

    def spent(self, buckets: Iterable[tuple[str, str]]) -> None:
        """A request may go; it took from each of these budgets, from that bucket of it."""
        with self._lock:
            for budget, bucket in buckets:
                self._used[budget] += 1
                known = self._buckets.setdefault(budget, set())
                if len(known) < MOST_BUCKETS:
                    known.add(bucket)

    def waiting(
        self, waiter: Hashable, stream: str, cause: Cause, what: str, seconds: float
    ) -> None:
        """`waiter` stands still from now on, or still does, for about so long."""
        with self._lock:
            now = self._elapsed_s()
            known = self._waiting.get(waiter)
            since = now if known is None else known.since_s
            self._waiting[waiter] = Waiting(stream, cause, what, since, now + seconds)

    def resumed(self, waiter: Hashable) -> None:
        """`waiter` goes on; whoever waited tells how long with `waited`."""
        with self._lock:
            self._waiting.pop(waiter, None)

    def gave_up(self, waiter: Hashable) -> None:
        """`waiter` will not go on: what it has waited, if it still does, is counted."""
        with self._lock:
            wait = self._waiting.pop(waiter, None)
            if wait is not None:
                self._add(wait.stream, wait.cause, self._elapsed_s() - wait.since_s)

    def waited(self, stream: str, cause: Cause, seconds: float) -> None:
        """A thread of the stream stood still for the budget, the API or the target."""
        with self._lock:
            self._add(stream, cause, seconds)

    def ingested(self, stream: str, rows: int) -> None:
        """Records were written."""
        with self._lock:
            self._of(stream).rows_ingested += rows

    def rejected(self, stream: str, errors: Mapping[str, int]) -> None:
        """Records were kept as rejects: how many of each error type."""
        with self._lock:
            run = self._of(stream)
            rejects = self._rejects.setdefault(stream, Counter())
            for error, rows in errors.items():
                rejects[error] += rows
                run.rows_rejected += rows
                run.errors[error] = run.errors.get(error, 0) + rows

    def failed(self, stream: str, error: str) -> None:
        """One failure of this type: an error class or a status."""
        with self._lock:
            errors = self._of(stream).errors
            errors[error] = errors.get(error, 0) + 1

    def moved(
        self,
        stream: str,
        *,
        watermark_from: str | None = None,
        watermark_to: str | None = None,
        last_cursor: Any = None,
    ) -> None:
        """Where the stream stands now; what is None stays as it was."""
        with self._lock:
            run = self._of(stream)
            run.watermark_from = self._text(watermark_from, run.watermark_from)
            run.watermark_to = self._text(watermark_to, run.watermark_to)
            run.last_cursor = self._text(last_cursor, run.last_cursor)

    def finish(self, stream: str, exit_code: int, incomplete: str | None = None) -> None:
        """The stream ends with this exit code; `incomplete` says why a planned end left work."""
        with self._lock:
            run = self._of(stream)
            self._measure(run)
            self._reading.pop(stream, None)
            run.exit = exit_code
            run.incomplete = self._text(incomplete, None)

    def rows(self) -> list[dict[str, Any]]:
        """A row of `_runs` for each stream, in the order in which they began."""
        with self._lock:
            for run in self._runs.values():
                self._measure(run)
            return [msgspec.to_builtins(_rounded(run)) for run in self._runs.values()]

    def snapshot(self) -> Snapshot:
        """All counts of this moment; later ones do not change it."""
        with self._lock:
            for run in self._runs.values():
                self._measure(run)
            return Snapshot(
                elapsed_s=self._elapsed_s(),
                rows=[_rounded(run) for run in self._runs.values()],
                rejects={stream: dict(errors) for stream, errors in self._rejects.items()},
                statuses=dict(self._statuses),
                used={
                    budget: Used(requests, len(self._buckets[budget]))
                    for budget, requests in self._used.items()
                },
                waiting=list(self._waiting.values()),
                reading=list(self._reading),
            )

    @property
    def requests(self) -> int:
        """How many requests the whole run has sent."""
        with self._lock:
            return sum(run.requests for run in self._runs.values())

    def _elapsed_s(self) -> float:
        return self._timer() - self._zero

    def _add(self, stream: str, cause: Cause, seconds: float) -> None:
        run = self._of(stream)
        if cause == "budget":
            run.waited_budget_s += seconds
        elif cause == "api":
            run.waited_api_s += seconds
        else:
            run.waited_target_s += seconds

    def _of(self, stream: str) -> Run:
        run = self._runs.get(stream)
        if run is None:
            run = Run(run_id=self.run_id, stream=stream, started_at=self._now())
            self._runs[stream] = run
            self._begun[stream] = self._timer()
        return run

    def _measure(self, run: Run) -> None:
        if run.exit is None:
            run.duration_s = round(self._timer() - self._begun[run.stream], 3)
        seen = run.rows_ingested + run.rows_rejected
        run.error_rate = run.rows_rejected / seen if seen else 0.0

    def _text(self, value: Any, otherwise: str | None) -> str | None:
        if value is None:
            return otherwise
        text = value if isinstance(value, str) else json.dumps(value)
        return storable(self._redactor.mask(text))
