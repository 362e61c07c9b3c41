"""The sources that a receiver takes events for, each with the settings of its connector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from tap_saas.connector.bind import names_in, secrets
from tap_saas.connector.incoming import SignedRequest, as_bytes
from tap_saas.connector.load import locate, outline
from tap_saas.connector.model import Connector
from tap_saas.connector.reading import Reading
from tap_saas.connector.webhook import WebhookSource
from tap_saas.errors import ConfigError, ConnectorError

UNKEPT = frozenset({"authorization", "cookie", "proxy-authorization"})
LONGEST_ID = 200  # letters; of a longer one a digest is kept


class Source(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One address: `name` is `<connector>/<source>`.

    `unready` says why nothing can be verified here, None where all is there.
    """

    name: str
    form: WebhookSource
    values: Mapping[str, Any]
    unready: str | None = None

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """What may be sent here: events by POST, handshakes as they say."""
        return tuple(dict.fromkeys(["POST", *(one.method for one in self.form.handshake)]))

    def event_id(self, request: SignedRequest) -> str | None:
        """What names the event, so that it is kept once; None where nothing does.

        An id that the connector names and this request lacks is replaced by a digest of the body
        and the signed time: without a time two events might be taken for one.
        """
        found = self.form.event_id(request)
        if found is None and self.form.id is not None:
            at = self.form.signature.signed_at(request)
            if at is not None:
                found = _digest(self.name.encode(), as_bytes(at), request.body)
        if found is None or len(found) <= LONGEST_ID:
            return found
        return _digest(found.encode("utf-8", "surrogatepass"))

    def kept_headers(self, request: SignedRequest) -> dict[str, str]:
        """The headers without those that hold a secret."""
        bears = self.form.signature.bears
        hidden = UNKEPT if bears is None else UNKEPT | {bears.name.lower()}
        return {name: value for name, value in request.headers.items() if name not in hidden}

    def kept_query(self, query: str) -> str:
        """The query without the parameter that holds a secret."""
        bears = self.form.signature.bears
        if bears is None or bears.kind != "param":
            return query
        pairs = query.split("&")
        return "&".join(one for one in pairs if unquote_plus(one.partition("=")[0]) != bears.name)


def load_sources(
    connectors: Sequence[str],
    settings: Mapping[str, Any],
    env: Mapping[str, str],
    public_url: str | None,
) -> tuple[dict[str, Source], list[str]]:
    """The sources of these connectors by name, and the secrets to mask.

    A setting is given to each connector that has one of its name. A source whose settings are
    missing is there all the same, as not ready.

    Raises:
        ConnectorError: a file has mistakes; it holds all of them.
        ConfigError: no source, two connectors of one name, or a setting that nobody has.
    """
    sources: dict[str, Source] = {}
    masked: list[str] = []
    unknown, names = set(settings), set()
    for path in connectors:
        known = outline(path).settings
        given = {name: value for name, value in settings.items() if name in known}
        unknown -= given.keys()
        reading = Reading(locate(path), given, env)
        connector = _read(reading)
        values = {k: v for k, v in reading.values.values.items() if k not in reading.values.samples}
        if connector.name in names:
            do = "give one another name"
            raise ConfigError(f'two connectors are called "{connector.name}"', do=do)
        names.add(connector.name)
        masked += secrets(connector.settings, values)
        for name, form in connector.webhooks.items():
            why = _unset(reading, connector, name) or _unready(form, values, public_url)
            full = f"{connector.name}/{name}"
            sources[full] = Source(name=full, form=form, values=values, unready=why)
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise ConfigError(f"no connector has the setting {listed}", do="correct the name")
    if not sources:
        raise ConfigError("these connectors have no webhooks", do="add `webhooks:` to one")
    return sources, masked


def _read(reading: Reading) -> Connector:
    """The connector; settings that only requests to the API need may be missing."""
    connector = reading.connector()
    mistakes = reading.findings.mistakes
    errors = [str(mistake) for mistake in mistakes if mistake.level == "error"]
    if errors:
        raise ConnectorError(errors)
    if reading.values.problems:
        raise ConfigError("\n".join(reading.values.problems))
    assert connector is not None, "what has no mistakes can be read"
    return connector


def _unset(reading: Reading, connector: Connector, name: str) -> str | None:
    """Why a part of the source itself is made up: a plain setting without a value is in it."""
    own = reading.source.value["webhooks"][name]
    used = names_in({key: value for key, value in own.items() if key != "routes"})
    settings = connector.settings
    plain = {one for one in used & settings.keys() if not settings[one].secret}
    blank = sorted(plain & reading.values.samples)
    return f"the setting {' and '.join(blank)} has no value" if blank else None


def _unready(form: WebhookSource, values: Mapping[str, Any], public_url: str | None) -> str | None:
    own = [one.require for one in form.handshake if one.require is not None]
    for signature in (form.signature, *own):
        why = signature.unready(values)
        if why is None and signature.needs_url and public_url is None:
            why = "the URL is signed, so the receiver needs --public-url"
        if why is not None:
            return why
    if any(one.needs_secret for one in form.handshake) and not form.signature.keys(values):
        return "a handshake is answered with a secret, and the signature has none"
    return None


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
