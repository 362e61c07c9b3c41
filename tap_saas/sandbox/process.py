"""The sandbox as a child process: start it and know when it listens, stop it by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

_children: dict[int, subprocess.Popen[bytes]] = {}


class SandboxError(RuntimeError):
    """The sandbox did not start; one line that says why."""


class Running(NamedTuple):
    """A sandbox that listens."""

    url: str
    pid: int


def start(
    *,
    port: int = 0,
    seed: int = 7,
    customers: int = 300,
    orders: int = 1_000,
    events: int = 5_000,
    ready_file: Path | None = None,
    timeout_s: float = 60.0,
) -> Running:
    """Start a sandbox in a session of its own and wait until it listens.

    It outlives this process unless `stop` is called. Raises: SandboxError when it ends or is not
    ready in time; nothing is left running then.
    """
    sizes = {"port": port, "seed": seed, "customers": customers, "orders": orders, "events": events}
    command = [sys.executable, "-m", "tap_saas.sandbox"]
    command += [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    if ready_file is not None:
        command += ["--ready-file", str(ready_file)]
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )
        _children[child.pid] = child
        assert child.stdout is not None
        with child.stdout:
            line = _read_line(child.stdout, time.monotonic() + timeout_s)
        try:
            return Running(url=json.loads(line)["url"], pid=child.pid)
        except ValueError:
            stop(child.pid)
            why = _last_line(complaints) or f"not ready after {timeout_s:g} s"
            raise SandboxError(f"the sandbox did not start: {why}") from None


def stop(pid: int, timeout_s: float = 5.0) -> None:
    """End a sandbox: SIGTERM, after `timeout_s` SIGKILL; returns when it is gone.

    A pid that is no sandbox any more is left alone.
    """
    for number, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, timeout_s)):
        if not is_running(pid):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + wait_s
        while is_running(pid) and time.monotonic() < until:
            time.sleep(0.02)
    _children.pop(pid, None)


def is_running(pid: int) -> bool:
    """Whether the process is a sandbox that has not ended."""
    child = _children.get(pid)
    if child is not None:
        return child.poll() is None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _is_sandbox(pid)


def _is_sandbox(pid: int) -> bool:
    """Whether the process is what it should be, where the system can tell (a pid may be reused)."""
    try:
        return b"tap_saas.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()


def _read_line(stream: IO[bytes], until: float) -> bytes:
    """What the child prints up to the end of a line, its end, or the time."""
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not text.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                break
            part = os.read(stream.fileno(), 4_096)
            if not part:
                break
            text += part
    return text


def _last_line(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")
