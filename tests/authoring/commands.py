"""`saasctl` within the test's process, as its entry point runs it."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from tap_saas.cli import cli
from tap_saas.process import guarded


class Told(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def saasctl(*arguments: str, folder: Path | None = None, **env: str) -> Told:
    """Run a command in a folder, with these variables besides."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder or Path.cwd()),
        patch.dict(os.environ, {"COLUMNS": "200", **env}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = guarded(lambda: cli(list(arguments), standalone_mode=False), "saasctl")
    return Told(code, out.getvalue(), err.getvalue())
