"""`saasctl target`: the tables in PostgreSQL, prepared and checked before a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from tap_saas.cli.given import settings_options, tap_config
from tap_saas.errors import ConfigError, TargetError

URL_VARIABLE = "TARGET_POSTGRES_SQLALCHEMY_URL"


@click.group()
def target() -> None:
    """Prepare and check the tables in PostgreSQL: timestamptz, keys, the newest-wins guard.

    \b
    saasctl target settings --schema acme > target.json
    saasctl target prepare acme.yaml --schema acme
    tap-saas --config tap.json --test=schema | saasctl target prepare -
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--schema", help="The schema of the tables; default: the connector's name."),
        click.option(
            "--database-url",
            envvar=URL_VARIABLE,
            help=f"PostgreSQL; else the variable {URL_VARIABLE}.",
        ),
        settings_options,
        click.argument("connector"),
    ):
        command = option(command)
    return command


@target.command()
@_options
@click.option("--migrate", is_flag=True, help="Widen columns whose type is too small.")
def prepare(
    connector: str, config: str | None, settings: tuple[str, ...], database_url: str | None,
    schema: str | None, migrate: bool,
) -> int:  # fmt: skip
    """Make or extend the tables of CONNECTOR and install the guard; does nothing where all is well.

    CONNECTOR `-` reads SCHEMA lines from stdin. Exit code 9 where a column needs a migration.
    """
    from target_config.errors import TargetConfigError
    from target_config.prepare import prepare as prepare_tables

    messages, default = _messages(connector, config, settings)
    try:
        report = prepare_tables(
            _url(database_url), messages, schema=schema or default, migrate=migrate
        )
    except TargetConfigError as error:
        raise TargetError(error.what, do=error.do) from error
    for line in report.lines:
        click.echo(line, err=True)
    return 0 if report.is_ready else TargetError.exit_code


@target.command()
@_options
def check(
    connector: str, config: str | None, settings: tuple[str, ...], database_url: str | None,
    schema: str | None,
) -> int:  # fmt: skip
    """Say what is missing in the tables of CONNECTOR; exit code 9 where anything is."""
    from target_config.check import check as check_tables
    from target_config.errors import TargetConfigError

    messages, default = _messages(connector, config, settings)
    try:
        problems = check_tables(_url(database_url), messages, schema=schema or default)
    except TargetConfigError as error:
        raise TargetError(error.what, do=error.do) from error
    for problem in problems:
        click.echo(problem.line, err=True)
    if not problems:
        click.echo("all tables are ready", err=True)
    return TargetError.exit_code if problems else 0


@target.command()
@click.option("--schema", default="public", show_default=True, help="The schema of the tables.")
def settings(schema: str) -> None:
    """Print the settings that we ship for target-postgres, without the database's URL.

    target-postgres takes the URL from the variable TARGET_POSTGRES_SQLALCHEMY_URL where its
    `--config ENV` follows, written as postgresql+psycopg://...
    """
    from target_config.settings import shipped

    text = msgspec.json.encode({**shipped(), "default_target_schema": schema})
    click.echo(msgspec.json.format(text, indent=2).decode())


def _url(given: str | None) -> str:
    if not given:
        raise ConfigError(
            "no database", do=f"pass --database-url, or set the variable {URL_VARIABLE}"
        )
    return given


def _messages(
    connector: str, config: str | None, settings: tuple[str, ...]
) -> tuple[list[dict[str, Any]], str | None]:
    """The SCHEMA messages, and the schema that the tables go to by default."""
    if connector == "-":
        return [_message(line) for line in sys.stdin if '"SCHEMA"' in line], None
    from tap_saas.tap import TapSaaS

    tap = TapSaaS.quiet(tap_config(connector, config, settings))
    lines = tap.schema_lines().splitlines()
    return [_message(line) for line in lines], f"tap_{tap.run.connector.name}"


def _message(line: str | bytes) -> dict[str, Any]:
    try:
        message: dict[str, Any] = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ConfigError(
            "standard input is not SCHEMA lines", do="pipe `tap-saas --test=schema` into it"
        ) from error
    return message
