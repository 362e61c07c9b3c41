"""Meltano in `make demo`: a run, rows that change, a run again, both sides compared, and the
checkpoint.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import requests

from tap_saas.demo import checkpoint, compare, pipe, services
from tap_saas.errors import TargetError

JOB = "sandbox"
SCHEMA = "tap_sandbox"
RUNS = 2
STATE_ID = "dev:tap-sandbox-to-target-postgres"
_BAD = re.compile(r"\b(WARNING|ERROR)\b|\[(warning|error)")
Tell = Callable[[str], None]


class Story:
    """One demo over servers that are up; `tell` shows a line."""

    def __init__(self, project: Path, running: services.Services, tell: Tell) -> None:
        self._project, self._running, self._tell = project, running, tell
        self._environment = {
            **os.environ,
            **running.environment(),
            "NO_COLOR": "1",
            "UV_COMPILE_BYTECODE": "1",
        }
        self._meltano = pipe.beside("meltano")
        self._asked: list[dict[str, int]] = []
        self._held: list[str] | None = None
        self._installed: Future[float] | None = None

    def install(self) -> None:
        """Let Meltano install the plugins from now on, beside what else is shown."""
        self._held = []
        pool = ThreadPoolExecutor(1)
        self._installed = pool.submit(self._call, "installing the plugins", ["install"])
        pool.shutdown(wait=False)

    def run(self) -> bool:
        """Tell the whole story; true where both sides are the same after each run."""
        self._wait_for_plugins()
        same = self._pull(1)
        self._change()
        same = self._pull(2) and same
        self._checkpoint()
        return same

    def _wait_for_plugins(self) -> None:
        """Tell what was held back, and wait until the plugins are there."""
        if self._installed is None:
            self.install()
        assert self._installed is not None
        for line in self._held or ():
            self._tell(line)
        self._held = None
        self._installed.result()

    def _pull(self, number: int) -> bool:
        requests.delete(f"{self._running.url}/_requests", timeout=30)
        seconds = self._call(f"run {number}: meltano run {JOB}", ["run", JOB])
        return self._compare(number, seconds)

    def _change(self) -> None:
        told = []
        for stream, update, insert in (("customers", 20, 5), ("orders", 30, 10), ("events", 0, 50)):
            answer = requests.post(
                f"{self._running.url}/_world/change",
                json={"stream": stream, "update": update, "insert": insert},
                timeout=30,
            )
            answer.raise_for_status()
            told.append(f"{update} {stream} updated, {insert} new")
        self._tell(f"meanwhile: {'; '.join(told)}")

    def _call(self, what: str, arguments: list[str]) -> float:
        """Run Meltano; its log is kept, its warnings are shown."""
        self._tell(f"{what} ...")
        log = self._project / ".tap-saas" / "demo.log"
        log.parent.mkdir(exist_ok=True, mode=0o700)
        begun = shown = time.monotonic()
        last: deque[str] = deque(maxlen=8)
        with log.open("a") as kept:
            child = subprocess.Popen(  # noqa: S603 - Meltano with fixed arguments, no shell
                [self._meltano, *arguments],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert child.stdout is not None
            for line in child.stdout:
                kept.write(line)
                if "METRIC" not in line:
                    last.append(line.rstrip())
                if _BAD.search(line) and " meltano " not in line:
                    self._tell("  " + line.rstrip())
                if time.monotonic() - shown > 5:
                    shown = time.monotonic()
                    self._tell(f"  {shown - begun:.0f} s ...")
        if child.wait():
            for line in last:
                self._tell(f"  {line}")
            raise TargetError(f"{what}: Meltano ended with {child.returncode}", do=f"read {log}")
        return time.monotonic() - begun

    def _checkpoint(self) -> None:
        """Where each stream goes on, from the state that Meltano keeps."""
        told = subprocess.run(  # noqa: S603 - Meltano with fixed arguments, no shell
            [self._meltano, "state", "get", STATE_ID],
            cwd=self._project, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if told.returncode:
            raise TargetError(f"the checkpoint: Meltano ended with {told.returncode}")
        state = msgspec.json.decode(told.stdout)
        kept = checkpoint.read(state.get("singer_state", state))
        self._tell(f"the checkpoint (meltano state get {STATE_ID}):")
        for stream, values in kept.items():
            self._tell(f" {stream}: {msgspec.json.encode(values).decode()}")

    def _compare(self, number: int, seconds: float) -> bool:
        """Whether both sides are the same; the table is shown after the last run."""
        import psycopg

        asked = compare.requests_by_stream(self._running.url)
        self._asked.append(asked)
        with psycopg.connect(self._running.database_url) as connection:
            sides = {
                stream: (
                    compare.api_side(self._running.url, stream),
                    compare.database_side(connection, SCHEMA, stream),
                )
                for stream in compare.STREAMS
            }
        different = [stream for stream, (api, database) in sides.items() if api != database]
        rows = sum(database.count for _, database in sides.values())
        verdict = f"DIFFERENT: {', '.join(different)}" if different else "all equal"
        total = sum(asked.values())
        self._tell(f"run {number}: {seconds:.1f} s, {total} requests, {rows:,} rows, {verdict}")
        if number == RUNS:
            self._show(sides)
        return not different

    def _show(self, sides: dict[str, tuple[compare.Side, compare.Side]]) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("stream", box=None)
        runs = ["requests: run 1", *(f"run {number}" for number in range(2, RUNS + 1))]
        for name in ("API rows", "PostgreSQL rows", "keys, versions", *runs):
            table.add_column(name, justify="right", no_wrap=True)
        for stream, (api, database) in sides.items():
            verdict = "equal" if api == database else "DIFFERENT"
            asked = [str(counts[stream]) for counts in self._asked]
            table.add_row(stream, str(api.count), str(database.count), verdict, *asked)
        Console().print(table)
