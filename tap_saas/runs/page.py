"""Runs as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tap_saas.runs import charts
from tap_saas.runs.charts import Bar, Layer
from tap_saas.runs.rates import edges, per_second, uses
from tap_saas.runs.run_file import RunFile
from tap_saas.runs.tables import outcome_class, runs_table, streams_table
from tap_saas.runs.words import (
    Axis,
    axis,
    count,
    duration,
    instant,
    lag_axis,
    percent,
    rate,
    time_axis,
)

CAUSES = (("budget", "budget", 1), ("api", "API", 2), ("target", "target", 3))
MOST_LIMITS = 5
MOST_BARS = 12
MOST_COLUMNS = 60


def page(shown: Sequence[RunFile], all_runs: Sequence[RunFile]) -> str:
    """The page: a part for each of the runs `shown`, then the last of all runs."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = f"Runs of {', '.join(sorted({run.connector for run in shown}))}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"{''.join(map(_run, shown))}{_last(all_runs)}"
        "<footer>All instants are UTC. A run waits with several threads at once, so that its"
        " seconds waited may be more than it lasted.</footer></body></html>\n"
    )


def _run(run: RunFile) -> str:
    parts = edges(run)
    figures = [
        _records(run, parts), _requests(run, parts), _waits(run, parts), _budgets(run, parts),
        _rejects(run), _statuses(run), _lags(run),
    ]  # fmt: skip
    return (
        f'<section class="run">{_head(run)}{_tiles(run)}<div class="grid2">{"".join(figures)}</div>'
        f"<h2>Streams</h2>{streams_table(run.streams)}</section>"
    )


def _head(run: RunFile) -> str:
    said = "".join(f'<p class="said">{escape(line)}</p>' for line in run.failures)
    if run.incomplete is not None:
        said += f'<p class="said early">incomplete: {escape(run.incomplete)}</p>'
    code = "" if run.exit is None else f", exit {run.exit}"
    return (
        f'<header class="head"><h1>{escape(run.connector)}</h1>'
        f'<span class="outcome {outcome_class(run)}">{run.outcome}{code}</span>'
        f"<p>run <code>{escape(run.run_id)}</code>, {instant(run.started_at)} UTC,"
        f" {duration(run.duration_s)}</p></header>{said}"
    )


def _tiles(run: RunFile) -> str:
    per_s = run.rows_ingested / run.duration_s if run.duration_s else 0.0
    cause, label, _ = max(CAUSES, key=lambda one: run.waited_s.get(one[0], 0.0))
    most = f"most of it for the {label}" if run.waited_s.get(cause) else "for nothing"
    tiles = [
        ("records ingested", count(run.rows_ingested), f"{rate(per_s)} a second"),
        ("records rejected", count(run.rows_rejected), f"error rate {percent(run.error_rate)}"),
        ("requests", count(run.requests), f"{count(run.retries)} of them retries"),
        (
            "duration",
            duration(run.duration_s),
            "1 stream" if len(run.streams) == 1 else f"{len(run.streams)} streams",
        ),
        ("waited", duration(run.waited), most),
    ]
    items = "".join(
        f"<li><span>{name}</span><b>{value}</b><small>{note}</small></li>"
        for name, value, note in tiles
    )
    return f'<ul class="tiles">{items}</ul>'


def _records(run: RunFile, parts: Sequence[float]) -> str:
    values = per_second(run.series.t, run.series.records, parts)
    layer = Layer(label="records", values=values, colour=1)
    chart = charts.stacked(
        parts, [layer], _since_start(run), axis(max(values), "records per second")
    )
    return charts.figure("Records", f"peak {rate(max(values))} a second", chart)


def _requests(run: RunFile, parts: Sequence[float]) -> str:
    values = per_second(run.series.t, run.series.requests, parts)
    unit, scale = ("second", 1) if max(values) >= 1 else ("minute", 60)
    layer = Layer(label="requests", values=[value * scale for value in values], colour=4)
    y = axis(max(layer.values), f"requests per {unit}")
    chart = charts.stacked(parts, [layer], _since_start(run), y)
    return charts.figure("Requests", f"peak {rate(max(layer.values))} a {unit}", chart)


def _waits(run: RunFile, parts: Sequence[float]) -> str:
    if not run.waited:
        return charts.figure("Waits", "", _none("No thread has waited."))
    layers = [
        Layer(
            label=label,
            values=per_second(run.series.t, getattr(run.series, f"waited_{cause}_s"), parts),
            colour=colour,
            note=duration(run.waited_s.get(cause, 0.0)),
        )
        for cause, label, colour in CAUSES
    ]
    most = max(map(sum, zip(*(layer.values for layer in layers), strict=True)))
    y = axis(most, "threads waiting (mean)")
    chart = charts.stacked(parts, layers, _since_start(run), y)
    return charts.figure("Waits by cause", "for what threads stood still, and how long", chart)


