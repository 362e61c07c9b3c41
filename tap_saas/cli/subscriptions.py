"""`saasctl webhooks subscribe`, `expect`, `forget`: subscriptions, and the secrets they bring."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tap_saas.cli.given import checked_url, settings_options, tap_config
from tap_saas.errors import ApiError, ConfigError

if TYPE_CHECKING:
    from tap_saas.client.subscriptions import Subscriber
    from tap_saas.connector.load import Loaded
    from tap_saas.connector.webhook import WebhookSource
    from tap_saas.redact import Redactor
    from tap_saas.webhooks.secret_store import Secret, SecretStore

REQUEST = timedelta(minutes=5)  # the door of a command that was killed stays open so long
LATE_S = 10.0  # so long a secret may come after the answer to the request
POLL_S = 0.1


@click.command()
@click.argument("connector")
@click.argument("source")
@click.option("--public-url", metavar="URL", help="Where the provider reaches the receiver.")
@click.option("--remove", is_flag=True, help="Remove the subscription.")
@settings_options
def subscribe(
    connector: str, source: str, public_url: str | None, remove: bool, **given: Any
) -> None:
    """Ask the API to send its events to SOURCE of CONNECTOR, and keep that alive.

    \b
    saasctl webhooks subscribe acme.yaml main --public-url https://hooks.example.com
    saasctl webhooks subscribe acme.yaml main --remove

    Run it once a day where subscriptions end: it makes what is not there, renews what ends soon,
    and else does nothing. What it has made is kept in `subscriptions.json` of the home folder.

    Where the API sends a secret meanwhile (`store` of a handshake), the receiver must run, with the
    same home folder: it takes one secret for each request that this command makes.
    """
    from tap_saas.connector.load import load

    config = tap_config(connector, **given)
    loaded = load(connector, config.get("settings"))
    form = _subscribable(loaded, source)
    if not remove and public_url is None:
        raise ConfigError("--public-url is missing", do="say where the provider reaches us")
    name = f"{loaded.connector.name}/{source}"
    base = str(checked_url(public_url or "https://none")).rstrip("/")
    with _subscriber(loaded, form, name, config) as (subscriber, lacks_secret):
        if remove:
            did = subscriber.remove()
        else:
            did = subscriber.ensure(f"{base}/webhooks/{name}", anew=lacks_secret)
    known = subscriber.known
    until = f", until {known.expires:%Y-%m-%d %H:%M:%SZ}" if known and known.expires else ""
    click.echo(f"{name}: {did}{until}")


def _subscribable(loaded: Loaded, source: str) -> WebhookSource:
    found = loaded.connector.webhooks.get(source)
    if found is None or found.subscribe is None:
        able = [name for name, one in loaded.connector.webhooks.items() if one.subscribe]
        do = f"use one of {', '.join(able)}" if able else "say how, with `subscribe:`"
        raise ConfigError(f'no webhook source "{source}" that can be subscribed', do=do)
    return found


@contextlib.contextmanager
def _subscriber(
    loaded: Loaded, form: WebhookSource, name: str, config: dict[str, Any]
) -> Iterator[tuple[Subscriber, bool]]:
    """What subscribes, and whether the secret is missing that a subscription brings."""
    import threading

    from tap_saas.client.client import Client
    from tap_saas.client.subscriptions import Kept, Subscriber
    from tap_saas.config import home
    from tap_saas.redact import Redactor
    from tap_saas.report import Report
    from tap_saas.webhooks.secret_store import SecretStore

    folder, redactor = home(config), Redactor(loaded.secrets)
    store = SecretStore(folder)
    more: dict[str, Any] = {}
    lacks_secret = False
    if form.brought:
        more["expecting"] = lambda: _expecting(store, name, redactor)
        has_own = any(one in loaded.values for one in form.brought)
        lacks_secret = not has_own and not store.of(name).secrets
    with Client(
        loaded.connector, loaded.values, home=folder, stop=threading.Event(),
        report=Report("subscribe", redactor), redactor=redactor,
    ) as client:  # fmt: skip
        assert form.subscribe is not None
        yield Subscriber(
            client, name, form.subscribe, loaded.values, Kept(folder), _now, **more
        ), lacks_secret  # fmt: skip


@contextlib.contextmanager
def _expecting(store: SecretStore, source: str, redactor: Redactor) -> Iterator[Callable[[], bool]]:
    """The door of a source for the block; what came through it is withdrawn where that fails."""
    opening = store.open(source, REQUEST, _now())
    is_good = False

    def has_come() -> bool:
        came = _wait(store, source, opening, LATE_S)
        redactor.add(*([] if came is None else [came.text]))
        return came is not None

    try:
        yield has_come
        is_good = True
    except ApiError:
        came = store.of(source).came(opening)
        if came is None:
            what = "no secret came meanwhile: does the receiver run with the same `home`?"
            click.echo(f"{source}: {what}", err=True)
        else:
            redactor.add(came.text)
        raise
    finally:
        store.close(source, opening, withdraw=not is_good)


@click.command()
@click.argument("connector")
@click.argument("source")
@click.option("--for", "period", default="10m", show_default=True, help="How long to wait.")
@click.option("--show", is_flag=True, help="Print the secret, to paste it where it is asked for.")
@settings_options
def expect(connector: str, source: str, period: str, show: bool, **given: Any) -> None:
    """Let the receiver take one secret for SOURCE of CONNECTOR, and wait until it has come.

    For a provider whose subscription is made by hand: begin this, then make the subscription. The
    secret is taken from the first handshake that comes, and kept in `webhook_secrets.json` of the
    home folder, which the receiver must share. Without this command, or `subscribe`, none is taken.
    """
    from tap_saas.config import home
    from tap_saas.connector.units import parse_duration
    from tap_saas.webhooks.secret_store import SecretStore

    try:
        lasts = parse_duration(period)
    except ValueError as error:
        raise ConfigError(f"--for {error}") from error
    config = tap_config(connector, **given)
    name = _bringing(connector, source)
    store = SecretStore(home(config))
    opening = store.open(name, lasts, _now())
    try:
        click.echo(f"{name}: make the subscription now; waiting for {period}", err=True)
        came = _wait(store, name, opening, lasts.total_seconds())
    finally:
        store.close(name, opening)
    if came is None:
        do = "see the receiver's log; it must run with the same `home`"
        raise ApiError(f"no secret came within {period}", where=name, do=do)
    click.echo(f"{name}: the secret {came.setting} has come", err=show)
    if show:
        click.echo(came.text)


@click.command()
@click.argument("connector")
@click.argument("source")
@settings_options
def forget(connector: str, source: str, **given: Any) -> None:
    """Forget the secrets that handshakes of SOURCE of CONNECTOR have brought.

    The receiver refuses events that are signed with one of them from then on.
    """
    from tap_saas.config import home
    from tap_saas.webhooks.secret_store import SecretStore

    name = _bringing(connector, source)
    count = SecretStore(home(tap_config(connector, **given))).forget(name)
    click.echo(f"{name}: {count} secrets forgotten")


def _bringing(connector: str, source: str) -> str:
    """The full name of a source whose handshake brings a secret."""
    from tap_saas.connector.load import outline

    known = outline(connector)
    if source not in known.webhooks or not known.webhooks[source].brought:
        able = [name for name, one in known.webhooks.items() if one.brought]
        do = f"use one of {', '.join(able)}" if able else "say where it is, with `store`"
        raise ConfigError(f'no webhook source "{source}" whose handshake brings a secret', do=do)
    return f"{known.name}/{source}"


def _wait(store: SecretStore, source: str, opening: str, seconds: float) -> Secret | None:
    """What came through a door within that time; raises ApiError where another one was opened."""
    until = time.monotonic() + seconds
    while True:
        held = store.of(source)
        came = held.came(opening)
        if came is not None or time.monotonic() >= until:
            return came
        if held.door is None or held.door.opening != opening:
            raise ApiError("another command waits for the secret now", where=source)
        time.sleep(POLL_S)


def _now() -> datetime:
    return datetime.now(UTC)
