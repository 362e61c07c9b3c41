"""`python -m tap_saas.sandbox`: serve the sandbox until SIGTERM or SIGINT.

When it listens it prints one JSON line `{"url": ..., "pid": ...}`, and nothing else. Exit codes:
0 told to end, 2 wrong arguments, a port in use, or the extra `demo` is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

MAX_SIZE = 4_000_000


def main(arguments: list[str] | None = None) -> int:
    """Parse, bind, make the world, serve; the exit code."""
    chosen = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        from tap_saas.sandbox.app import create_app
        from tap_saas.sandbox.server import Server, address, bind
        from tap_saas.sandbox.world import World
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; pip install 'tap-saas[demo]'")
    try:
        sock = bind(chosen.port)
    except OSError as error:
        return _fail(f"port {chosen.port}: {error.strerror}; leave --port out for a free one")
    world = World(
        seed=chosen.seed,
        customers=chosen.customers,
        orders=chosen.orders,
        events=chosen.events,
    )
    line = json.dumps({"url": address(sock), "pid": os.getpid()})
    Server(create_app(world), lambda: _tell(line, chosen.ready_file)).run([sock])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tap_saas.sandbox", description="An honest little SaaS API on 127.0.0.1."
    )
    parser.add_argument("--port", type=_port, default=0, help="0 (default): a free one")
    parser.add_argument("--seed", type=int, default=7, help="the same seed, the same records")
    for name, size in (("customers", 300), ("orders", 1_000), ("events", 5_000)):
        parser.add_argument(f"--{name}", type=_size, default=size, help=f"default {size}")
    parser.add_argument("--ready-file", type=Path, help="written when the sandbox listens")
    return parser


def _port(text: str) -> int:
    return _bounded(text, 65_535)


def _size(text: str) -> int:
    return _bounded(text, MAX_SIZE)


def _bounded(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {most}")
    return int(text)


def _tell(line: str, ready_file: Path | None) -> None:
    if ready_file is not None:
        part = ready_file.with_name(f"{ready_file.name}.{os.getpid()}.part")
        part.write_text(line + "\n")
        part.replace(ready_file)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(what: str) -> int:
    sys.stderr.write(f"sandbox: {what}\n")
    return 2


def _end(number: int, frame: FrameType | None) -> None:
    """Being told to end is no failure; uvicorn raises the signal again when it has ended."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
