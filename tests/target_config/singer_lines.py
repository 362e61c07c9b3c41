"""Singer messages, and the real target that reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from target_config.settings import target_settings, write_config

EXECUTABLE = Path(sys.executable).with_name("target-postgres")
Process = subprocess.Popen[str]

DATE_TIME = {"type": ["string", "null"], "format": "date-time"}
INTEGER = {"type": ["integer", "null"]}
TEXT = {"type": ["string", "null"]}
NUMBER = {"type": ["number", "null"]}
SDC = (
    "_sdc_extracted_at timestamptz, _sdc_received_at timestamptz, _sdc_batched_at timestamptz,"
    " _sdc_deleted_at timestamptz, _sdc_sequence bigint, _sdc_table_version bigint,"
    " _sdc_sync_started_at bigint"
)
"""The target's own columns, for a table that it need not extend."""


def schema(
    stream: str,
    properties: Mapping[str, Any],
    *,
    key: Iterable[str] = ("id",),
    version: Any = "updated_at",
) -> dict[str, Any]:
    """A SCHEMA message with its version annotated, as the tap writes it."""
    return {
        "type": "SCHEMA",
        "stream": stream,
        "key_properties": list(key),
        "schema": {
            "type": "object",
            "x-version": version,
            "properties": {**properties, "_sdc_deleted_at": DATE_TIME},
        },
    }


def record(stream: str, values: Mapping[str, Any], *, version: int | None = None) -> dict[str, Any]:
    """A RECORD message; `version` is that of a full pass."""
    message = {"type": "RECORD", "stream": stream, "record": dict(values)}
    return message if version is None else {**message, "version": version}


class Target:
    """The real target-postgres as processes on one database, with the settings that we ship."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._started = 0

    def start(self, messages: Iterable[Mapping[str, Any]], **settings: Any) -> Process:
        """Start a process that reads these messages; `settings` beat ours."""
        self._started += 1
        config = self._folder / f"target-{self._started}.json"
        write_config(config, target_settings(self._url, settings=settings))
        lines = self._folder / f"lines-{self._started}.jsonl"
        lines.write_text("".join(json.dumps(message) + "\n" for message in messages))
        with lines.open() as source:
            return subprocess.Popen(
                [str(EXECUTABLE), "--config", str(config)],
                stdin=source,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )

    def run(self, messages: Iterable[Mapping[str, Any]], **settings: Any) -> None:
        """Run a process to its end; it must succeed."""
        finish(self.start(messages, **settings))


def finish(process: Process) -> None:
    """Wait for a process of the target; it must succeed."""
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told[-3000:]
