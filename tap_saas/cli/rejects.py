"""`saasctl rejects`: bad records, counted and shown, and replayed once the connector is mended."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.cli.target import URL_VARIABLE
from tap_saas.errors import ConfigError, StateError, TargetError

if TYPE_CHECKING:
    from tap_saas.sync.replay import Kept, Outcome

CELL = 60  # characters of a payload or message in the table


@click.group()
def rejects() -> None:
    """Show what was rejected and why, and replay it after the connector was mended.

    \b
    saasctl rejects list --schema acme
    saasctl rejects replay acme.yaml --schema acme | target-postgres --config target.json
    """


def _source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--stream", "streams", multiple=True, help="Of this stream only."),
        click.option("--schema", help="The schema that has the table _rejects."),
        click.option(
            "--database-url",
            envvar=URL_VARIABLE,
            help=f"PostgreSQL; else the variable {URL_VARIABLE}.",
        ),
        click.option(
            "--from",
            "file",
            metavar="FILE",
            help="Read Singer lines from FILE instead (- is stdin).",
        ),
    ):
        command = option(command)
    return command


@rejects.command("list")
@_source_options
@click.option("--error", help="Of this error type only.")
@click.option("--run", help="Of this run only.")
@click.option("--limit", default=10, show_default=True, help="How many of the newest to show.")
@click.option("--json", "as_json", is_flag=True, help="Print counts and rejects as JSON, whole.")
def list_(
    streams: tuple[str, ...], schema: str | None, database_url: str | None, file: str | None,
    error: str | None, run: str | None, limit: int, as_json: bool,
) -> None:  # fmt: skip
    """Count the rejects by stream and error type, and show the newest."""
    if file is None:
        counts, newest = _in_database(database_url, schema, streams, error, run, limit)
    else:
        counts, newest = _in_lines(file, streams, error, run, limit)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"counts": counts, "rejects": newest}).decode())
    elif not counts:
        click.echo("nothing was rejected")
    else:
        _show(counts, newest)


def _in_database(
    url: str | None, schema: str | None, streams: tuple[str, ...], error: str | None,
    run: str | None, limit: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    import msgspec

    from target_config.rejects import Filter, Rejects

    wanted = Filter(streams=streams, error=error, run=run)
    with _told():
        table = Rejects(_url(url), schema)
        counts, newest = table.counts(wanted), table.newest(wanted, limit)
    return [msgspec.to_builtins(count) for count in counts], [_shown(row) for row in newest]


def _in_lines(
    file: str, streams: tuple[str, ...], error: str | None, run: str | None, limit: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    import msgspec

    found = [
        kept
        for kept in _read_file(file)
        if (not streams or kept.stream in streams)
        and error in (None, kept.error)
        and run in (None, kept.run_id)
    ]
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    for kept in found:
        name = (kept.stream, kept.error or "")
        count = counts.setdefault(
            name, {"stream": name[0], "error": name[1], "records": 0, "replayed": 0, "newest": ""}
        )
        count["records"] += 1
        count["replayed"] += kept.replayed_at is not None
        count["newest"] = max(count["newest"], kept.rejected_at or "")
    found.sort(key=lambda kept: kept.rejected_at or "", reverse=True)
    most = sorted(counts.values(), key=lambda count: -count["records"])
    return most, [msgspec.to_builtins(kept) for kept in found[:limit]]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the target's own columns."""
    return {name: value for name, value in row.items() if not name.startswith("_sdc_")}


def _read_file(file: str) -> list[Kept]:
    import msgspec

    from tap_saas.sync.replay import read_lines

    with contextlib.ExitStack() as stack:
        try:
            lines: Iterable[str | bytes] = (
                sys.stdin if file == "-" else stack.enter_context(Path(file).open("rb"))
            )
            return read_lines(lines)
        except OSError as error:
            raise ConfigError(f"cannot be read ({error.strerror})", where=file) from error
        except msgspec.MsgspecError as error:
            raise ConfigError(
                f"no Singer lines ({error})", where=file, do="pass what the tap has written"
            ) from error


