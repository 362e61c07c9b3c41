"""`saasctl preview`: one page of a stream, as a table, with what was seen in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.errors import ConfigError

if TYPE_CHECKING:
    from tap_saas.connector.exchange import Page
    from tap_saas.connector.model import Stream


@click.command()
@click.argument("connector")
@click.argument("stream", required=False)
@click.option("--records", default=5, show_default=True, help="How many records to show.")
@settings_options
def preview(
    connector: str, stream: str | None, records: int, config: str | None, settings: tuple[str, ...]
) -> None:
    """Ask CONNECTOR for the first page of STREAM and show its first records.

    Without STREAM the names of all streams are listed. Nothing is written anywhere.
    """
    from tap_saas.tap import TapSaaS

    tap = TapSaaS.quiet(tap_config(connector, config, settings))
    streams = tap.run.connector.streams
    if stream is None:
        for name, form in streams.items():
            click.echo(f"{name}  {form.path}")
        return
    if stream not in streams:
        raise ConfigError(f'no stream "{stream}"', do=f"use one of {', '.join(streams)}")
    page, shaped = _first_page(tap.run, streams[stream])
    _show(streams[stream], page, shaped[:records])


def _first_page(run: Any, form: Stream) -> tuple[Page | None, list[dict[str, Any]]]:
    from tap_saas.sync import discovery

    page, records = discovery.first_page(run, form)
    return page, discovery.shaped(run, form, records)


def _show(form: Stream, page: Page | None, records: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if page is None:
        console.print(f"{form.name}: no page: no parent has a record")
        return
    names = list(dict.fromkeys(name for record in records for name in record))
    table = Table(*names)
    for record in records:
        table.add_row(*(Text(_cell(record.get(name))) for name in names))
    console.print(table)
    response = page.response
    console.print(f"GET {response.url}", highlight=False, soft_wrap=True)
    console.print(
        f"status {response.status}, {page.received} records, {len(response.body):,} bytes"
    )
    for line in _seen(form, page, names):
        console.print(line, highlight=False, soft_wrap=True)


def _seen(form: Stream, page: Page, names: list[str]) -> list[str]:
    """What the answer says of keys and of the next page."""
    lines = []
    token = page.next_token
    lines.append(
        f"next page: {token!r}" if token is not None else "next page: none, this is the last"
    )
    link = response_header(page, "link")
    if token is None and link and "next" in link:
        lines.append(
            "the answer has a Link header with rel=next; use pagination: {type: link_header}"
        )
    missing = [name for name in form.key_columns if names and name not in names]
    if missing:
        lines.append(
            f"the key {', '.join(missing)} is not in the records; they have: {', '.join(names)}"
        )
    key = form.replication_key
    if key is not None and names and key not in names:
        lines.append(f"the replication key {key} is not in the records")
    return lines


def response_header(page: Page, name: str) -> str | None:
    """A header of the page's answer."""
    return page.response.headers.get(name)


def _cell(value: Any) -> str:
    import msgspec

    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else text[:39] + "…"
