"""Real processes for tests of the whole way: the tap, target-postgres, a state file between runs.

`Pipeline.run` pumps the tap's output into the target itself, so that a test can end either of them
at any byte and knows exactly what has passed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import psycopg
import pytest
from sandbox_api import KEY, Sandbox
from singer_output import Done

from target_config.settings import target_settings, write_config

BIN = Path(sys.executable).parent
SCHEMA = "shop"
PATIENCE_S = 100.0  # no single process of a test takes so long
CUT = 65_536
LINES = ("order_lines", "lines", "lines_changed", "lines_since", "lines_own")
KEYS = dict.fromkeys(LINES, "order_id::text || ':' || line_no::text")
VERSION = """to_char(updated_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@dataclass(frozen=True)
class Piped:
    """A tap and a target that have ended; `tap.out` is what has passed from one to the other."""

    tap: Done
    target: Done

    def assert_good(self) -> None:
        """Both have ended well."""
        assert self.tap.code == 0, self.tap.told[-4_000:]
        assert self.target.code == 0, self.target.told[-4_000:]


class Death(NamedTuple):
    """Which process is killed (SIGKILL) when so many bytes have passed.

    With `whole` the line that is being written still passes. A target that has got everything
    before is killed `after_s` later, while it writes.
    """

    who: str
    at: int
    whole: bool = False
    after_s: float = 0.0


class Pipeline:
    """A connector, a folder, a state file and a schema of a database: what a cron line would have.

    `config` are more settings of the tap; the secret comes by the environment.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        text: str,
        *,
        database: str = "",
        config: Mapping[str, Any] | None = None,
        secret: str = KEY,
        schema: str = SCHEMA,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.database, self.schema = folder, database, schema
        self.yaml = folder / "shop.yaml"
        self.yaml.write_text(text)
        self.config = folder / "tap.json"
        self.state = folder / "state.json"
        self.environment = {**os.environ, "SHOP_KEY": secret}
        self._settings = {"connector": str(self.yaml), "settings": {"url": url}}
        self.configure(**(config or {}))

    def configure(self, **config: Any) -> None:
        """Write the tap's config, with these settings besides."""
        whole = {**self._settings, "home": str(self.folder / "home"), **config}
        self.config.write_text(json.dumps(whole))

    def prepare(self) -> None:
        """`saasctl target prepare`: tables and guards."""
        done = finish(start([
            BIN / "saasctl", "target", "prepare", self.yaml, "--config", self.config,
            "--schema", self.schema, "--database-url", self.database,
        ], self.environment))  # fmt: skip
        assert done.code == 0, done.told

    def tap(self, *arguments: str, **environment: str) -> Done:
        """The tap alone, run to its end."""
        return finish(self.start_tap(*arguments, **environment))

    def start_tap(self, *arguments: str, **environment: str) -> Child:
        """The tap alone: with the state where there is one."""
        state: list[str | Path] = ["--state", self.state] if self.state.exists() else []
        command: list[str | Path] = [BIN / "tap-saas", "--config", self.config, *state, *arguments]
        return start(command, {**self.environment, **environment})

    def start_target(self) -> Child:
        """The target alone."""
        config = write_config(
            self.folder / "target.json", target_settings(self.database, schema=self.schema)
        )
        return start([BIN / "target-postgres", "--config", config], self.environment, stdin=True)

    def run(self, *arguments: str, death: Death | None = None) -> Piped:
        """`tap | target | state save`, to the end of both."""
        tap, target = self.start_tap(*arguments), self.start_target()
        keeper = threading.Thread(target=self._keep, args=(target,))
        keeper.start()
        passed = pump(tap, target, death)
        if death is not None and death.who == "target" and len(passed) < death.at:
            time.sleep(death.after_s)
            target.send(signal.SIGKILL)
        codes = tap.wait(), target.wait()
        keeper.join()
        return Piped(Done(codes[0], bytes(passed), tap.told()), Done(codes[1], b"", target.told()))

    def load(self, out: bytes) -> Done:
        """The target alone, fed with these bytes."""
        target = self.start_target()
        keeper = threading.Thread(target=self._keep, args=(target,))
        keeper.start()
        with contextlib.suppress(BrokenPipeError), target.stdin as pipe:
            pipe.write(out)
        code = target.wait()
        keeper.join()
        return Done(code, b"", target.told())

    def _keep(self, target: Child) -> None:
        """Keep the last STATE that the target echoes, as `saasctl state save` does."""
        for line in target.stdout:
            if line.endswith(b"\n") and line.strip():
                draft = self.state.with_suffix(".draft")
                draft.write_bytes(line)
                draft.replace(self.state)

    def kept(self) -> dict[str, Any]:
        """The state in the state file, `{}` without one."""
        state: dict[str, Any] = json.loads(self.state.read_bytes()) if self.state.exists() else {}
        return state

    def bookmark(self, stream: str) -> dict[str, Any]:
        """A stream's bookmark in the state file."""
        bookmark: dict[str, Any] = self.kept()["bookmarks"][stream]
        return bookmark

    def table(self, stream: str) -> list[tuple[str, str]]:
        """Key and version of every row, sorted."""
        key = KEYS.get(stream, "id::text")
        query = f"SELECT {key}, {VERSION} FROM {self.schema}.{stream} WHERE _sdc_deleted_at IS NULL"
        return sorted((str(row[0]), str(row[1])) for row in self.query(query))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; SQL that this repository's tests write."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def assert_exact(self, box: Sandbox, *streams: str) -> None:
        """Each table holds exactly the keys and versions of the API."""
        for stream in streams:
            truth, table = box.truth(stream), self.table(stream)
            lacks, extra = set(truth) - set(table), set(table) - set(truth)
            assert (sorted(lacks)[:5], sorted(extra)[:5]) == ([], []), stream
            assert table == truth, f"{stream}: a key is there twice"


class Child:
    """A process with a time limit; its stderr is kept in a file, so that it never blocks.

    `stdin` is a file to read from, true for a pipe; with `apart` it leads a session of its own.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        stdin: bool | IO[bytes] = False,
        apart: bool = False,
        cwd: Path | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        given = subprocess.PIPE if stdin is True else stdin or subprocess.DEVNULL
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `told`
        self._popen = subprocess.Popen(
            [str(part) for part in command],
            env=dict(environment),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=apart,
            cwd=cwd,
        )
        self._alarm = threading.Timer(patience_s, self._popen.kill)
        self._alarm.daemon = True
        self._alarm.start()

    @property
    def stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def peak_kb(self) -> int:
        """The most memory that it has had so far, in KB (VmHWM of proc(5): Linux only).

        `getrusage` would give that of the process that started it where that is more.
        """
        status = Path(f"/proc/{self._popen.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def wait(self) -> int:
        """The exit code; as a shell says it for one that a signal ended."""
        code = self._popen.wait()
        self._alarm.cancel()
        self.stdout.close()
        return code if code >= 0 else 128 - code

    def told(self) -> str:
        """All of stderr; the process has ended."""
        with self._stderr as file:
            file.seek(0)
            return file.read().decode()


@contextlib.contextmanager
def byte_code(config: pytest.Config) -> Iterator[None]:
    """Keep byte code in pytest's cache: without it the target takes two seconds more to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        if config.cache is not None:
            patch.setenv("PYTHONPYCACHEPREFIX", str(config.cache.mkdir("bytecode")))
        yield


def start(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    stdin: bool | IO[bytes] = False,
) -> Child:
    """Start a process."""
    return Child(command, environment, stdin=stdin)


def finish(child: Child) -> Done:
    """Read a process to its end."""
    out = child.stdout.read()
    return Done(child.wait(), out, child.told())


def pump(tap: Child, target: Child, death: Death | None) -> bytearray:
    """Let bytes pass from one to the other until either ends; what has passed."""
    passed = bytearray()
    with contextlib.suppress(BrokenPipeError), target.stdin as pipe:
        while piece := tap.stdout.read1(CUT):  # type: ignore[attr-defined]
            is_last = death is not None and len(passed) + len(piece) >= death.at
            if is_last and death is not None:
                piece = _up_to(passed, piece, death)
            pipe.write(piece)
            pipe.flush()
            passed += piece
            if is_last and death is not None:
                (tap if death.who == "tap" else target).send(signal.SIGKILL)
                break
    tap.stdout.close()
    return passed


def _up_to(passed: bytearray, piece: bytes, death: Death) -> bytes:
    end = death.at - len(passed)
    if death.whole:
        end = piece.find(b"\n", max(end - 1, 0)) + 1 or len(piece)
    return piece[:end]
