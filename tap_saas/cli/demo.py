"""`saasctl demo`: a sandbox API and a PostgreSQL to try things with."""

from __future__ import annotations

from pathlib import Path

import click

_SIZES = (
    click.option("--customers", default=300, show_default=True, help="Customers in the sandbox."),
    click.option("--orders", default=400, show_default=True, help="Orders, each with its lines."),
    click.option("--events", default=5_000, show_default=True, help="Events."),
)


def _sizes(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_SIZES):
        command = option(command)
    return command


@click.group()
def demo() -> None:
    """Start the sandbox API and an embedded PostgreSQL, and pull one into the other.

    \b
    saasctl demo run          the whole story, then everything is stopped
    saasctl demo up           start both and print their addresses
    saasctl demo down         stop both; the database is thrown away
    """


@demo.command()
@_sizes
def up(customers: int, orders: int, events: int) -> None:
    """Start the sandbox and PostgreSQL, and print the variables that Meltano needs to find them."""
    from tap_saas.config import home
    from tap_saas.demo import services

    running = services.up(home({}), {"customers": customers, "orders": orders, "events": events})
    click.echo("# the demo is up; `saasctl demo down` stops it", err=True)
    for name, value in running.environment().items():
        click.echo(f"export {name}='{value}'")


@demo.command()
def down() -> None:
    """Stop the sandbox and PostgreSQL; the database is thrown away."""
    from tap_saas.config import home
    from tap_saas.demo import services

    stopped = services.down(home({}))
    click.echo("the demo is down" if stopped else "nothing was up", err=True)


@demo.command()
@_sizes
@click.option("--keep", is_flag=True, help="Leave the servers running.")
def run(customers: int, orders: int, events: int, keep: bool) -> int:
    """Pull the sandbox into PostgreSQL by Meltano, change rows, pull again, compare both sides.

    Exit code 1 where anything differs.
    """
    from tap_saas.config import home
    from tap_saas.demo import services
    from tap_saas.demo.story import Story

    click.echo("starting the sandbox API and PostgreSQL ...")
    folder = home({})
    running = services.up(folder, {"customers": customers, "orders": orders, "events": events})
    try:
        same = Story(Path.cwd(), running, click.echo).run()
    finally:
        if not keep:
            services.down(folder)
    click.echo("API and PostgreSQL are the same" if same else "API and PostgreSQL DIFFER")
    return 0 if same else 1
