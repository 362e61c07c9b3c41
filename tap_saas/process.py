"""A process's edge: every failure is one line and an exit code, never a bare traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from tap_saas.errors import TapSaasError

log = logging.getLogger(__name__)
SIGINT_EXIT = 130


def guarded(work: Callable[[], Any], name: str) -> int:
    """Run `work`; the exit code of the process. An integer that it gives is the code."""
    try:
        result = work()
    except TapSaasError as error:
        _tell(name, str(error))
        _let_go_of_stdout()
        return error.exit_code
    except click.Abort:
        return SIGINT_EXIT
    except click.ClickException as error:
        _tell(name, f"{error.format_message()} (see {name} --help)")
        return 2
    except BrokenPipeError:
        _let_go_of_stdout()
        return 0
    except KeyboardInterrupt:
        return SIGINT_EXIT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        log.debug("trace of the failure", exc_info=True)
        what = str(error).splitlines()[0] if str(error) else ""
        _tell(
            name, f"internal error: {type(error).__name__}: {what}; LOGLEVEL=DEBUG shows the trace"
        )
        return 1
    return result if isinstance(result, int) else 0


def _tell(name: str, text: str) -> None:
    for line in text.splitlines():
        sys.stderr.write(f"{name}: {line}\n")


def _let_go_of_stdout() -> None:
    """Nothing more can be written: the interpreter's own flush at exit would complain."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
