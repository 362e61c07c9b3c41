"""Settings on a command line: `--set name=value`, a tap's config file, a public URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tap_saas.errors import ConfigError
from tap_saas.objects import parse_object, read_text


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--config` and `--set`."""
    for option in (
        click.option("--config", "config", metavar="FILE", help="The tap's config file (JSON)."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of the connector.",
        ),
    ):
        command = option(command)
    return command


def tap_config(connector: str, config: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """The tap's config: the file's, with the connector and the settings of the command line over
    it.
    """
    known: dict[str, Any] = {}
    if config is not None:
        text = read_text(config, ConfigError, "config file")
        known = parse_object(text, config, ConfigError, "config file")
    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: no value", do="write --set name=value")
        pairs[name] = value
    merged = {**(known.get("settings") or {}), **pairs}
    return {**known, "connector": connector, **({"settings": merged} if merged else {})}


def checked_url(public_url: str | None) -> str | None:
    """The address that providers see; raises ConfigError where it is none."""
    if public_url is not None and not public_url.startswith(("https://", "http://")):
        raise ConfigError(f"--public-url {public_url} is no URL", do="write https://host")
    return public_url
