"""`saasctl meltano`: the plugin block for a connector, to paste into meltano.yml."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("connector")
def meltano(connector: str) -> None:
    """Print the Meltano plugins for CONNECTOR; paste them into meltano.yml.

    Secrets stay out of it: put them into .env under the names that are printed as comments.
    """
    from ruamel.yaml import YAML

    from tap_saas.connector.load import outline

    shown = outline(connector)
    name, settings = shown.name, shown.settings
    reference = connector if "/" in connector or connector.endswith((".yaml", ".yml")) else name
    if Path(reference).suffix and "/" not in reference:
        reference = f"./{reference}"
    out = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(_plugins(name, reference, settings), out)
    click.echo(out.getvalue().rstrip())
    click.echo("# .env:")
    for setting, about in settings.items():
        if about.env is None:
            continue
        click.echo(f"#   {about.env}=...  # {about.description or setting}")
    click.echo(
        "#   TARGET_POSTGRES_SQLALCHEMY_URL=postgresql+psycopg://user:password@host/database"
    )


def _plugins(name: str, reference: str, settings: dict[str, Any]) -> dict[str, Any]:
    plain = {n: s.default for n, s in settings.items() if not s.secret and s.default is not None}
    config: dict[str, Any] = {"connector": reference}
    if plain:
        config["settings"] = plain
    job = f"saasctl:prepare-{name} tap-{name} target-postgres"
    return {
        "plugins": {
            "extractors": [{"name": f"tap-{name}", "inherit_from": "tap-saas", "config": config}],
            "utilities": [
                {
                    "name": "saasctl",
                    "commands": {f"prepare-{name}": {"args": f"target prepare {reference}"}},
                }
            ],
        },
        "jobs": [{"name": name, "tasks": [job]}],
        "schedules": [{"name": f"{name}-hourly", "job": name, "interval": "@hourly"}],
    }
