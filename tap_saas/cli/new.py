"""`saasctl new`: the shortest connector that runs, or a file to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tap_saas.cli.guess import credential_options, refuse_existing


@click.command()
@click.argument("name", required=False)
@click.option("--url", help="The address of a list: the connector for it runs at once.")
@click.option("-o", "--output", metavar="FILE", help="Where to write; NAME.yaml unless said.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@credential_options
def new(name: str | None, url: str | None, output: str | None, force: bool, **given: Any) -> None:
    """Write a short connector NAME to begin with.

    With --url one request finds the records and their key, and the connector runs: `saasctl
    preview` then says what else the answer shows. Without it a file to edit is written.

    \b
    saasctl new acme --url https://api.acme.example/v1/orders --bearer ACME_TOKEN
    saasctl preview acme.yaml
    """
    import os

    from tap_saas.authoring import address, naming, starter

    if url is None:
        called = naming.identifier(name or "", "api")
        text = starter.empty(called)
    else:
        at = address.read(url, env=os.environ, name=name, **given)
        called = at.name
    file = output or f"{called}.yaml"
    refuse_existing(file, force)
    if url is not None:
        text = starter.of_address(at, lambda line: click.echo(line, err=True))
    Path(file).write_text(text)
    click.echo(f"{file}: written; now try\n  saasctl preview {file}", err=True)
