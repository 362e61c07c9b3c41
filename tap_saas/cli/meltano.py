"""`saasctl meltano`: the plugins, jobs and schedule of a connector, a file beside meltano.yml."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tap_saas.connector.model import Connector


@click.command()
@click.argument("connector")
def meltano(connector: str) -> None:
    """Print the Meltano plugins for CONNECTOR, a file that meltano.yml includes.

    \b
    saasctl meltano acme.yaml > acme.meltano.yml
    meltano install; meltano run acme

    For a project that has the plugins tap-saas, saasctl and target-postgres of ours, and the line
    `include_paths: ["*.meltano.yml"]`; else paste what is printed into its meltano.yml.

    A connector with webhooks or event logs has two jobs, each with a state of its own: the pull,
    every hour, and the drain, in a loop; both write into the same tables. Secrets stay out of it:
    put them into .env under the names that are printed as comments.
    """
    from ruamel.yaml import YAML

    from tap_saas.connector.load import outline

    shown = outline(connector)
    reference = (
        connector if "/" in connector or connector.endswith((".yaml", ".yml")) else shown.name
    )
    if Path(reference).suffix and "/" not in reference:
        reference = f"./{reference}"
    out = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(_project(shown, reference), out)
    click.echo(out.getvalue().rstrip())
    for line in (*_drain_lines(shown), "# .env:"):
        click.echo(line)
    for setting, about in shown.settings.items():
        if about.env is None:
            continue
        click.echo(f"#   {about.env}=...  # {about.description or setting}")
    click.echo(
        "#   TARGET_POSTGRES_SQLALCHEMY_URL=postgresql+psycopg://user:password@host/database"
    )


def _project(shown: Connector, reference: str) -> dict[str, Any]:
    name, drained = shown.name, _drained(shown)
    extractors, tasks = [_pull(shown, reference)], {name: f"tap-{name}"}
    if drained:
        extractors.append(_drain(shown))
        tasks[f"{name}-drain"] = f"tap-{name}-drain"
    return {
        "plugins": {
            "extractors": extractors,
            "utilities": [
                {
                    "name": f"saasctl-{name}",
                    "inherit_from": "saasctl",
                    "commands": {"prepare": {"args": f"target prepare {reference}"}},
                }
            ],
        },
        "jobs": [
            {"name": job, "tasks": [f"saasctl-{name}:prepare {tap} target-postgres"]}
            for job, tap in tasks.items()
        ],
        "schedules": [{"name": f"{name}-hourly", "job": name, "interval": "@hourly"}],
    }


def _drained(shown: Connector) -> list[str]:
    """The feeds that are read in a loop: the queue; without webhooks the event logs."""
    if shown.webhooks:
        return ["webhooks"]
    return ["events"] if shown.events else []


def _pull(shown: Connector, reference: str) -> dict[str, Any]:
    plain = {
        name: setting.default
        for name, setting in shown.settings.items()
        if not setting.secret and setting.default is not None
    }
    config: dict[str, Any] = {"connector": reference}
    if plain:
        config["settings"] = plain
    if shown.webhooks:
        config["feeds"] = ["pull", *(["events"] if shown.events else [])]
    elif shown.events:
        config["feeds"] = ["pull"]
    return {"name": f"tap-{shown.name}", "inherit_from": "tap-saas", "config": config}


def _drain(shown: Connector) -> dict[str, Any]:
    """The same tap with other feeds, into the schema that Meltano gives the first one."""
    config: dict[str, Any] = {"feeds": _drained(shown)}
    consumers = {one.consumers[0] for one in shown.webhooks.values()}
    if consumers - {"main"}:
        config["consumer"] = min(consumers)
    tap = f"tap-{shown.name}"
    return {
        "name": f"{tap}-drain",
        "inherit_from": tap,
        "load_schema": tap.replace("-", "_"),
        "config": config,
    }


def _drain_lines(shown: Connector) -> list[str]:
    """How the drain is run, and what fills its queue."""
    drained = _drained(shown)
    if not drained:
        return []
    every = "5s" if shown.webhooks else "1m"
    lines = [f"# saasctl loop --every {every} -- meltano run {shown.name}-drain"]
    if shown.webhooks:
        lines.append("# its queue is filled by: saasctl webhooks serve")
    return lines
