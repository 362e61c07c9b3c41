"""`saasctl explain`: what an API must be known for, and the plan of its runs, without a request."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.errors import ConfigError

if TYPE_CHECKING:
    from tap_saas.authoring.explain import Assumed
    from tap_saas.authoring.explain.text import Kind, Line

_STYLES = {"title": "bold", "heading": "bold cyan", "warning": "yellow", "code": "green"}


@click.command()
@click.argument("connector")
@click.argument("stream", required=False)
@click.option(
    "--records",
    multiple=True,
    metavar="N",
    help="Records of each stream, or STREAM=N for one.  [default: 100000]",
)
@click.option(
    "--rows-changed",
    multiple=True,
    metavar="N",
    help="New and changed ones between two runs, or STREAM=N.  [default: one in a hundred]",
)
@click.option(
    "--runs-per-day",
    default=24.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="How often a run begins.",
)
@click.option("--answer", default="300ms", show_default=True, help="How long an answer takes.")
@click.option("--json", "form", flag_value="json", help="Print it for machines.")
@click.option("--markdown", "form", flag_value="markdown", help="Print it as Markdown.")
@settings_options
def explain(
    connector: str,
    stream: str | None,
    records: tuple[str, ...],
    rows_changed: tuple[str, ...],
    runs_per_day: float,
    answer: str,
    form: str | None,
    config: str | None,
    settings: tuple[str, ...],
) -> None:
    """Explain CONNECTOR, or one STREAM of it, before anything is asked of its API.

    Seven answers (pagination, rate limit, ids, incremental parameters, checkpoint, retries, schema
    changes), how it is known what is gone, what events and webhooks bring, the requests that a run
    makes, how many they are, and how long they take within the budgets. No network, no credentials:
    secrets and missing settings are shown by their names.

    \b
    saasctl explain acme.yaml events --records 5000000 --rows-changed 2000
    """
    import msgspec

    from tap_saas.authoring.explain import explain as explained
    from tap_saas.authoring.explain.text import lines, markdown

    known = tap_config(connector, config, settings)
    assumed = _assumed(known, records, rows_changed, runs_per_day, answer)
    found = explained(connector, stream, known.get("settings") or {}, assumed)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif form == "markdown":
        click.echo("\n".join(markdown(lines(found))))
    else:
        _show(lines(found))


def _assumed(
    known: dict[str, Any],
    records: tuple[str, ...],
    changed: tuple[str, ...],
    runs_per_day: float,
    answer: str,
) -> Assumed:
    from datetime import UTC, datetime

    from tap_saas.authoring.explain import Assumed
    from tap_saas.config import DEFAULT_PARALLEL
    from tap_saas.connector.formats import read_instant
    from tap_saas.connector.units import parse_duration

    start = known.get("start_date")
    try:
        return Assumed(
            records={"": 100_000, **_counts(records, "--records")},
            changed=_counts(changed, "--rows-changed"),
            runs_per_day=runs_per_day,
            answer_s=parse_duration(answer).total_seconds(),
            now=datetime.now(UTC).replace(microsecond=0),
            start_date=None if start is None else read_instant(start),
            parallel=known.get("parallel", DEFAULT_PARALLEL),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _counts(given: tuple[str, ...], option: str) -> dict[str, int]:
    """`5000000` for all streams, `orders=100000` for one; `""` stands for all."""
    counts = {}
    for text in given:
        stream, _, number = text.rpartition("=")
        digits = number.replace("_", "").replace(",", "")
        if not digits.isdecimal():
            raise ConfigError(
                f"{option} {text}: no number", do=f"write {option} 5000 or orders=5000"
            )
        counts[stream] = int(digits)
    return counts


def _show(found: Iterable[Line]) -> None:
    """Colours on a terminal, plain text elsewhere; requests and JSON keep their lines whole."""
    import shutil

    from tap_saas.authoring.explain.text import plain

    width = min(shutil.get_terminal_size((100, 40)).columns, 120)
    shown = plain(found, width)
    if not sys.stdout.isatty():
        click.echo("\n".join(text for _, text in shown))
        return
    _colour(shown)


def _colour(shown: Iterable[tuple[Kind, str]]) -> None:
    from rich.console import Console

    console = Console()
    for kind, text in shown:
        console.print(text, style=_STYLES.get(kind), markup=False, highlight=False, soft_wrap=True)
