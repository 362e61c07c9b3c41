"""`saasctl loop`: one command again and again, for rows that are seconds old."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from types import FrameType
from typing import Any

import click

LONGEST_WAIT_S = 300.0


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from tap_saas.connector.units import parse_duration

        if not isinstance(value, str):
            return value
        try:
            return parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--every", type=_Duration(), default="5s", show_default=True, help="From start to start."
)
@click.option("--runs", type=click.IntRange(min=1), help="End after so many runs.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def loop(every: float, runs: int | None, command: tuple[str, ...]) -> int:
    """Run COMMAND again and again, one at a time.

    \b
    saasctl loop --every 5s -- meltano run acme-drain
    saasctl loop --every 5s -- sh -c 'tap-saas ... | target-postgres ... | saasctl state save FILE'

    After a failure it waits longer each time, up to five minutes, and says so. SIGTERM and SIGINT
    are passed on to the command; the loop ends when it has ended.
    """
    return Loop(command, every).run(runs)


class Loop:
    """A command that is run again and again."""

    def __init__(self, command: tuple[str, ...], every_s: float) -> None:
        self._command, self._every_s = command, every_s
        self._child: subprocess.Popen[bytes] | None = None
        self._signum = 0
        self._failures = 0

    def run(self, runs: int | None) -> int:
        """The exit code: 0 after so many runs, 128 + the signal that ended it."""
        before = {name: signal.signal(name, self._end) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            done = 0
            while not self._signum and (runs is None or done < runs):
                begun = time.monotonic()
                self._note(self._once())
                done += 1
                if runs is None or done < runs:
                    self._wait(begun + self._pause_s)
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
        return 128 + self._signum if self._signum else 0

    def _once(self) -> int:
        """The exit code of one run."""
        from tap_saas.errors import ConfigError

        try:
            # A group of its own: a signal must reach every process of a pipe.
            self._child = subprocess.Popen(self._command, start_new_session=True)  # noqa: S603 - the user's own command
        except OSError as error:
            raise ConfigError(
                f"{self._command[0]} cannot be run ({error.strerror})", do="name a command"
            ) from error
        try:
            if self._signum:
                self._pass_on(signal.SIGTERM)
            return self._child.wait()
        finally:
            self._child = None

    def _note(self, code: int) -> None:
        if code == 0:
            if self._failures:
                click.echo(f"loop: well again after {self._failures} failures", err=True)
            self._failures = 0
            return
        self._failures += 1
        if not self._signum:
            click.echo(
                f"loop: the command ended with {code}, the {self._failures}. time in a row; "
                f"next in {self._pause_s:g} s",
                err=True,
            )

    @property
    def _pause_s(self) -> float:
        """From one start to the next."""
        if not self._failures:
            return self._every_s
        return max(
            self._every_s, min(self._every_s * 2.0 ** min(self._failures, 20), LONGEST_WAIT_S)
        )

    def _wait(self, until: float) -> None:
        while not self._signum and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def _end(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        self._pass_on(signal.SIGTERM)

    def _pass_on(self, signum: int) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signum)
