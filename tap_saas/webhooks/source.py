"""The sources that a receiver takes events for, each with the settings of its connector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from tap_saas.connector.bind import names_in, secrets
from tap_saas.connector.exchange import written
from tap_saas.connector.handshake import Handshake, first_fit
from tap_saas.connector.incoming import ArrivedIn, SignedRequest, as_bytes
from tap_saas.connector.load import locate, outline
from tap_saas.connector.model import Connector
from tap_saas.connector.proof import Several
from tap_saas.connector.reading import Reading
from tap_saas.connector.webhook import WebhookSource
from tap_saas.errors import ConfigError, ConnectorError

UNKEPT = frozenset({"authorization", "cookie", "proxy-authorization"})
LONGEST_ID = 200  # letters; of a longer one a digest is kept


class Source(msgspec.Struct, frozen=True, dict=True):
    """One address: `name` is `<connector>/<source>`.

    `blank` says why a part of it is made up, None where nothing is; `has_url` whether the public
    URL is known.
    """

    name: str
    form: WebhookSource
    values: Mapping[str, Any]
    blank: str | None = None
    has_url: bool = False

    @cached_property
    def unready(self) -> str | None:
        """Why nothing can be verified here, None where all is there."""
        return self.blank or _unready(self.form, self.values, has_url=self.has_url)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """What may be sent here: events by POST, handshakes as they say."""
        return tuple(dict.fromkeys(["POST", *(one.method for one in self.form.handshake)]))

    def with_secrets(self, brought: Mapping[str, Sequence[str]]) -> Source:
        """The source with the secrets that handshakes have brought for these settings.

        What a setting has already stays the first; a secret that is not written as `key` says is
        left out.
        """
        values = dict(self.values)
        for name, texts in brought.items():
            known = values.get(name)
            own = known if isinstance(known, Several) else [] if known is None else [written(known)]
            good = [text for text in texts if self.takes(name, text)]
            values |= {name: Several([*own, *good])} if own or good else {}
        return msgspec.structs.replace(self, values=values)

    def takes(self, setting: str, secret: str) -> bool:
        """Whether the signature can be checked with this value of a setting."""
        try:
            return bool(self.form.signature.keys({**self.values, setting: secret}))
        except ValueError:
            return False

    def bringing(self, request: SignedRequest) -> Handshake | None:
        """The handshake that this request is, where it is one that brings a secret."""
        if not self.form.brought:
            return None
        found = first_fit(self.form.handshake, request)
        return found if found is not None and found.store is not None else None

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
        hidden = UNKEPT | {place.name.lower() for place in self._bearing}
        return {name: value for name, value in request.headers.items() if name not in hidden}

    def kept_query(self, query: str) -> str:
        """The query without the parameters that hold a secret."""
        hidden = {place.name for place in self._bearing if place.kind == "param"}
        if not hidden:
            return query
        pairs = query.split("&")
        return "&".join(one for one in pairs if unquote_plus(one.partition("=")[0]) not in hidden)

    @cached_property
    def _bearing(self) -> tuple[ArrivedIn, ...]:
        """Where a request may hold a secret."""
        stores = [one.store.take for one in self.form.handshake if one.store is not None]
        bears = self.form.signature.bears
        return (*stores, *([] if bears is None else [bears]))


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
    has_url = public_url is not None
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
            full, blank = f"{connector.name}/{name}", _unset(reading, connector, name)
            sources[full] = Source(full, form, values, blank=blank, has_url=has_url)
    if unknown:
        what = f"no connector has the setting {', '.join(sorted(unknown))}"
        raise ConfigError(what, do="correct the name")
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


def _unready(form: WebhookSource, values: Mapping[str, Any], *, has_url: bool) -> str | None:
    has_come = any(name in values for name in form.brought)
    if form.brought and not has_come and form.signature.unready(values) is not None:
        names = " and ".join(form.brought)
        return f"no handshake has brought {names}: run saasctl webhooks subscribe or expect"
    own = [one.require for one in form.handshake if one.require is not None]
    for signature in (form.signature, *own):
        why = signature.unready(values)
        if why is None and signature.needs_url and not has_url:
            why = "the URL is signed, so the receiver needs --public-url"
        if why is not None:
            return why
    if any(one.needs_secret for one in form.handshake) and not form.signature.keys(values):
        return "a handshake is answered with a secret, and the signature has none"
    return None


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
