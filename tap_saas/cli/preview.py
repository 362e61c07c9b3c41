"""`saasctl preview`: one page of a stream, as a table, with what was seen in the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from tap_saas.authoring.look import Look


LEAST = 2
"""So many records stand side by side, however narrow they get."""


@click.command()
@click.argument("connector")
@click.argument("stream", required=False)
@click.option("--records", default=5, show_default=True, help="How many records to show.")
@settings_options
def preview(
    connector: str, stream: str | None, records: int, config: str | None, settings: tuple[str, ...]
) -> None:
    """Ask CONNECTOR for the first page of STREAM and show its first records.

    What the connector still lacks is told, and what the answer says of it, in lines to paste: a
    stream may have no pagination yet. Without STREAM the names of all streams are listed, unless
    there is only one. Nothing is written anywhere.
    """
    from tap_saas.authoring.look import look, read

    given = tap_config(connector, config, settings)
    loaded = read(given)
    streams = loaded.connector.streams
    if stream is None and len(streams) != 1:
        for name, form in streams.items():
            click.echo(f"{name}  {form.path}")
        return
    chosen = next(iter(streams)) if stream is None else stream
    if chosen not in streams:
        raise ConfigError(f'no stream "{chosen}"', do=f"use one of {', '.join(streams)}")
    _show(chosen, look(loaded, given, chosen), records)


def _show(stream: str, seen: Look | None, most: int) -> None:
    from tap_saas.cli.table import console as page

    console = page()
    if seen is None:
        console.print(f"{stream}: no page: no parent has a record")
        return
    _show_records(console, seen.records[:most])
    response = seen.page.response
    lines = [
        f"GET {seen.url}",
        f"status {response.status}, {seen.page.received} records, {len(response.body):,} bytes",
        *(line for advice in seen.advice for line in advice.lines()),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _show_records(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """A record a line; where that is too wide, a field a line, of two records or more at a time."""
    from rich.table import Table
    from rich.text import Text

    from tap_saas.cli.table import width

    def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> Table:
        found = Table()
        for name in head:
            found.add_column(Text(name), no_wrap=True)
        for row in rows:
            found.add_row(*map(Text, row))
        return found

    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [[_cell(record.get(name)) for name in names] for record in records]
    whole = table(names, cells)
    if not names or width(console, whole) <= console.width:
        console.print(whole)
        return
    at = 0
    while at < len(cells):
        for many in range(len(cells) - at, 0, -1):
            head = ["field", *(f"record {n + 1}" for n in range(at, at + many))]
            turned = table(head, zip(names, *cells[at : at + many], strict=True))
            if width(console, turned) <= console.width or many <= LEAST:
                break
        console.print(turned)
        at += many


def _cell(value: Any) -> str:
    import msgspec

    if value is None:
        return ""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    text = value if isinstance(value, str) else encode(value).decode()
    return text if len(text) <= 40 else text[:39] + "…"
