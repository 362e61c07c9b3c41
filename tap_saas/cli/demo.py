"""`saasctl demo`: scenes that show what the tap does, and servers to try things with."""

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
    """Show what the tap does: a sandbox API, pulled into an embedded PostgreSQL.

    \b
    saasctl demo run          all scenes, then Meltano twice; everything is stopped afterwards
    saasctl demo run kill     one scene with its commands and log lines
    saasctl demo scenes       the scenes
    saasctl demo up           start both servers and print their addresses
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
def scenes() -> None:
    """List the scenes of `saasctl demo run`."""
    from tap_saas.demo.scenes import SCENES

    for scene in SCENES:
        click.echo(f"{scene.name:<14}{scene.about}")


@demo.command()
@click.argument("scene", required=False)
@_sizes
@click.option("--keep", is_flag=True, help="Leave the servers running.")
def run(scene: str | None, customers: int, orders: int, events: int, keep: bool) -> int:
    """Show all scenes, a line each; then pull the sandbox by Meltano twice and compare both sides.

    With SCENE only that one, with what was done and the log lines that matter. Exit code 1 where a
    scene's line is not true, or anything differs. Servers that ran before are used, and left as
    they are.
    """
    from tap_saas.config import home
    from tap_saas.demo import services, show
    from tap_saas.demo.scenes import SCENES, named
    from tap_saas.demo.story import Story

    chosen = None if scene is None else named(scene)
    click.echo("starting the sandbox API and PostgreSQL ...")
    folder = home({})
    keep = keep or services.is_up(folder)
    running = services.up(folder, {"customers": customers, "orders": orders, "events": events})
    try:
        if chosen is not None:
            return 0 if show.show_one(chosen, running.database_url, click.echo) else 1
        true = show.show_all(SCENES, running.database_url, click.echo)
        same = Story(Path.cwd(), running, click.echo).run()
    finally:
        if not keep:
            services.down(folder)
    click.echo("API and PostgreSQL are the same" if same else "API and PostgreSQL DIFFER")
    if not true:
        click.echo("NOT all scenes are as they should be")
    return 0 if same and true else 1
