"""A shop that is pulled, tells events in a log and by webhooks, and is loaded, all in this process.

`Shop` runs the real tap and the real target as `Pipeline` does, without the second that a process
takes to start; a kill is what has passed until then.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from harness import SCHEMA, Pipeline
from sandbox_api import KEY, Sandbox
from singer_output import Done

from tap_saas.errors import TapSaasError
from tap_saas.queues import open_queue
from tap_saas.queues.base import Arrival, Queue
from tap_saas.sandbox.app import create_app
from tap_saas.sandbox.log import Entry
from tap_saas.sandbox.server import serving
from tap_saas.sandbox.world import World
from tap_saas.tap import TapSaaS
from target_config.prepare import prepare
from target_config.settings import target_settings

SOURCE = "shop/main"
HEAD = """\
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
base_url: "{url}"
auth: {type: bearer, token: "{key}"}
retry: {attempts: 1}
defaults:
  records: $.data
  primary_key: [id]
  pagination:
    {type: cursor, next: $.next_cursor, send: param:cursor, size: {send: param:limit, value: SIZE}}
  incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}
"""
ORDERS = """\
  orders:
    path: /orders
    schema:
      type: object
      properties:
        id: {type: integer}
        updated_at: {type: string, format: date-time}
        amount: {type: number}
        status: {type: string}
"""
CUSTOMERS = """\
  customers:
    path: /customers
    schema:
      type: object
      properties:
        id: {type: integer}
        updated_at: {type: string, format: date-time}
        name: {type: string}
        credit: {type: number}
"""
WHOLE = """\
      - {types: ["order.*"], stream: orders, record: $.data.object, deleted: [order.deleted]}
"""
NAMED = """\
      - types: ["customer.*"]
        stream: customers
        fetch: {path: "/customers/{id}", records: $, values: {id: $.data.object.id}}
"""
BY_TIME = """\
    incremental:
      {key: created, format: epoch_s, start: {send: param:created_after, format: iso8601},
       order: asc, retention: 30d}
