"""A process's edge: every failure is one line and an exit code, never a bare traceback."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import IO, Any

import click

from tap_saas.errors import ConfigError, TapSaasError, TargetError
from tap_saas.redact import mask_known, shortened

log = logging.getLogger(__name__)
SIGINT_EXIT = 130


def guarded(work: Callable[[], Any], name: str) -> int:
    """Run `work`; the exit code of the process. An integer that it gives is the code."""
    try:
        return _judged(work, name)
    finally:
        # Here, not by the interpreter: what it cannot write changes the exit code, and while it
        # ends a second signal would cut a line.
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)


def _judged(work: Callable[[], Any], name: str) -> int:
    try:
        _open_streams()
        result = work()
        sys.stdout.flush()
    except TapSaasError as error:
        _tell(name, str(error))
        return error.exit_code
    except click.Abort:
        return SIGINT_EXIT
    except click.exceptions.NoArgsIsHelpError as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{error.format_message()}\n")
        return ConfigError.exit_code
    except click.ClickException as error:
        _tell(name, f"{error.format_message()} (see {_command(error, name)} --help)")
        return ConfigError.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(name, f"{where}{error.strerror or error}; free some space, or mend the permissions")
        return ConfigError.exit_code
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


def _command(error: click.ClickException, name: str) -> str:
    """The command that was called wrongly, such as `saasctl queue peek`."""
    called: list[str] = []
    context = error.ctx if isinstance(error, click.UsageError) else None
    while context is not None and context.parent is not None:
        called.insert(0, context.info_name or "")
        context = context.parent
    return " ".join([name, *called])


def _open_streams() -> None:
    """Put a stream that nobody reads in place of a closed stderr; refuse a closed stdout.

    Else a file that is opened would be number 1 or 2, where libraries write their complaints.
    """
    is_closed = sys.stdout is None
    if is_closed:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for good
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for good
    if is_closed:
        raise TargetError("standard output is closed", do="give it a pipe or a file")


def _tell(name: str, text: str) -> None:
    with contextlib.suppress(OSError):
        for line in shortened(mask_known(text)).splitlines():
            sys.stderr.write(f"{name}: {line}\n")


def _let_go(stream: IO[str]) -> None:
    """Write what is buffered; where that cannot be, throw it away."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
