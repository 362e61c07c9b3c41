"""`tap-saas | target-postgres | saasctl state save`: three processes, as a shell starts them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

from tap_saas.errors import TargetError

COMMANDS = (
    "tap-saas --config tap.json --state state.json",
    "target-postgres --config target.json --config ENV",
    "saasctl state save state.json",
)
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.01


class Ended(NamedTuple):
    """How the pipe ended: the exit codes as a shell says them, and the tap's log."""

    codes: tuple[int, int, int]
    log: list[str]


def run(
    folder: Path, environment: Mapping[str, str], kill_when: Callable[[], bool] | None = None
) -> Ended:
    """Run the pipe in a folder to its end; the tap gets SIGKILL once `kill_when` is true.

    Raises:
        TargetError: a process did not end within two minutes; all are gone then.
    """
    until = time.monotonic() + PATIENCE_S
    with ExitStack() as stack:
        children: list[subprocess.Popen[bytes]] = []
        source: IO[bytes] | None = None
        for command in COMMANDS:
            child = _start(command, folder, environment, source)
            stack.callback(_end, child)
            if source is not None:
                source.close()
            source = child.stdout
            children.append(child)
        if kill_when is not None:
            _kill(children[0], kill_when, until)
        codes = [_wait(child, until) for child in children]
    tap, target, keeper = (code if code >= 0 else 128 - code for code in codes)
    return Ended((tap, target, keeper), log_of(folder, "tap-saas"))


def log_of(folder: Path, program: str) -> list[str]:
    """What a program of the pipe has written to stderr, METRIC lines left out."""
    text = (folder / f"{program}.log").read_text(errors="replace")
    return [line for line in text.splitlines() if "METRIC" not in line]


def beside(name: str) -> str:
    """The command beside this Python, else on the PATH."""
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else shutil.which(name) or name


def _start(
    command: str, folder: Path, environment: Mapping[str, str], source: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    program, *arguments = command.split()
    is_last = command == COMMANDS[-1]
    with (folder / f"{program}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own commands, no shell
            [beside(program), *arguments],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL if source is None else source,
            stdout=subprocess.DEVNULL if is_last else subprocess.PIPE,
            stderr=log,
        )


def _kill(tap: subprocess.Popen[bytes], kill_when: Callable[[], bool], until: float) -> None:
    while tap.poll() is None and time.monotonic() < until:
        if kill_when():
            tap.kill()
            return
        time.sleep(LOOK_EVERY_S)


def _wait(child: subprocess.Popen[bytes], until: float) -> int:
    try:
        return child.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"the pipe did not end within {PATIENCE_S:.0f} s") from error


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
