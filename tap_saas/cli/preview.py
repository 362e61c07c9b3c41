"""`saasctl preview`: one page of a stream, as a table, with what was seen in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.errors import ConfigError

if TYPE_CHECKING:
    from tap_saas.authoring.look import Look


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if seen is None:
        console.print(f"{stream}: no page: no parent has a record")
        return
    shown = seen.records[:most]
    names = list(dict.fromkeys(name for record in shown for name in record))
    table = Table(*names)
    for record in shown:
        table.add_row(*(Text(_cell(record.get(name))) for name in names))
    console.print(table)
    response = seen.page.response
    lines = [
        f"GET {seen.url}",
        f"status {response.status}, {seen.page.received} records, {len(response.body):,} bytes",
        *(line for advice in seen.advice for line in advice.lines()),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    import msgspec

    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else text[:39] + "…"
