"""From a connector file and a user's settings to a connector that can run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tap_saas.connector.bind import secrets
from tap_saas.connector.mistake import LineMap, Mistake, alternatives
from tap_saas.connector.model import Connector
from tap_saas.connector.reading import Reading
from tap_saas.errors import ConfigError, ConnectorError

LIBRARY = Path(__file__).parent.parent / "library"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A connector that can run.

    `values` are the settings that have a value, secrets included; `secrets` are the texts to mask.
    `unfinished` are the streams that still lack their pagination.
    """

    connector: Connector
    values: dict[str, Any]
    secrets: list[str]
    path: Path
    lines: LineMap
    warnings: list[Mistake] = []
    unfinished: list[str] = []


def load(
    source: str | Path,
    settings: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    unfinished: bool = False,
) -> Loaded:
    """Read a connector, by path or bundled name, for a run with these settings.

    With `unfinished` a stream may still lack its pagination: one page of it can be looked at.

    Raises:
        ConnectorError: the file has mistakes; it holds all of them.
        ConfigError: there is no such connector, or settings are missing or wrong.
    """
    known_env = os.environ if env is None else env
    reading = Reading(locate(source), settings or {}, known_env, unfinished=unfinished)
    connector = reading.connector()
    mistakes = reading.findings.mistakes
    problems = reading.problems()
    _raise_errors(mistakes)
    if problems:
        raise ConfigError("\n".join(problems))
    assert connector is not None, "what has no mistakes can be read"
    known = reading.values
    values = {name: value for name, value in known.values.items() if name not in known.samples}
    return Loaded(
        connector=connector,
        values=values,
        secrets=secrets(connector.settings, values),
        path=reading.source.path,
        lines=reading.source.lines,
        warnings=[mistake for mistake in mistakes if mistake.level == "warning"],
        unfinished=reading.unfinished,
    )


def outline(source: str | Path) -> Connector:
    """The connector whatever settings a user may give, with made-up values where it needs some.

    Raises:
        ConnectorError: the file has mistakes; it holds all of them.
        ConfigError: there is no such connector.
    """
    reading = Reading(locate(source), {}, {}, sample_all=True)
    connector = reading.connector()
    _raise_errors(reading.findings.mistakes)
    assert connector is not None, "what has no mistakes can be read"
    return connector


def locate(source: str | Path) -> Path:
    """The file of a connector: a path (with `/`, or ending with .yaml) or a bundled name.

    Raises: `ConfigError` for an unknown name.
    """
    text = str(source)
    separators = {"/", os.sep}
    if isinstance(source, Path) or text.endswith((".yaml", ".yml")) or separators & set(text):
        return Path(source).expanduser()
    known = bundled()
    if text in known:
        return LIBRARY / f"{text}.yaml"
    do = alternatives(text, known) or "give the path of a file, such as ./connector.yaml"
    if Path(f"{text}.yaml").is_file():
        do = f'did you mean "{text}.yaml"?'
    raise ConfigError(f'there is no bundled connector "{text}"', do=do)


def bundled() -> list[str]:
    """The names of the connectors that come with the tap."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def _raise_errors(mistakes: list[Mistake]) -> None:
    errors = [str(mistake) for mistake in mistakes if mistake.level == "error"]
    if errors:
        raise ConnectorError(errors)