def _budgets(run: RunFile, parts: Sequence[float]) -> str:
    found = uses(run, parts)
    if not found:
        return charts.figure("Budgets", "", _none("The connector states no limit of requests."))
    layers = [
        Layer(
            label=use.label,
            values=[share * 100 for share in use.shares],
            colour=i + 1,
            note=f"peak {percent(use.most)}",
        )
        for i, use in enumerate(found[:MOST_LIMITS])
    ]
    y = axis(max(100.0, found[0].most * 100), "% of the stated limit")
    chart = charts.lines(parts, layers, _since_start(run), y, 100.0)
    means = [use.span_s for use in found if use.span_s > use.limit.per_s]
    note = (
        f"this run's requests, mean of {duration(max(means))}" if means else "this run's requests"
    )
    return charts.figure("Budgets", note, chart)


def _rejects(run: RunFile) -> str:
    if not run.rejects:
        return charts.figure("Rejects", "", _none("No record was rejected."))
    found = _first(run.rejects)
    found_bars = [Bar(label=error, value=n, text=count(n), colour=5) for error, n in found.items()]
    chart = charts.bars(found_bars, axis(max(found.values()), "records", whole=True))
    return charts.figure("Rejects by type", "records kept in the table _rejects", chart)


def _lags(run: RunFile) -> str:
    lags = [(row, row.lag_s) for row in run.streams if row.lag_s is not None]
    if not lags:
        return charts.figure("Watermark lag", "", _none("No stream has a watermark in time."))
    lags.sort(key=lambda pair: -pair[1])
    shown = [
        Bar(label=row.stream, value=max(lag_s, 0.0), text=duration(lag_s), colour=3)
        for row, lag_s in lags[:MOST_BARS]
    ]
    chart = charts.bars(shown, lag_axis(max(bar.value for bar in shown)))
    return charts.figure("Watermark lag", "how old each watermark was at the end", chart)


def _statuses(run: RunFile) -> str:
    if not run.statuses:
        return charts.figure("Answers", "", _none("No request was answered."))
    found = _first(run.statuses)
    shown = [
        Bar(label=status, value=n, text=count(n), colour=1 if status < "400" else 2)
        for status, n in found.items()
    ]
    chart = charts.bars(shown, axis(max(found.values()), "answers", whole=True))
    return charts.figure("Answers by status", "HTTP status of each answer", chart)


def _last(runs: Sequence[RunFile]) -> str:
    if len(runs) < 2:
        return f"<h2>Last runs</h2>{runs_table(runs)}"
    newest = list(reversed(runs[:MOST_COLUMNS]))
    colours = {"ok": 1, "failed": 5, "incomplete": 2, "stopped": 2, "killed or running": 6}
    found = [
        Bar(
            label=f"{instant(run.started_at)}, {run.connector}, {run.outcome}",
            value=run.rows_ingested,
            text=f"{count(run.rows_ingested)} records",
            colour=colours[run.outcome],
        )
        for run in newest
    ]
    y = axis(max(bar.value for bar in found), "records", whole=True)
    chart = charts.columns(found, y, instant(newest[0].started_at), instant(newest[-1].started_at))
    names = {1: "ok", 2: "incomplete or stopped", 5: "failed", 6: "killed or running"}
    there = {bar.colour for bar in found}
    legend = "".join(
        f'<li><i class="c{colour}"></i>{name}</li>'
        for colour, name in names.items()
        if colour in there
    )
    drawn = charts.figure(
        "Records of the last runs",
        "the newest on the right",
        f'<ul class="legend">{legend}</ul>{chart}',
    )
    return f"<h2>Last runs</h2>{drawn}<br/>{runs_table(runs)}"


def _since_start(run: RunFile) -> Axis:
    found = time_axis(run.duration_s)
    return Axis(found.top, found.ticks, f"{found.unit} since the start")


def _first(counts: dict[str, int]) -> dict[str, int]:
    """The first of them, and how many the others are together."""
    pairs = list(counts.items())
    rest = sum(n for _, n in pairs[MOST_BARS:])
    return dict(pairs[:MOST_BARS]) | ({"others": rest} if rest else {})


def _none(text: str) -> str:
    return f'<p class="none">{escape(text)}</p>'
