"""`saasctl webhooks`: receive events, and send a test event."""

from __future__ import annotations

import sys

import click

from tap_saas.cli.given import settings_options, tap_config
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
    host: str,
    port: int,
    queue: str | None,
    keep: str,
    public_url: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    access_log: bool,
    config: str | None,
    settings: tuple[str, ...],
) -> None:
    """Receive events for all webhook sources of CONNECTORS, until SIGTERM or Ctrl-C.

    An event for POST /webhooks/CONNECTOR/SOURCE is verified and stored before it is answered with
    200. GET /healthz, /readyz and /metrics (Prometheus) tell how it goes. Settings that only
    requests to the API need may be missing.
    """
    import os

    from tap_saas.config import home
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
        host=host,
        port=port,
        queue=queue or str(home(given) / "queue.db"),
        limits=limits,
        public_url=_checked(public_url),
        tls_cert=tls_cert,
        tls_key=tls_key,
        access_log=access_log,
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

    from tap_saas.redact import Redactor
    from tap_saas.webhooks.send import post, signed
    from tap_saas.webhooks.source import load_sources

    given = tap_config(connector, config, settings).get("settings") or {}
    known, secrets = load_sources([connector], given, os.environ, public_url or url)
    redactor = Redactor(secrets)
    found = {one.name.partition("/")[2]: one for one in known.values()}
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


@webhooks.command()
@click.argument("connector")
@click.argument("source")
@click.option("--public-url", metavar="URL", help="Where the provider reaches the receiver.")
@click.option("--remove", is_flag=True, help="Remove the subscription.")
@settings_options
def subscribe(
    connector: str,
    source: str,
    public_url: str | None,
    remove: bool,
    config: str | None,
    settings: tuple[str, ...],
) -> None:
    """Ask the API to send its events to SOURCE of CONNECTOR, and keep that alive.

    \b
    saasctl webhooks subscribe acme.yaml main --public-url https://hooks.example.com
    saasctl webhooks subscribe acme.yaml main --remove

    Run it once a day where subscriptions end: it makes what is not there, renews what ends soon,
    and else does nothing. What it has made is kept in `subscriptions.json` of the home folder.
    """
    import threading
    from datetime import UTC, datetime

    from tap_saas.client.client import Client
    from tap_saas.client.subscriptions import Kept, Subscriber
    from tap_saas.config import home
    from tap_saas.connector.load import load
    from tap_saas.redact import Redactor
    from tap_saas.report import Report

    given = tap_config(connector, config, settings)
    loaded = load(connector, given.get("settings"))
    found = loaded.connector.webhooks.get(source)
    if found is None or found.subscribe is None:
        able = [name for name, one in loaded.connector.webhooks.items() if one.subscribe]
        do = f"use one of {', '.join(able)}" if able else "say how, with `subscribe:`"
        raise ConfigError(f'no webhook source "{source}" that can be subscribed', do=do)
    if not remove and public_url is None:
        raise ConfigError("--public-url is missing", do="say where the provider reaches us")
    name, redactor = f"{loaded.connector.name}/{source}", Redactor(loaded.secrets)
    with Client(
        loaded.connector,
        loaded.values,
        home=home(given),
        stop=threading.Event(),
        report=Report("subscribe", redactor),
        redactor=redactor,
    ) as client:
        subscriber = Subscriber(
            client, name, found.subscribe, loaded.values, Kept(home(given)),
            lambda: datetime.now(UTC),
        )  # fmt: skip
        base = str(_checked(public_url or "https://none")).rstrip("/")
        did = subscriber.remove() if remove else subscriber.ensure(f"{base}/webhooks/{name}")
    known = subscriber.known
    until = f", until {known.expires:%Y-%m-%d %H:%M:%SZ}" if known and known.expires else ""
    click.echo(f"{name}: {did}{until}")


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


def _checked(public_url: str | None) -> str | None:
    if public_url is not None and not public_url.startswith(("https://", "http://")):
        raise ConfigError(f"--public-url {public_url} is no URL", do="write https://host")
    return public_url


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(
        f"the receiver needs {error.name}", do='install it: pip install "tap-saas[webhooks]"'
    )
