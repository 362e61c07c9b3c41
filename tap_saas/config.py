"""The tap's settings: their JSON Schema, and one clear line for each that is wrong."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema

from tap_saas.connector.formats import read_instant
from tap_saas.connector.units import parse_duration
from tap_saas.errors import ConfigError

HOME_VARIABLE = "TAP_SAAS_HOME"
FEEDS = ("pull", "events", "webhooks")
DEFAULT_PARALLEL = 4
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["connector"],
    "properties": {
        "connector": {
            "type": "string",
            "title": "Connector",
            "description": "A connector file (with a / or ending in .yaml), or a bundled name.",
        },
        "settings": {
            "type": "object",
            "title": "Settings of the connector",
            "description": "Values for the connector's settings. Secrets belong into the "
            "environment variables that the connector names with `env`.",
        },
        "start_date": {
            "type": "string",
            "format": "date-time",
            "title": "Start date",
            "description": "Where a first incremental pass begins (RFC 3339, or a date).",
        },
        "home": {
            "type": "string",
            "title": "Home",
            "description": "The folder for tokens, budgets and learnt schemas. "
            f"Default: the variable {HOME_VARIABLE}, else .tap-saas in the working directory.",
        },
        "budget_store": {
            "type": "string",
            "secret": True,
            "title": "Store of budgets",
            "description": "Where runs on several machines share their budgets: postgresql://... "
            "Default: a file in the home folder, for the runs of one machine.",
        },
        "feeds": {
            "type": "array",
            "items": {"enum": list(FEEDS)},
            "minItems": 1,
            "default": list(FEEDS),
            "title": "Feeds",
            "description": "Where this run takes records from: pull (the lists), events (the "
            "event logs), webhooks (the queue).",
        },
        "queue": {
            "type": "string",
            "title": "Queue",
            "description": "The queue of the webhook receiver: a file or postgresql://... "
            "Default: queue.db in the home folder.",
        },
        "consumer": {
            "type": "string",
            "default": "main",
            "title": "Consumer",
            "description": "Who reads the queue, one of the source's `consumers`; each has a "
            "state of its own.",
        },
        "max_duration": {
            "type": "string",
            "title": "Longest run",
            "description": "End the run after this time (such as 30m), resumably.",
        },
        "max_requests": {
            "type": "integer",
            "minimum": 1,
            "title": "Most requests",
            "description": "End the run after this number of requests, resumably.",
        },
        "parallel": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "default": DEFAULT_PARALLEL,
            "title": "Side by side",
            "description": "How many partitions, windows or children of a stream are read at a "
            "time, within the budgets.",
        },
        "max_partitions": {
            "type": "integer",
            "minimum": 1,
            "default": 5000,
            "title": "Most partitions",
            "description": "Most partitions of a stream that may have a bookmark of their own.",
        },
        "emit_rejects": {
            "type": "boolean",
            "default": True,
            "title": "Emit rejects",
            "description": "Keep bad records in the stream _rejects. Off, they are only counted.",
        },
        "emit_runs": {
            "type": "boolean",
            "default": True,
            "title": "Emit runs",
            "description": "Leave a row for each run and stream in the stream _runs.",
        },
        "progress": {
            "type": "boolean",
            "default": True,
            "title": "Progress",
            "description": "Show how far the run is: live on a terminal, else a log line a minute.",
        },
        "partial_exit": {
            "type": "integer",
            "default": 0,
            "title": "Exit code of a planned end",
            "description": "The exit code of a run that a limit ended.",
        },
    },
}
# Whoever mistakes their place or type may have put a secret there.
_HELD_BACK = {"settings": "an object", "queue": "a text", "budget_store": "a text"}
_SDK_KEYS = {
    "stream_maps", "stream_map_config", "faker_config", "flattening_enabled",
    "flattening_max_depth", "flattening_max_key_length", "flattening_separator",
    "flattening_custom_separator",
}  # fmt: skip


def check(config: Mapping[str, Any], schema: Mapping[str, Any] = SCHEMA) -> None:
    """Refuse settings that are unknown or wrong, all of them at once.

    `schema` may say of the SDK's own settings, too, what they are.

    Raises:
        ConfigError: one line for each.
    """
    lines = [_unknown(name) for name in config.keys() - SCHEMA["properties"].keys() - _SDK_KEYS]
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(dict(config)), key=lambda e: list(map(str, e.path))):
        where = ".".join(map(str, error.path))
        if error.validator == "required":
            lines.append(
                "connector is missing; name a connector file or a bundled connector "
                "(to try one, `saasctl demo up` and connector: sandbox)"
            )
        else:
            lines.append(f"{where}: {_words(error)}")
    lines += [f"{name}: {what}" for name, what in _unreadable(config)]
    if lines:
        raise ConfigError("\n".join(f"config: {line}" for line in lines))


def _words(error: jsonschema.ValidationError) -> str:
    """What is wrong with a value; what may hold a secret is not shown."""
    wanted = _HELD_BACK.get(str(error.path[0])) if error.path else None
    return str(error.message) if wanted is None else f"it is not {wanted}"


def _unreadable(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts that mean nothing, and why."""
    for name, read in (("max_duration", parse_duration), ("start_date", read_instant)):
        if isinstance(config.get(name), str):
            try:
                read(config[name])
            except ValueError as error:
                yield name, str(error)
    for name in ("connector", "home", "queue", "budget_store", "consumer"):
        if "\0" in str(config.get(name)):
            yield name, "it holds a NUL"


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, SCHEMA["properties"], 1)
    hint = (
        f'did you mean "{close[0]}"?' if close else 'settings of the connector go under "settings"'
    )
    return f'unknown key "{name}"; {hint}'


def secrets(config: Mapping[str, Any]) -> list[str]:
    """The passwords in the URLs of the settings, as they are written and as they are meant."""
    found = []
    for name in ("budget_store", "queue"):
        with suppress(ValueError):
            parts = urlsplit(config.get(name) or "")
            found += [parts.password or "", *parse_qs(parts.query).get("password", [])]
    return [text for word in found for text in {word, unquote(word)} if text]


def home_path(config: Mapping[str, Any]) -> Path:
    """The folder for what the tap keeps, whether it is there or not."""
    return Path(config.get("home") or os.environ.get(HOME_VARIABLE) or ".tap-saas")


def home(config: Mapping[str, Any]) -> Path:
    """The folder for what the tap keeps, made with mode 0700."""
    folder = home_path(config)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be made ({error.strerror})", do="set home to one that can"
        ) from error
    return folder
