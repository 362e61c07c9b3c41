"""`saasctl`, the command for people: a connector file is its noun."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

COMMANDS = {
    "new": "tap_saas.cli.new:new",
    "guess": "tap_saas.cli.guess:guess",
    "check": "tap_saas.cli.connector:check",
    "schema": "tap_saas.cli.connector:schema",
    "preview": "tap_saas.cli.preview:preview",
    "explain": "tap_saas.cli.explain:explain",
    "meltano": "tap_saas.cli.meltano:meltano",
    "runs": "tap_saas.cli.runs:runs",
    "state": "tap_saas.cli.state:state",
    "target": "tap_saas.cli.target:target",
    "rejects": "tap_saas.cli.rejects:rejects",
    "loop": "tap_saas.cli.loop:loop",
    "webhooks": "tap_saas.cli.webhooks:webhooks",
    "queue": "tap_saas.cli.queue:queue",
    "demo": "tap_saas.cli.demo:demo",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        target = COMMANDS.get(name)
        if target is None:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            if near:
                ctx.fail(f"No such command '{name}'. Did you mean '{near[0]}'?")
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(HELP.items()))


HELP = {
    "new": "Write a short connector to begin with.",
    "guess": "Write a connector from what the answers of a list show.",
    "check": "Tell all mistakes of a connector file.",
    "schema": "Print the JSON Schema of the connector language, for editors.",
    "preview": "Show the first records of a stream as a table.",
    "explain": "Answer what one must know of an API, and plan its runs, without a request.",
    "meltano": "Print the plugins, jobs and schedule of a connector for Meltano.",
    "runs": "Show what the last runs did, as a table or as a page with charts.",
    "state": "Keep and show the state of a plain pipe.",
    "target": "Prepare and check the tables in PostgreSQL.",
    "rejects": "Count and show what was rejected, and replay it after a mend.",
    "loop": "Run a command again and again, for rows that are seconds old.",
    "webhooks": "Receive what an API sends by itself, and send a test event.",
    "queue": "See, replay and purge the events that the receiver keeps.",
    "demo": "Start the sandbox API and PostgreSQL, and pull one into the other.",
}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tap-saas")
def cli() -> None:
    """Work with connectors: describe an API in YAML, check it, preview it, run it.

    \b
    saasctl check acme.yaml              every mistake, with its line
    saasctl preview acme.yaml orders     the first records as a table
    saasctl meltano acme.yaml            its plugins, job and schedule for Meltano
    """


def main() -> None:
    """Run the command and exit."""
    from tap_saas.process import guarded

    sys.exit(guarded(lambda: cli(standalone_mode=False), "saasctl"))