def _show(counts: list[dict[str, Any]], newest: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if Console().is_terminal else 200)
    head = ("stream", "error", "records", "replayed", "newest")
    table = Table(*head, box=None)
    for count in counts:
        table.add_row(*(Text(_cell(count[name])) for name in head))
    console.print(table)
    if not newest:
        return
    columns = ("stream", "record_key", "error", "pointer", "message", "payload")
    examples = Table(*columns, box=None)
    for row in newest:
        examples.add_row(*(Text(_cell(row.get(name))) for name in columns))
    console.print(Text("\nthe newest:"))
    console.print(examples)


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL else text[: CELL - 3] + "..."


@rejects.command()
@_source_options
@click.option("--again", is_flag=True, help="Also what has been replayed before.")
@click.option(
    "--state", metavar="FILE", help="The state of the last run: the types that it learnt."
)
@settings_options
@click.argument("connector")
def replay(
    connector: str, streams: tuple[str, ...], schema: str | None, database_url: str | None,
    file: str | None, again: bool, state: str | None, config: str | None,
    settings: tuple[str, ...],
) -> None:  # fmt: skip
    """Write the rejects of CONNECTOR that pass now as Singer lines, for the target; no STATE.

    Only streams with a version are replayed, so that nothing older can win. What was replayed is
    marked in _rejects; where the target failed on the way, run it once more with --again. Counts
    go to stderr.
    """
    from tap_saas.sync.replay import Replay
    from tap_saas.sync.stream import SaasStream
    from tap_saas.tap import TapSaaS

    given = tap_config(connector, config, settings)
    tap = TapSaaS.quiet(given, state=_state(state), samples=False)
    found = {s.name: s for s in tap.streams.values() if isinstance(s, SaasStream)}
    unknown = sorted(set(streams) - found.keys())
    if unknown:
        raise ConfigError(f'no stream "{unknown[0]}"', do=f"use one of {', '.join(found)}")
    ledger = tap.streams.get("_rejects")
    if ledger is None:
        raise ConfigError("emit_rejects is false", do="replay with emit_rejects: true")
    for stream in found.values():
        stream.recall()
    work = Replay(tap.run, found, ledger)  # type: ignore[arg-type]
    write = tap.message_writer.write_page  # type: ignore[attr-defined]
    default = schema or f"tap_{tap.run.connector.name}"
    with contextlib.closing(tap.run), _told():
        for chunk in work.lines(_rejected(file, database_url, default, streams, again)):
            write(chunk)
        for chunk in work.marks():
            write(chunk)
        tap.message_writer.flush()  # type: ignore[attr-defined]
    for line in summary(work.outcomes):
        click.echo(line, err=True)


def _rejected(
    file: str | None, url: str | None, schema: str, streams: tuple[str, ...], again: bool
) -> Iterator[Kept]:
    if file is not None:
        for kept in _read_file(file):
            if (again or kept.replayed_at is None) and (not streams or kept.stream in streams):
                yield kept
        return
    from tap_saas.sync.replay import kept_of
    from target_config.rejects import Filter, Rejects

    wanted = Filter(streams=streams, replayed=again)
    yield from kept_of(Rejects(_url(url), schema).all(wanted))


def summary(outcomes: dict[str, Outcome]) -> Iterator[str]:
    """What became of the rejects, a line a stream and one for each reason to leave some."""
    if not outcomes:
        yield "nothing is to be replayed"
    for name, outcome in outcomes.items():
        gone = f", {outcome.gone:,} are gone from the API" if outcome.gone else ""
        yield f"{name}: {outcome.replayed:,} replayed{gone}"
        if outcome.bad:
            yield f"{name}: {outcome.bad.total():,} still bad: {_counts(outcome.bad)}"
        for why, count in outcome.left.most_common():
            yield f"{name}: {count:,} left: {why}"


def _counts(errors: Counter[str]) -> str:
    return ", ".join(f"{error} {count:,}" for error, count in errors.most_common())


def _state(file: str | None) -> dict[str, Any] | None:
    from tap_saas.objects import parse_object, read_text

    if file is None:
        return None
    return parse_object(read_text(file, StateError, "state"), file, StateError, "state")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What PostgreSQL refuses, as one line of ours."""
    from target_config.errors import TargetConfigError

    try:
        yield
    except TargetConfigError as error:
        raise TargetError(error.what, do=error.do) from error


def _url(given: str | None) -> str:
    if not given:
        raise ConfigError(
            "no database",
            do=f"pass --database-url or --from FILE, or set the variable {URL_VARIABLE}",
        )
    return given
