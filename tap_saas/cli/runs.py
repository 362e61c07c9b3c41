"""`saasctl runs`: what the last runs did, as a table, as JSON and as a page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tap_saas.errors import ConfigError

if TYPE_CHECKING:
    from tap_saas.runs.run_file import Budget, RunFile, RunFiles


@click.group(invoke_without_command=True)
@click.option("--home", "folder", metavar="DIR", help="The tap's home, if it is not the default.")
@click.option("-n", "most", default=20, show_default=True, help="How many runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without the series.")
@click.pass_context
def runs(ctx: click.Context, folder: str | None, most: int, as_json: bool) -> None:
    """Show what the last runs did, the newest first.

    \b
    saasctl runs                       a table
    saasctl runs show RUN              one run, stream by stream
    saasctl runs report -o report.html the last run as a page, with charts

    RUN is a run's id or how it begins; without it the last run is meant.
    """
    from tap_saas.config import home
    from tap_saas.runs.run_file import RunFiles

    ctx.obj = RunFiles(home({} if folder is None else {"home": folder}))
    if ctx.invoked_subcommand is None:
        _print_runs(list(ctx.obj)[:most], as_json=as_json)


@runs.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the whole run file.")
@click.pass_obj
def show(files: RunFiles, run: str | None, as_json: bool) -> None:
    """Show one run, stream by stream."""
    import msgspec

    from tap_saas.runs.tables import RUN_COLUMNS, STREAM_COLUMNS, run_cells, stream_cells

    found = files.find(run)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for column, text in zip(RUN_COLUMNS, run_cells(found), strict=True):
        click.echo(f"{column.name:<12} {text}")
    for name, text in _more(found):
        click.echo(f"{name:<12} {text}")
    for row in found.streams:
        click.echo(f"\n{row.stream}")
        for column, text in list(zip(STREAM_COLUMNS, stream_cells(row), strict=True))[1:]:
            if text:
                click.echo(f"  {column.name:<16} {text}")


@runs.command()
@click.argument("run", nargs=-1)
@click.option(
    "-o", "--output", "output", default="report.html", show_default=True,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="The file to write, - for stdout.",
)  # fmt: skip
@click.pass_obj
def report(files: RunFiles, run: tuple[str, ...], output: Path) -> None:
    """Write one HTML page with charts of these runs, and a table of the last ones."""
    from tap_saas.runs.page import page

    shown = [files.find(name) for name in run or (None,)]
    text = page(shown, list(files))
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"it cannot be written ({error.strerror})", where=str(output)) from error
    click.echo(f"{output}: {', '.join(one.run_id for one in shown)}", err=True)


def _print_runs(found: Sequence[RunFile], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        plain = [msgspec.to_builtins(run) for run in found]
        for run in plain:
            del run["series"]
            for budget in run["budgets"]:
                del budget["series"]
        click.echo(msgspec.json.format(msgspec.json.encode(plain)).decode())
        return
    from rich.table import Table

    from tap_saas.cli.table import show
    from tap_saas.runs.tables import RUN_COLUMNS, run_cells

    table = Table(box=None)
    for column in RUN_COLUMNS:
        justify: Literal["left", "right"] = "right" if column.kind == "n" else "left"
        table.add_column(column.name, justify=justify, no_wrap=True)
    for run in found:
        table.add_row(*run_cells(run))
    show(table)


def _more(run: RunFile) -> list[tuple[str, str]]:
    """What a run has beyond the table: why it ended, waits, rejects, answers, budgets."""
    from tap_saas.runs.words import count, duration

    def counts(found: dict[str, int]) -> str:
        return ", ".join(f"{name} {count(n)}" for name, n in found.items())

    waits = ", ".join(f"{cause} {duration(s)}" for cause, s in run.waited_s.items() if s)
    told = [
        ("incomplete", run.incomplete or ""),
        *(("failure", line) for line in run.failures),
        ("waits", waits),
        ("rejects", counts(run.rejects)),
        ("answers", counts(run.statuses)),
        *(("budget", _spent(budget)) for budget in run.budgets),
    ]
    return [(name, text) for name, text in told if text]


def _spent(budget: Budget) -> str:
    """`all: 120 requests; 1,000 in 1 h`."""
    from tap_saas.runs.words import count, duration

    limits = [f"{count(limit.requests)} in {duration(limit.per_s)}" for limit in budget.limits]
    if budget.concurrent is not None:
        limits.append(f"{budget.concurrent} at a time")
    told = f"{budget.name}: {count(budget.requests)} requests; {', '.join(limits)}"
    return told if budget.buckets == 1 else f"{told}, for each of {budget.buckets} keys"
