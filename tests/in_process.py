"""The commands in this process, behind the same edge as a process has: fast enough to fuzz."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from singer_output import Done

from tap_saas import cli, tap
from tap_saas.process import guarded

CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9})
"""The documented codes of runs that nobody stops: 1 would be a mistake of ours."""
LONGEST_LINE = 4_200
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stream(io.TextIOWrapper):
    """A standard stream that is kept in memory."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding="utf-8", errors="backslashreplace", write_through=True)

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def run_tap(*arguments: object, environment: Mapping[str, str] | None = None) -> Done:
    """`tap-saas` with these arguments."""
    return _run(tap.main, "tap-saas", arguments, environment or {})


def run_saasctl(*arguments: object, environment: Mapping[str, str] | None = None) -> Done:
    """`saasctl` with these arguments."""
    return _run(lambda: cli.cli(standalone_mode=False), "saasctl", arguments, environment or {})


def _run(
    work: Callable[[], Any], name: str, arguments: Sequence[object], environment: Mapping[str, str]
) -> Done:
    out, told = _Stream(), _Stream()
    with _as_process(name, arguments, environment, out, told):
        code = guarded(work, name)
    return Done(code, out.kept.getvalue(), told.kept.getvalue().decode())


@contextlib.contextmanager
def _as_process(
    name: str,
    arguments: Sequence[object],
    environment: Mapping[str, str],
    out: _Stream,
    told: _Stream,
) -> Iterator[None]:
    """All that a process has for itself, put back afterwards."""
    streams, argv, hook = (sys.stdout, sys.stderr), sys.argv, sys.excepthook
    signals = {number: signal.getsignal(number) for number in SIGNALS}
    known = dict(os.environ)
    with warnings.catch_warnings(), _logging():
        warnings.simplefilter("default")
        sys.stdout, sys.stderr, sys.argv = out, told, [name, *map(str, arguments)]
        os.environ.update(environment)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            sys.argv, sys.excepthook = argv, hook
            os.environ.clear()
            os.environ.update(known)
            for number, handler in signals.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False


def lines_of(done: Done) -> list[str]:
    """The lines by which a command says what is wrong."""
    return [line for line in done.told.splitlines() if re.match("(tap-saas|saasctl): ", line)]


def assert_honest(done: Done, *secrets: str) -> None:
    """A documented code, lines that say why where it is not 0, no trace, no secret."""
    assert done.code in CODES, (done.code, done.told[-3_000:])
    for bad in ("Traceback", "internal error", "Logging error", "Exception ignored"):
        assert bad not in done.told, done.told[-3_000:]
    lines = lines_of(done)
    assert bool(lines) == bool(done.code), done.told[-3_000:]
    assert all(len(line) <= LONGEST_LINE for line in lines)
    for secret in secrets:
        assert secret.encode() not in done.out, (secret, done.out[:3_000])
        assert secret not in done.told, (secret, done.told[-3_000:])
