"""Real processes for tests of the whole way: a sandbox API, the tap, target-postgres, a state file.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, NamedTuple

import jsonschema_rs
import psycopg
import requests

from tap_saas.sandbox import process
from target_config.settings import target_settings, write_config

BIN = Path(sys.executable).parent
KEY = "sandbox-key"
SCHEMA = "shop"
SECRETS = ("sandbox-key", "sandbox-secret", "wrong-secret-7f3a")
PATIENCE_S = 100.0  # no single process of a test takes so long
CUT = 65_536
KEYS = {"order_lines": "order_id::text || ':' || line_no::text"}
VERSION = """to_char(updated_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

HEAD = """\
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
"""
BEARER = 'auth: {type: bearer, token: "{key}"}\n'
DEFAULTS = """\
defaults:
  records: $.data
  primary_key: [id]
  pagination:
    {type: cursor, next: $.next_cursor, send: param:cursor, more: $.has_more,
     size: {send: param:limit, value: SIZE}}
"""


OAUTH = """\
auth:
  type: oauth2
  grant: client_credentials
  token_url: "{url}/oauth/token"
  client: {id: sandbox, secret: "{key}", send: basic}
"""
OAUTH_SECRET = "sandbox-secret"


def connector(streams: str, *, size: int = 10, more: str = "", auth: str = BEARER) -> str:
    """A connector for the sandbox: `streams` is YAML under `streams:`, `size` records a page."""
    return f"{HEAD}{auth}{more}{DEFAULTS.replace('SIZE', str(size))}streams:\n{streams}"


ORDERS = """\
  orders:
    path: /orders
    version: updated_at
    schema:
      type: object
      properties: {id: {type: integer}, updated_at: {type: string, format: date-time}}
"""
"""A stream that needs no sample of its list; the fields that are not declared come by and by."""


class Sandbox:
    """A sandbox that runs, and its other side."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tell(self, method: str, at: str, /, **fields: Any) -> Any:
        """What the sandbox answers on one of its own paths."""
        answer = requests.request(method, f"{self.url}{at}", json=fields or None, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def change(self, stream: str, *, update: int = 0, insert: int = 0) -> None:
        """Update and insert records."""
        self.tell("POST", "/_world/change", stream=stream, update=update, insert=insert)

    def fault(self, path: str, kind: str, **fields: Any) -> None:
        """Let something go wrong from now on."""
        self.tell("POST", "/_faults", path=path, kind=kind, **fields)

    def truth(self, stream: str) -> list[tuple[str, str]]:
        """Every key with its newest version, sorted."""
        told = self.tell("GET", f"/_truth?stream={stream}&full=1")["records"]
        return sorted((key, version) for key, version in told)

    def arrivals(self, path: str) -> list[tuple[float, int]]:
        """When requests for a path arrived (seconds) and how they were answered."""
        times = self.tell("GET", "/_requests")["times"]
        return [(at, status) for at, asked, status in times if asked == path]

    def calm(self) -> None:
        """No faults and limits, nothing counted, nothing changes."""
        for path in ("/_faults", "/_limits", "/_world/churn", "/_requests"):
            self.tell("DELETE", path)


@contextlib.contextmanager
def sandbox(
    *, seed: int = 7, customers: int = 60, orders: int = 40, events: int = 600
) -> Iterator[Sandbox]:
    """A sandbox of one's own until the block ends."""
    running = process.start(seed=seed, customers=customers, orders=orders, events=events)
    try:
        yield Sandbox(running.url)
    finally:
        process.stop(running.pid)


def identity(record: Mapping[str, Any]) -> tuple[str, str]:
    """A record's key and version, as the sandbox's truth writes them."""
    key = record["id"] if "id" in record else f"{record['order_id']}:{record['line_no']}"
    return str(key), canonical(record["updated_at"])


def canonical(instant: str) -> str:
    """An instant in UTC as the sandbox's truth writes it: such texts sort as their instants do."""
    return f"{datetime.fromisoformat(instant):%Y-%m-%dT%H:%M:%S.%f}Z"


class Answer(NamedTuple):
    """What a small server of a test's own answers."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@contextlib.contextmanager
def serve(answer: Callable[[str], Answer]) -> Iterator[str]:
    """Serve GET requests on loopback until the block ends; `answer` gets path and query."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            given = answer(self.path)
            self.send_response_only(given.status)
            self.send_header("Content-Type", given.content_type)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Done:
    """A process that has ended: exit code, stdout, stderr."""

    code: int
    out: bytes
    told: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole lines of stdout, each a Singer message."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if _is_whole(line)]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """The records of a stream, in order."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    def versions(self, stream: str) -> list[tuple[str, str]]:
        """Key and version of each record, in order, as the sandbox's truth writes them."""
        return [identity(record) for record in self.records(stream)]

    @property
    def lines(self) -> list[str]:
        """What stderr says beyond the log of a run: the error lines of `tap-saas`."""
        return [line for line in self.told.splitlines() if line.startswith("tap-saas: ")]

    @property
    def warnings(self) -> list[str]:
        """The WARNING lines of the log."""
        return [line for line in self.told.splitlines() if " WARNING " in line]

    def assert_one_line(self, code: int, *words: str) -> None:
        """It failed as it should: the code, one line with these words, no trace, no secret."""
        assert self.code == code, self.told
        assert len(self.lines) == 1, self.told
        assert [word for word in words if word not in self.lines[0]] == [], self.lines[0]
        assert "Traceback" not in self.told, self.told
        assert "internal error" not in self.told, self.told
        self.assert_no_secret()
        self.assert_singer()

    def assert_no_secret(self) -> None:
        """Nothing that must stay hidden is in what it wrote."""
        for secret in SECRETS:
            assert secret.encode() not in self.out, secret
            assert secret not in self.told, secret

    @property
    def last_state(self) -> dict[str, Any]:
        """The value of the last STATE."""
        states = [message["value"] for message in self.messages if message["type"] == "STATE"]
        return dict(states[-1])

    def assert_singer(self) -> None:
        """Whole lines, only Singer messages, each record after its SCHEMA and as that says."""
        assert not self.out or self.out.endswith(b"\n"), self.out[-200:]
        validators: dict[str, jsonschema_rs.Validator] = {}
        for message in self.messages:
            kind = message["type"]
            assert kind in {"SCHEMA", "RECORD", "STATE"}, message
            if kind == "SCHEMA":
                schema = {"additionalProperties": False, **message["schema"]}
                assert set(message["key_properties"]) <= schema["properties"].keys()
                validators[message["stream"]] = jsonschema_rs.validator_for(schema)
            elif kind == "RECORD":
                validators[message["stream"]].validate(message["record"])


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
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.database = folder, database
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
            "--schema", SCHEMA, "--database-url", self.database,
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
            self.folder / "target.json", target_settings(self.database, schema=SCHEMA)
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
        query = f"SELECT {key}, {VERSION} FROM {SCHEMA}.{stream} WHERE _sdc_deleted_at IS NULL"
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
    """A process with a time limit; its stderr is kept in a file, so that it never blocks."""

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], *, stdin: bool
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `told`
        self._popen = subprocess.Popen(
            [str(part) for part in command],
            env=dict(environment),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._alarm = threading.Timer(PATIENCE_S, self._popen.kill)
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


def start(
    command: Sequence[str | Path], environment: Mapping[str, str], *, stdin: bool = False
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


def _is_whole(line: bytes) -> bool:
    """Every line but a last one that a killed tap did not finish."""
    return line.endswith(b"\n")
