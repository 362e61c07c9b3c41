"""A connector to explain: read without its secrets; a setting without a value is its own name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tap_saas.connector.load import locate
from tap_saas.connector.model import Connector, Setting, Stream
from tap_saas.connector.reading import Reading
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.template import Placeholder, Template
from tap_saas.errors import ConfigError, ConnectorError

_URLS = ("base_url", "token_url", "path")
_AT_ITS_BEGINNING = re.compile(r"\{([A-Za-z_]\w*)\}")
_TOKEN_FIELD = re.compile(r"\{token\.([\w.-]+)")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A connector and values for its settings, among them no secret.

    `missing` are the settings that a run needs and that have no value yet, `warnings` what the
    check of the file has to say.
    """

    connector: Connector
    values: Mapping[str, Any]
    missing: list[str]
    warnings: list[str]

    def chosen(self, name: str | None) -> list[Stream]:
        """The stream of that name, all of them for None.

        Raises: `ConfigError` for an unknown name.
        """
        streams = self.connector.streams
        if name is None:
            return list(streams.values())
        if name not in streams:
            raise ConfigError(f'no stream "{name}"', do=f"use one of {', '.join(streams)}")
        return [streams[name]]


def read(source: str, given: Mapping[str, Any]) -> Subject:
    """Read a connector; `given` are settings that the user has set.

    Raises:
        ConnectorError: the file has mistakes; it holds all of them.
        ConfigError: there is no such connector, or a setting is wrong.
    """
    path = locate(source)
    outline = Reading(path, {}, {}, sample_all=True)
    settings, urls = outline.settings, _urls(outline.source.value)
    missing = [
        name
        for name, setting in settings.items()
        if setting.is_required and not _is_set(setting, given.get(name))
    ]
    shown = {
        name: f"https://{{{name}}}" if name in urls else f"{{{name}}}"
        for name, setting in settings.items()
        if name in missing or (setting.secret and _is_set(setting, given.get(name)))
    }
    free = {name: text for name, text in shown.items() if _is_free(settings[name])}
    public = {n: v for n, v in given.items() if n not in settings or not settings[n].secret}
    reading = Reading(path, {**public, **free}, _without_secrets(settings))
    connector = reading.connector()
    mistakes = reading.findings.mistakes
    if errors := [str(mistake) for mistake in mistakes if mistake.level == "error"]:
        raise ConnectorError(errors)
    if reading.values.problems:
        raise ConfigError("\n".join(reading.values.problems))
    assert connector is not None, "what has no mistakes can be read"
    values = reading.values.values
    secret = {n: f"{{{n}}}" for n in values if n in settings and settings[n].secret}
    return Subject(
        connector=connector,
        values={**values, **secret, **{n: t for n, t in free.items() if n in urls}},
        missing=missing,
        warnings=[str(mistake) for mistake in mistakes if mistake.level == "warning"],
    )


def token_fields(form: RequestForm) -> dict[str, Any]:
    """What stands for the fields of an OAuth answer that a request needs (`{token.FIELD}`)."""
    body = form.body
    parts = [form.path, form.base_url, form.params.tree, form.headers]
    parts += [body.json, body.form, body.text] if body else []
    found = {name for part in parts for name in _TOKEN_FIELD.findall(str(part))}
    fields: dict[str, Any] = {}
    for name in found:
        holder = fields
        *way, last = name.split(".")
        for step in way:
            holder = holder.setdefault(step, {})
        is_url = form.base_url is not None and _begins_with(form.base_url, f"token.{name}")
        holder[last] = f"https://{{token.{name}}}" if is_url else f"{{token.{name}}}"
    return fields


def _without_secrets(settings: Mapping[str, Setting]) -> dict[str, str]:
    """The environment without the variables of secret settings."""
    secret = {setting.env for setting in settings.values() if setting.secret}
    return {name: value for name, value in os.environ.items() if name not in secret}


def _is_set(setting: Setting, given: Any) -> bool:
    return given not in (None, "") or bool(setting.env and os.environ.get(setting.env))


def _is_free(setting: Setting) -> bool:
    """Whether its own name in braces may stand for its value."""
    return setting.type == "string" and setting.enum is None and setting.pattern is None


def _urls(raw: Any, key: str = "") -> set[str]:
    """The settings that a URL of the file begins with."""
    if isinstance(raw, dict):
        return set[str]().union(*(_urls(value, name) for name, value in raw.items()))
    if isinstance(raw, list):
        return set[str]().union(*(_urls(item, key) for item in raw))
    found = _AT_ITS_BEGINNING.match(raw) if isinstance(raw, str) and key in _URLS else None
    return {found[1]} if found else set()


def _begins_with(template: Template, name: str) -> bool:
    first = template.parts[0] if template.parts else ""
    return isinstance(first, Placeholder) and first.name == name
