"""`saasctl guess`: a connector for a list, written from what its answers show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tap_saas.errors import ConfigError


def credential_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say who asks."""
    for option in (
        click.option("--header", "headers", multiple=True, metavar="NAME=VALUE",
                     help="A header; {VARIABLE} in it is taken from the environment."),
        click.option("--bearer", metavar="VARIABLE",
                     help="The environment variable that holds a bearer token."),
        click.option("--basic", metavar="USER:PASSWORD",
                     help="User and password; {VARIABLE} is taken from the environment."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("url")
@click.option("-o", "--output", metavar="FILE", help="Where to write; stdout unless said.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--name", help="The connector's name; the host's unless said.")
@click.option("--stream", help="The stream's name; the last word of the path unless said.")
@click.option("--requests", default=15, show_default=True, type=click.IntRange(min=1),
              help="How many requests may be sent.")  # fmt: skip
@credential_options
def guess(url: str, output: str | None, force: bool, requests: int, **given: Any) -> None:
    """Ask URL, a list of an API, and write a connector for it.

    A few requests find where the records are, their key, how the list goes on, and the parameter
    that gives only what changed. Each is tried out; comments say what was seen and what is a guess.
    Secrets are never written: the connector names the variables that hold them.

    \b
    saasctl guess https://api.acme.example/v1/orders --bearer ACME_TOKEN -o acme.yaml
    """
    import os

    from tap_saas.authoring import address, draft
    from tap_saas.authoring.guess import guess as find

    refuse_existing(output, force)
    at = address.read(url, env=os.environ, **given)
    found = find(at, requests, lambda line: click.echo(line, err=True))
    text = draft.connector(found)
    if output is None:
        click.echo(text, nl=False)
        return
    Path(output).write_text(text)
    click.echo(f"{output}: written after {found.requests} requests; now try\n"
               f"  saasctl preview {output} {at.stream}", err=True)  # fmt: skip


def refuse_existing(output: str | None, force: bool) -> None:
    """A file that somebody has edited is not lost."""
    if output is not None and Path(output).exists() and not force:
        raise ConfigError("the file is there already", where=output, do="add --force to replace it")
