"""A timer thread beside a run: it takes points, keeps the run file and shows the progress."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

import msgspec

from tap_saas.errors import TapSaasError
from tap_saas.redact import Redactor, storable
from tap_saas.report import Report, Run, Snapshot
from tap_saas.runs.run_file import Budget, RunFile, RunFiles, StreamRun
from tap_saas.runs.series import Track, point

log = logging.getLogger(__name__)
TICK_S = 0.25
WRITE_EVERY_S = 2.0
MOST_FAILURES = 20
LONGEST_TEXT = 1_000
SIGINT_EXIT = 130
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Progress(Protocol):
    """Shows how far a run is, each time that it is told."""

    def show(self, snapshot: Snapshot) -> None:
        """The counts of now."""

    def close(self) -> None:
        """The run has ended."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run besides its counts; `failures` and `planned_end` are asked anew."""

    connector: str
    started_at: datetime
    budgets: Sequence[Budget]
    failures: Callable[[], Sequence[BaseException]]
    planned_end: Callable[[], str | None]


class Recorder:
    """Keeps the run file while a run goes on, and says in it how the run ended.

    Nothing is asked of the run itself. A file that cannot be written is told once and stops no run.
    """

    def __init__(
        self,
        report: Report,
        files: RunFiles,
        facts: Facts,
        redactor: Redactor,
        *,
        progress: Progress | None = None,
        write_every_s: float = WRITE_EVERY_S,
        tick_s: float = TICK_S,
    ) -> None:
        self._report = report
        self._files = files
        self._facts = facts
        self._mask = redactor.mask
        self._progress = progress
        self._write_every_s = write_every_s
        self._tick_s = tick_s
        self._track = Track()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._is_lost = False

    def __enter__(self) -> Recorder:
        self._write(self._report.snapshot(), None)
        self._files.prune()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._progress is not None:
            self._progress.close()
        snapshot = self._report.snapshot()
        self._track.add(snapshot, last=True)
        self._write(snapshot, exit_code(error), error)

    def _work(self) -> None:
        written_s = 0.0
        while not self._over.wait(self._tick_s):
            snapshot = self._report.snapshot()
            self._track.add(snapshot)
            if snapshot.elapsed_s - written_s >= self._write_every_s:
                written_s = snapshot.elapsed_s
                self._write(snapshot, None)
            if self._progress is not None:
                self._progress.show(snapshot)

    def _write(
        self, snapshot: Snapshot, code: int | None, error: BaseException | None = None
    ) -> None:
        try:
            self._files.write(self._run_file(snapshot, code, error))
        except OSError as cause:
            if not self._is_lost:
                log.warning(
                    "the run file cannot be kept (%s): %s", cause.strerror, self._files.folder
                )
            self._is_lost = True

    def _run_file(
        self, snapshot: Snapshot, code: int | None, error: BaseException | None
    ) -> RunFile:
        facts, now, total = self._facts, datetime.now(UTC), point(snapshot)
        rows, seen = snapshot.rows, total.records + total.rejects
        planned_end = facts.planned_end()
        return RunFile(
            run_id=self._report.run_id,
            connector=self._mask(facts.connector),
            started_at=facts.started_at,
            written_at=now,
            duration_s=total.t,
            exit=code,
            incomplete=None if planned_end is None else self._text(planned_end),
            failures=self._failures(error),
            rows_ingested=total.records,
            rows_rejected=total.rejects,
            error_rate=total.rejects / seen if seen else 0.0,
            requests=total.requests,
            retries=sum(row.retries for row in rows),
            waited_s={
                "budget": round(sum(row.waited_budget_s for row in rows), 3),
                "api": round(sum(row.waited_api_s for row in rows), 3),
                "target": round(sum(row.waited_target_s for row in rows), 3),
            },
            rejects=self._counts(*snapshot.rejects.values()),
            statuses={str(status): n for status, n in sorted(snapshot.statuses.items())},
            budgets=[self._budget(budget, snapshot) for budget in facts.budgets],
            streams=[self._stream(row, snapshot, now) for row in rows],
            series=self._track.series(),
        )

    def _failures(self, error: BaseException | None) -> list[str]:
        failures = list(self._facts.failures())
        if isinstance(error, Exception) and error not in failures:
            failures.append(error)
        return [self._text(_line(failure)) for failure in failures[:MOST_FAILURES]]

    def _budget(self, budget: Budget, snapshot: Snapshot) -> Budget:
        used = snapshot.used.get(budget.name)
        return msgspec.structs.replace(
            budget,
            name=self._mask(budget.name),
            requests=0 if used is None else used.requests,
            buckets=1 if used is None else used.buckets,
            series=self._track.used(budget.name),
        )

    def _stream(self, row: Run, snapshot: Snapshot, now: datetime) -> StreamRun:
        known = msgspec.structs.asdict(row)
        for name, value in known.items():
            if isinstance(value, str):
                known[name] = self._text(value)
        known["errors"] = self._counts(row.errors)
        rejects = self._counts(snapshot.rejects.get(row.stream, {}))
        lag_s = _age_s(row.watermark_to or row.watermark_from, now)
        return StreamRun(**known, rejects=rejects, lag_s=lag_s)

    def _counts(self, *counts: dict[str, int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for error, n in (pair for one in counts for pair in one.items()):
            name = self._text(error)
            found[name] = found.get(name, 0) + n
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    def _text(self, text: str) -> str:
        """A text to keep: masked, of bounded length, and harmless where a terminal shows it."""
        masked = _CONTROL.sub(" ", storable(self._mask(text)))
        return masked if len(masked) <= LONGEST_TEXT else f"{masked[: LONGEST_TEXT - 1]}…"


def exit_code(error: BaseException | None) -> int:
    """The exit code of a process whose work ends with this."""
    if error is None:
        return 0
    if isinstance(error, TapSaasError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return SIGINT_EXIT if isinstance(error, KeyboardInterrupt) else 1


def _line(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, TapSaasError) else f"{type(error).__name__}: {text}"


def _age_s(watermark: str | None, now: datetime) -> float | None:
    """How old an instant is; None where the watermark is none, as a number is not."""
    try:
        then = datetime.fromisoformat(watermark or "")
    except ValueError:
        return None
    return None if then.tzinfo is None else round((now - then).total_seconds(), 3)
