"""Letting the real target make and extend its tables, by SCHEMA lines alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from target_config.errors import TargetConfigError
from target_config.settings import write_config

TIMEOUT_S = 300

_LAST_WORD = re.compile(r"^[\w.]+(?:Error|Exception)\w*: (?:\([\w.]+\) )?(.+)$")


def send_schemas(
    executable: str, settings: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]
) -> None:
    """Run the target with these SCHEMA messages and no record.

    Raises: `TargetConfigError` when it is not installed, or with its own last word when it fails.
    """
    lines = "".join(f"{json.dumps({**message, 'type': 'SCHEMA'})}\n" for message in messages)
    with tempfile.TemporaryDirectory(prefix="tap-saas-") as folder:
        config = write_config(Path(folder) / "target-postgres.json", settings)
        try:
            done = subprocess.run(  # noqa: S603 - the executable is the user's own choice
                [_find(executable), "--config", str(config)],
                input=lines,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise TargetConfigError(
                f"{executable} did not make its tables within {TIMEOUT_S} s",
                "see what locks them in pg_stat_activity, then run this again",
            ) from None
    if done.returncode:
        reason = _last_word(done.stderr)
        raise TargetConfigError(
            f"{executable} could not make its tables: {reason}",
            "GRANT CREATE on the schema (or the database), or run this as the owner"
            if "permission denied" in reason or "must be owner" in reason
            else "solve that, and run this again",
        )


def _find(executable: str) -> str:
    """Return the path of the target: as named, on PATH, or beside this Python."""
    beside = Path(sys.executable).parent / executable
    found = shutil.which(executable) or (str(beside) if beside.exists() else None)
    if found is None:
        raise TargetConfigError(
            f"the target {executable} is not installed",
            "install the package meltanolabs-target-postgres (pip install 'tap-saas[postgres]')",
        )
    return found


def _last_word(stderr: str) -> str:
    """Return the message of a traceback's last exception, without the names of classes."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in reversed(lines):
        match = _LAST_WORD.match(line)
        if match:
            return match.group(1)
    return lines[-1] if lines else "no reason given"