"""
"""An event log in order of time, with the usual lag."""
TOLD = "    id: $.id\n    type: $.type\n    time: $.occurred_at\n    routes:\n"


def shop_yaml(
    streams: str = ORDERS + CUSTOMERS,
    routes: str = WHOLE + NAMED,
    *,
    log: str | None = None,
    webhook: str = "    signature: {type: none}\n",
    size: int = 10,
) -> str:
    """A connector: streams, a webhook source `main`, and with `log` an event log `log`."""
    events = "" if log is None else f"events:\n  log:\n    path: /log\n{log}{TOLD}{routes}"
    hooks = f"webhooks:\n  main:\n{webhook}{TOLD}{routes}"
    return f"{HEAD.replace('SIZE', str(size))}streams:\n{streams}{events}{hooks}"


class Shop(Pipeline):
    """The tap and the target in this process; the state file is that of a `Pipeline`.

    `box` is the sandbox's other side, `world` the sandbox itself.
    """

    def __init__(
        self, folder: Path, world: World, url: str, text: str | None = None, database: str = ""
    ) -> None:
        super().__init__(folder, url, shop_yaml() if text is None else text, database=database)
        self.world, self.box = world, Sandbox(url)
        self.file = folder / "home" / "queue.db"
        self.consumers = ["main"]
        self._taken = 0

    def prepare(self) -> None:
        """Tables and guards."""
        with self._secrets():
            lines = TapSaaS.quiet(self._config({})).schema_lines().splitlines()
        prepare(self.database, [json.loads(line) for line in lines], schema=SCHEMA)

    @contextlib.contextmanager
    def queue(self) -> Iterator[Queue]:
        """The queue as the receiver has it."""
        self.file.parent.mkdir(exist_ok=True, mode=0o700)
        queue = open_queue(str(self.file), write=True)
        try:
            queue.declare(SOURCE, self.consumers)
            yield queue
        finally:
            queue.close()

    def new_events(self) -> list[Entry]:
        """What has happened in the sandbox since the last call."""
        log = self.world.log
        found = [log.entry(seq) for seq in log.by_id(0, len(log)) if seq > self._taken]
        self._taken = max([self._taken, *(entry.seq for entry in found)])
        return found

    def receive(self, entries: Iterable[Entry]) -> None:
        """Put events into the queue in this order, as if each were a new one."""
        self.receive_bodies([entry.text() for entry in entries])

    def receive_bodies(self, bodies: Sequence[bytes], **more: Any) -> None:
        """Put bodies into the queue."""
        now = datetime.now(UTC)
        with self.queue() as queue:
            queue.append([
                Arrival(source=SOURCE, received_at=now, body=body, **more) for body in bodies
            ])  # fmt: skip

    def acknowledged(self) -> int:
        """Up to which offset the queue has been told that all is written."""
        with self.queue() as queue:
            (source,) = queue.status().sources
            return source.acknowledged["main"]

    def drain(self, *feeds: str, after: timedelta = timedelta(0), **config: Any) -> Done:
        """The tap with the state in the state file, `after` from now; by default the queue alone.

        The exit code is that of the first failure; `told` has their lines.
        """
        out = io.BytesIO()
        stdout = io.TextIOWrapper(out, encoding="utf-8")
        settings = self._config({"feeds": list(feeds or ["webhooks"]), **config})
        with self._secrets(), mock.patch.object(sys, "stdout", stdout):
            failures = _run(settings, self.kept() or None, after)
            stdout.flush()
        stdout.detach()
        lines = "\n".join(f"tap-saas: {failure}" for failure in failures)
        return Done(failures[0].exit_code if failures else 0, out.getvalue(), lines)

    def load_here(self, out: bytes, *, keep: bool = True) -> None:
        """Let the target write these bytes; `keep` its last STATE."""
        from target_postgres.target import TargetPostgres

        target = TargetPostgres(config=target_settings(self.database, schema=SCHEMA))
        echoed = io.StringIO()
        with contextlib.redirect_stdout(echoed), _disposed_engines():
            target.listen(io.StringIO(out.decode()))
        states = echoed.getvalue().splitlines()
        if keep and states:
            self.state.write_text(states[-1])

    def keep_state(self, done: Done) -> None:
        """Take the last STATE of a run as proven."""
        self.state.write_text(json.dumps(done.last_state))

    def flow(self, *feeds: str, part: float = 1.0, **config: Any) -> Done:
        """Tap and target; the tap is killed when this part of its output has passed."""
        done = self.drain(*feeds, **config)
        assert done.code == 0, done.told
        cut = done.out[: int(len(done.out) * part)]
        whole = cut[: cut.rfind(b"\n") + 1]
        if whole:
            self.load_here(whole)
        return Done(0, whole, done.told)

    def forget_tables(self) -> None:
        """Take all tables out of the database."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")

    def _config(self, more: Mapping[str, Any]) -> dict[str, Any]:
        return {**json.loads(self.config.read_text()), "progress": False, **more}

    @staticmethod
    def _secrets() -> Any:
        return mock.patch.dict("os.environ", {"SHOP_KEY": KEY})


@contextlib.contextmanager
def _disposed_engines() -> Iterator[None]:
    """Close the connections that a target makes, which its process would close by ending."""
    from target_postgres.connector import PostgresConnector

    made, create = [], PostgresConnector.create_engine

    def create_and_keep(connector: Any) -> Any:
        made.append(create(connector))
        return made[-1]

    try:
        with mock.patch.object(PostgresConnector, "create_engine", create_and_keep):
            yield
    finally:
        for engine in made:
            engine.dispose()


def _run(config: dict[str, Any], state: dict[str, Any] | None, after: timedelta) -> list[Any]:
    """Run the tap as its command does; its failures."""
    try:
        tap = TapSaaS(config=config, state=state)
        if after:
            tap.run.now = lambda: datetime.now(UTC) + after
        tap.order_streams()
        tap.sync_feeds()
        tap.run.close()
    except TapSaasError as error:
        return [error]
    return list(tap.run.failures)


@contextlib.contextmanager
def shop(folder: Path, text: str | None = None, database: str = "", **more: Any) -> Iterator[Shop]:
    """A shop over a sandbox of its own until the block ends."""
    world = World(**{"customers": 12, "orders": 20, "events": 0, **more})
    with serving(create_app(world)) as url:
        yield Shop(folder, world, url, text, database)
