"""How far a run is, while it runs: the bottom lines of a terminal, or a log line a minute."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Mapping

from tap_saas.report import Run, Snapshot
from tap_saas.runs.bottom_lines import BottomLines, can_draw
from tap_saas.runs.recorder import Progress
from tap_saas.runs.words import count, duration, rate

log = logging.getLogger(__name__)
LINE_EVERY_S = 60.0
DRAW_EVERY_S = 0.5
RATE_OVER_S = 10.0
WORTH_SHOWING_S = 0.5


def progress_for(
    connector: str, run_id: str, streams: int, environment: Mapping[str, str] = os.environ
) -> Progress:
    """What suits stderr: live lines on a terminal, log lines elsewhere or with NO_COLOR set.

    `streams` is how many the run has to do.
    """
    plain = environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb"
    if plain or not can_draw(sys.stderr):
        return LogLines()
    return Live(BottomLines(sys.stderr.fileno(), 2), connector, run_id, streams)


class LogLines:
    """An INFO line a minute for each stream that is being read."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._next_s = every_s

    def show(self, snapshot: Snapshot) -> None:
        """Log, if it is time to."""
        if snapshot.elapsed_s < self._next_s:
            return
        self._next_s = snapshot.elapsed_s + self._every_s
        for row in snapshot.rows:
            if row.stream in snapshot.reading:
                log.info(
                    "progress stream=%s records=%d requests=%d waited_s=%.1f",
                    row.stream, row.rows_ingested, row.requests, _waited_s(row),
                )  # fmt: skip

    def close(self) -> None:
        """Nothing is left."""


class Live:
    """Two lines that stay at the bottom of the terminal: the run, and the stream being read."""

    def __init__(self, lines: BottomLines, connector: str, run_id: str, streams: int) -> None:
        self._lines = lines
        self._connector, self._run_id, self._streams = connector, run_id, streams
        self._next_s = 0.0
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def show(self, snapshot: Snapshot) -> None:
        """Draw, if it is time to."""
        if snapshot.elapsed_s < self._next_s:
            return
        self._next_s = snapshot.elapsed_s + DRAW_EVERY_S
        self._seen.append(
            (snapshot.elapsed_s, {row.stream: row.rows_ingested for row in snapshot.rows})
        )
        while self._seen[0][0] < snapshot.elapsed_s - RATE_OVER_S:
            self._seen.popleft()
        self._lines.draw([self._whole(snapshot), self._current(snapshot)])

    def close(self) -> None:
        """Give the lines back to the terminal."""
        self._lines.close()

    def _whole(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        rows = snapshot.rows
        done = sum(row.exit is not None for row in rows)
        waited_s = sum(map(_waited_s, rows))
        parts = [
            (f" {self._connector} ", "bold reverse"),
            (f" run {self._run_id[:6]}  {duration(snapshot.elapsed_s)}", "dim"),
            (f"  {done} of {self._streams} streams done", ""),
            (f"  {_records(sum(row.rows_ingested for row in rows))}", "bold"),
            (f"  {self._rate(None)}", "green"),
            (f"  {_requests(sum(row.requests for row in rows))}", ""),
        ]
        rejected = sum(row.rows_rejected for row in rows)
        if rejected:
            parts.append((f"  {count(rejected)} rejected", "yellow"))
        if waited_s >= WORTH_SHOWING_S:
            parts.append((f"  waited {duration(waited_s)}", "dim"))
        return parts

    def _current(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        row = next((row for row in snapshot.rows if row.stream in snapshot.reading), None)
        if row is None:
            return []
        parts = [
            (f" {row.stream} ", "bold"),
            (f" {_records(row.rows_ingested)}", ""),
            (f"  {self._rate(row.stream)}", "green"),
            (f"  {_requests(row.requests)}", ""),
        ]
        waits = [wait for wait in snapshot.waiting if wait.stream == row.stream]
        if waits:
            wait = max(waits, key=lambda wait: wait.until_s)
            left_s = wait.until_s - snapshot.elapsed_s
            since_s = snapshot.elapsed_s - wait.since_s
            if left_s >= WORTH_SHOWING_S:
                parts.append((f"  waiting {left_s:.0f} s for {wait.what}", "yellow"))
            elif since_s >= WORTH_SHOWING_S:
                parts.append((f"  waiting for {wait.what}, {since_s:.0f} s now", "yellow"))
        return parts

    def _rate(self, stream: str | None) -> str:
        (before, first), (now, last) = self._seen[0], self._seen[-1]
        if stream is None:
            new = sum(last.values()) - sum(first.values())
        else:
            new = last.get(stream, 0) - first.get(stream, 0)
        return f"{rate(new / (now - before) if now > before else 0.0)}/s"


def _records(n: int) -> str:
    return f"{count(n)} record" if n == 1 else f"{count(n)} records"


def _requests(n: int) -> str:
    return f"{count(n)} request" if n == 1 else f"{count(n)} requests"


def _waited_s(row: Run) -> float:
    return row.waited_budget_s + row.waited_api_s + row.waited_target_s
