"""`saasctl webhooks`: receive events, and send a test event; subscriptions are beside it."""

from __future__ import annotations

import sys
from typing import Any

import click

from tap_saas.cli.given import checked_url, settings_options, tap_config
from tap_saas.cli.subscriptions import expect, forget, subscribe
from tap_saas.errors import ApiError, ConfigError

PORT = 8700


@click.group()
def webhooks() -> None:
    """Receive what an API sends by itself, into a durable queue."""


@webhooks.command()
@click.argument("connectors", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=PORT, show_default=True, help="The port; 0 is any that is free.")
@click.option("--queue", metavar="URL", help="A file or a postgresql:// URL.  [home/queue.db]")
@click.option("--keep", default="24h", show_default=True, help="How long events stay when read.")
@click.option("--public-url", metavar="URL", help="What providers see, where they sign the URL.")
@click.option("--tls-cert", metavar="FILE", help="A certificate chain (PEM), for https.")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM).")
@click.option("--access-log/--no-access-log", default=True, help="A line a request on stderr.")
@settings_options
def serve(
    connectors: tuple[str, ...],
    queue: str | None,
    keep: str,
    public_url: str | None,
    config: str | None,
    settings: tuple[str, ...],
    **listening: Any,
) -> None:
    """Receive events for all webhook sources of CONNECTORS, until SIGTERM or Ctrl-C.

    An event for POST /webhooks/CONNECTOR/SOURCE is verified and stored before it is answered with
    200. GET /healthz, /readyz and /metrics (Prometheus) tell how it goes. Settings that only
    requests to the API need may be missing.
    """
    import os

    from tap_saas.config import home, home_path
    from tap_saas.connector.units import parse_duration

    try:
        from tap_saas.queues.base import Limits
        from tap_saas.webhooks.serve import Options
        from tap_saas.webhooks.serve import serve as receive
    except ImportError as error:
        raise _missing(error) from error
    given = tap_config(connectors[0], config, settings)
    try:
        limits = Limits(keep=parse_duration(keep))
    except ValueError as error:
        raise ConfigError(f"--keep {error}") from error
    options = Options(
        **listening,
        queue=queue or str(home(given) / "queue.db"),
        limits=limits,
        public_url=checked_url(public_url),
        home=home_path(given),
    )
    receive(connectors, given.get("settings") or {}, os.environ, options)


@webhooks.command()
@click.argument("connector")
@click.argument("source")
@click.argument("bodies", nargs=-1, required=True, metavar="BODY...")
@click.option("--url", default=f"http://127.0.0.1:{PORT}", show_default=True, help="The receiver.")
@click.option("--public-url", metavar="URL", help="What the provider signs, where it is another.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="One more header.")
@settings_options
def send(
    connector: str,
    source: str,
    bodies: tuple[str, ...],
    url: str,
    public_url: str | None,
    headers: tuple[str, ...],
    config: str | None,
    settings: tuple[str, ...],
) -> None:
    """Sign each BODY as SOURCE of CONNECTOR says and post it, as the provider would.

    A BODY is a JSON text, a file, or - for standard input. Exit code 5 where one is refused.
    """
    import os

    from tap_saas.config import home_path
    from tap_saas.redact import Redactor
    from tap_saas.webhooks.roster import Roster
    from tap_saas.webhooks.secret_store import SecretStore
    from tap_saas.webhooks.send import post, signed
    from tap_saas.webhooks.source import load_sources

    given = tap_config(connector, config, settings)
    own = given.get("settings") or {}
    known, secrets = load_sources([connector], own, os.environ, public_url or url)
    redactor = Redactor(secrets)
    roster = Roster(known, SecretStore(home_path(given)), redactor)
    found = {one.name.partition("/")[2]: one for one in roster.sources.values()}
    if source not in found:
        raise ConfigError(f'no webhook source "{source}"', do=f"use one of {', '.join(found)}")
    more = dict(_header(text) for text in headers)
    refused = 0
    for body in bodies:
        request = signed(found[source], url, public_url or url, _read(body), more)
        status, text = post(request)
        click.echo(redactor.mask(f"{status} {text}".rstrip()))
        refused += not 200 <= status < 300
    if refused:
        raise ApiError(f"{refused} of {len(bodies)} events refused", do="see the receiver's log")


for command in (subscribe, expect, forget):
    webhooks.add_command(command)


def _read(body: str) -> bytes:
    """A body: its text, a file's or standard input's."""
    if body == "-":
        return sys.stdin.buffer.read()
    if body.lstrip().startswith(("{", "[")):
        return body.encode()
    from pathlib import Path

    try:
        return Path(body).read_bytes()
    except OSError as error:
        raise ConfigError(f"{body} cannot be read ({error.strerror})", do="name a file") from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"--header {text}: no value", do="write --header NAME:VALUE")
    return name.strip().lower(), value.strip()


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        f"the receiver needs {error.name}", do='install it: pip install "tap-saas[webhooks]"'
    )
