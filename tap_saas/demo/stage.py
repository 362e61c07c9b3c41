"""Where a scene plays: an API, a schema in PostgreSQL and a folder of its own, gone afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import requests

from tap_saas.demo import checkpoint, pipe
from tap_saas.demo.compare import api_side, database_side
from tap_saas.demo.receiver import Receiver
from tap_saas.errors import TargetError
from tap_saas.sandbox import process

KEY = "sandbox-key"
KILLED = 128 + 9
CONNECTORS = Path(__file__).with_name("scenes")
Tell = Callable[[str], None]
# Time, level and logger of a log line say little in a demo of seconds.
_PREFIX = re.compile(r"^\S+ \S+ +\| +(\w+) +\| +[^|]+\| ")
_FIGURES = (
    "rows_ingested", "rows_rejected", "error_rate", "errors", "requests", "retries", "duration_s",
    "waited_api_s", "waited_budget_s", "exit", "incomplete",
)  # fmt: skip
_STAGED = "Inserting with SQL"
_MATTERS = re.compile(r"WARNING|ERROR|recovered|rows_ingested|^tap-saas: ")


class Stage:
    """A place for one play: `tell` gets the detail, line by line.

    The connector is `scenes/<name>.yaml`; the sandbox has the sizes that `open_api` says. `given`
    are the variables that the scene adds to the environment of its processes.
    """

    def __init__(self, name: str, database_url: str, tell: Tell) -> None:
        self.schema = f"scene_{name}"
        self.tell = tell
        self.folder = Path()
        self.given: dict[str, str] = {}
        self._name = name
        self._database_url = database_url
        self._api: process.Running | None = None

    def __enter__(self) -> Self:
        from target_config.settings import shipped

        self.folder = Path(tempfile.mkdtemp(prefix="ts-scene-"))
        connector = CONNECTORS / f"{self._name}.yaml"
        shutil.copy(connector, self.folder)
        self.read()
        self._write("target.json", {**shipped(), "default_target_schema": self.schema})
        self.lose_state()
        self.tell(f"the connector: {connector}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._api is not None:
            process.stop(self._api.pid)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.query(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def open_api(self, *, customers: int = 1, orders: int = 1, events: int = 1) -> None:
        """Start the scene's sandbox, with so many records in its lists.

        Raises:
            TargetError: it does not start.
        """
        try:
            self._api = process.start(customers=customers, orders=orders, events=events)
        except process.SandboxError as error:
            raise TargetError(str(error)) from error
        sizes = {"customers": customers, "orders": orders, "events": events}
        told = ", ".join(f"{size:,} {name}" for name, size in sizes.items() if size > 1)
        self.tell(f"the API: a sandbox of this scene's own{told and f' with {told}'}")

    def ask(self, method: str, at: str, /, **fields: Any) -> Any:
        """What the sandbox answers: a list, or one of its control paths; None for an empty answer.

        Raises:
            requests.HTTPError: it refuses.
        """
        assert self._api is not None, "a scene opens its API first"
        answer = requests.request(
            method,
            f"{self._api.url}{at}",
            json=fields or None,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def export(self, name: str, value: str) -> None:
        """Set a variable for all processes of the scene that are started from now on."""
        self.given[name] = value

    def read(self, *feeds: str) -> None:
        """Say what the runs from now on read: pull, events, webhooks; by default all of them."""
        more = {"feeds": feeds} if feeds else {}
        self._write("tap.json", {"connector": f"{self._name}.yaml", **more})

    def lose_state(self) -> None:
        """Begin with an empty state.json."""
        self._write("state.json", {})

    @contextmanager
    def receiver(self) -> Iterator[Receiver]:
        """`saasctl webhooks serve` until the block ends."""
        receiver = Receiver(self.folder, f"{self._name}.yaml", self._environment())
        self.tell(f"$ {receiver.command} &")
        try:
            yield receiver
        finally:
            receiver.stop()

    def prepare(self) -> None:
        """`saasctl target prepare`: tables, timestamptz, the guard."""
        command = f"saasctl target prepare {self._name}.yaml --schema {self.schema}"
        self.tell(f"$ {command}")
        program, *arguments = command.split()
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            [pipe.beside(program), *arguments],
            cwd=self.folder, env=self._environment(), capture_output=True, text=True,
            timeout=pipe.PATIENCE_S, check=False,
        )  # fmt: skip
        for line in done.stderr.splitlines():
            if "._" not in line.partition(":")[0]:
                self.tell(f"  {line}")
        if done.returncode:
            raise TargetError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")

    def run(self, kill_when: Callable[[], bool] | None = None) -> pipe.Ended:
        """Run the pipe, and tell its log lines that matter.

        Raises:
            TargetError: a process failed that nobody killed, or did not end; or the tap ended
                before it could be killed.
        """
        self.tell("$ " + " | ".join(pipe.COMMANDS))
        ended = pipe.run(self.folder, self._environment(), kill_when)
        for line in ended.log:
            if _MATTERS.search(line):
                self.tell("  " + _PREFIX.sub(r"\1 ", line))
        target = pipe.log_of(self.folder, "target-postgres")
        batches = sum(_STAGED in line for line in target)
        self.tell(f"  target-postgres: {batches} batches into staging (temporary tables), upserted")
        if kill_when is None and any(ended.codes):
            raise TargetError(f"the pipe ended with {ended.codes}: {_last(ended.log, target)}")
        if kill_when is not None and ended.codes[0] != KILLED:
            raise TargetError(f"the tap ended before it was killed: {_last(ended.log)}")
        return ended

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query over the scene's tables; SQL that scenes write, `%s` for values."""
        import psycopg

        with psycopg.connect(self._database_url, autocommit=True) as connection:
            settings = f"SET search_path = {self.schema}, public; SET timezone = UTC"
            connection.execute(f"{settings}; SET client_min_messages = error".encode())
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def report(self, stream: str) -> dict[str, Any]:
        """What the stream's last run says of itself: its row in the table `_runs`."""
        rows = self.query(
            "SELECT to_jsonb(r) FROM _runs r WHERE stream = %s ORDER BY started_at DESC LIMIT 1",
            stream,
        )
        row: dict[str, Any] = rows[0][0] if rows else {}
        figures = {name: row.get(name) for name in _FIGURES}
        shown = {name: value for name, value in figures.items() if value not in (None, {})}
        told = " ".join(f"{name}={_shown(value)}" for name, value in shown.items())
        self.tell(f"  table _runs: stream={stream} {told}")
        return figures

    def checkpoint(self, stream: str) -> dict[str, Any]:
        """The stream's checkpoint in state.json, as `saasctl state show` has it."""
        known = msgspec.json.decode((self.folder / "state.json").read_bytes())
        kept = checkpoint.read(known).get(stream, {})
        self.tell(f"  checkpoint of {stream}: {msgspec.json.encode(kept).decode()}")
        return kept

    def is_exact(self, stream: str) -> bool:
        """Whether the table has the keys and versions of the API, each once."""
        import psycopg

        assert self._api is not None, "a scene opens its API first"
        with psycopg.connect(self._database_url) as connection:
            table = database_side(connection, self.schema, stream)
        api = api_side(self._api.url, stream)
        self.tell(f"  {stream}: {api.count:,} in the API, {table.count:,} rows in PostgreSQL")
        return api == table

    def _write(self, name: str, value: Any) -> None:
        (self.folder / name).write_bytes(msgspec.json.encode(value))

    def _environment(self) -> dict[str, str]:
        from target_config.database import target_url

        assert self._api is not None, "a scene opens its API first"
        return {
            **os.environ,
            **self.given,
            "SANDBOX_URL": self._api.url,
            "SANDBOX_KEY": KEY,
            "TARGET_POSTGRES_SQLALCHEMY_URL": target_url(self._database_url),
            "TAP_SAAS_HOME": str(self.folder / "home"),
            "PGTZ": "UTC",
            "NO_COLOR": "1",
            "TAP_SAAS_LOGLEVEL": "INFO",
            "TARGET_POSTGRES_LOGLEVEL": "INFO",
        }


def _last(*logs: list[str]) -> str:
    """The last line of the first log that has one."""
    return next((log[-1] for log in logs if log), "nothing was logged")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return str(value) if isinstance(value, int | str) else f"{value:.3g}"
