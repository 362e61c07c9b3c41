"""`saasctl check` and `saasctl schema`: connector files, without a request."""

from __future__ import annotations

import logging

import click

from tap_saas.cli.given import settings_options, tap_config


@click.command()
@click.argument("connector")
@click.option("--online", is_flag=True, help="Also send the request that proves the credentials.")
@settings_options
def check(connector: str, online: bool, config: str | None, settings: tuple[str, ...]) -> int:
    """Tell all mistakes of the file CONNECTOR at once, each with its line and what to do.

    Settings need not be set, but for --online. Exit code 3 where there is a mistake, 4 where the
    API refuses the credentials; warnings alone give 0.
    """
    from tap_saas.connector.check import check as find_mistakes

    mistakes = find_mistakes(connector)
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    errors = sum(mistake.level == "error" for mistake in mistakes)
    if errors:
        click.echo(f"{connector}: {errors} mistake{'s' if errors > 1 else ''}", err=True)
        return 3
    click.echo(f"{connector}: ok")
    if online:
        from tap_saas.sync.discovery import prove
        from tap_saas.tap import TapSaaS

        logging.getLogger("tap_saas.tap").setLevel(logging.ERROR)  # its warnings are told above
        tap = TapSaaS.quiet(tap_config(connector, config, settings), samples=False)
        click.echo(f"{prove(tap.run)}: the credentials are good")
    return 0


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference of the language instead.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of the connector language.

    \b
    saasctl schema > tap-saas.schema.json
    and as the first line of a connector, for editors with a YAML language server:
    # yaml-language-server: $schema=tap-saas.schema.json
    """
    import msgspec

    from tap_saas.connector import reference, reference_page

    if markdown:
        click.echo(reference_page.page(), nl=False)
        return
    click.echo(msgspec.json.format(msgspec.json.encode(reference.schema()), indent=2).decode())
