"""The tables of streams and of runs, as HTML and as texts for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from tap_saas.runs.run_file import RunFile, StreamRun
from tap_saas.runs.words import count, duration, instant, percent

MOST_RUNS = 40


class Column(NamedTuple):
    """A column: its name, and how its cells are set."""

    name: str
    kind: str = ""  # `n` for numbers, `long` for texts that may wrap


_NUMBERS = frozenset({
    "took", "records", "rejected", "error rate", "requests", "retries", "waited", "lag", "exit",
})  # fmt: skip
_LONG = frozenset({"stream", "last cursor", "errors", "incomplete"})


def _columns(names: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, "n" if name in _NUMBERS else "long" if name in _LONG else "")
        for name in names.split(", ")
    )


RUN_COLUMNS = _columns(
    "run, connector, started, took, records, rejected, error rate, requests, waited, outcome, exit"
)
STREAM_COLUMNS = _columns(
    "stream, records, rejected, error rate, requests, retries, took, waited, watermark from, "
    "watermark to, lag, last cursor, errors, exit, incomplete"
)


def run_cells(run: RunFile) -> list[str]:
    """A run's cells, for `RUN_COLUMNS`."""
    return [
        run.run_id, run.connector, instant(run.started_at), duration(run.duration_s),
        count(run.rows_ingested), count(run.rows_rejected), percent(run.error_rate),
        count(run.requests), duration(run.waited), run.outcome,
        "" if run.exit is None else str(run.exit),
    ]  # fmt: skip


def stream_cells(row: StreamRun) -> list[str]:
    """A stream's cells, for `STREAM_COLUMNS`."""
    waited_s = row.waited_budget_s + row.waited_api_s + row.waited_target_s
    errors = ", ".join(f"{error} {count(n)}" for error, n in row.errors.items())
    return [
        row.stream, count(row.rows_ingested), count(row.rows_rejected), percent(row.error_rate),
        count(row.requests), count(row.retries), duration(row.duration_s), duration(waited_s),
        row.watermark_from or "", row.watermark_to or "",
        "" if row.lag_s is None else duration(row.lag_s),
        row.last_cursor or "", errors, "" if row.exit is None else str(row.exit),
        row.incomplete or "",
    ]  # fmt: skip


def runs_table(runs: Sequence[RunFile]) -> str:
    """The newest runs as HTML."""
    return _table(RUN_COLUMNS, [run_cells(run) for run in runs[:MOST_RUNS]])


def streams_table(rows: Sequence[StreamRun]) -> str:
    """The streams of a run as HTML; a column that says nothing is left out."""
    return _table(STREAM_COLUMNS, [stream_cells(row) for row in rows])


def outcome_class(run: RunFile) -> str:
    """The CSS class of an outcome."""
    return run.outcome if run.outcome in {"ok", "failed"} else "other"


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    used = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    head = "".join(_cell("th", columns[i], columns[i].name) for i in used)
    body = "".join(
        f"<tr>{''.join(_cell('td', columns[i], row[i]) for i in used)}</tr>" for row in rows
    )
    return (
        f'<div class="card wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, column: Column, text: str) -> str:
    kind = f' class="{column.kind}"' if column.kind else ""
    name = f' data-name="{column.name}"' if tag == "td" else ""
    return f"<{tag}{kind}{name}>{escape(text)}</{tag}>"
