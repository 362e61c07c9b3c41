"""What a run did, counted per stream: the rows of `_runs` and the run report."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tap_saas.redact import Redactor

Cause = Literal["budget", "api", "target"]


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

    def start(self, stream: str) -> None:
        """A stream begins; without it the first count of a stream begins it."""
        with self._lock:
            self._of(stream)

    def requested(self, stream: str, *, retry: bool = False) -> None:
        """One more request went out; `retry` where it asks again for the same page."""
        with self._lock:
            run = self._of(stream)
            run.requests += 1
            run.retries += retry

    def waited(self, stream: str, cause: Cause, seconds: float) -> None:
        """A thread of the stream stood still for the budget, the API or the target."""
        name = f"waited_{cause}_s"
        with self._lock:
            run = self._of(stream)
            setattr(run, name, getattr(run, name) + seconds)

    def ingested(self, stream: str, rows: int) -> None:
        """Records were written."""
        with self._lock:
            self._of(stream).rows_ingested += rows

    def rejected(self, stream: str, rows: int) -> None:
        """Records were kept as rejects."""
        with self._lock:
            self._of(stream).rows_rejected += rows

    def failed(self, stream: str, error: str) -> None:
        """One failure of this type: an error class, a status or the type of a reject."""
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
            run.exit = exit_code
            run.incomplete = self._text(incomplete, None)

    def rows(self) -> list[dict[str, Any]]:
        """A row of `_runs` for each stream, in the order in which they began."""
        with self._lock:
            for run in self._runs.values():
                self._measure(run)
            return [msgspec.to_builtins(run) for run in self._runs.values()]

    @property
    def requests(self) -> int:
        """How many requests the whole run has sent."""
        with self._lock:
            return sum(run.requests for run in self._runs.values())

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
        return self._redactor.mask(value if isinstance(value, str) else json.dumps(value))
