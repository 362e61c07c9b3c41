"""All mistakes of a connector file at once, whatever settings a user may give."""

from __future__ import annotations

from pathlib import Path

from tap_saas.connector.load import locate
from tap_saas.connector.mistake import Mistake
from tap_saas.connector.reading import Reading

__all__ = ["Mistake", "check"]


def check(source: str | Path) -> list[Mistake]:
    """Mistakes and warnings by line; no setting is asked for, as each is given a value.

    Raises:
        ConfigError: there is no such connector.
        ConnectorError: the file is not YAML.
    """
    reading = Reading(locate(source), {}, {}, sample_all=True)
    reading.connector()
    return reading.findings.mistakes
