"""How old a row is that came by webhook, and how fast a queue is drained into PostgreSQL.

`python tests/bench/latency.py [--events 200] [--queued 20000]`: signed events are posted to a real
receiver while `saasctl loop` runs the plain pipe; the time is from before a POST until a query sees
the row. Then a queue that is full already is drained by one run, with the target and without.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres_server import postgres_server

from tap_saas.demo.receiver import Receiver
from tap_saas.demo.stage import CONNECTORS
from tap_saas.queues import DEFAULT_NAME, open_queue
from tap_saas.queues.base import Arrival
from tap_saas.sandbox.signing import new_secret, sign
from target_config.database import target_url
from target_config.settings import shipped

BIN = Path(sys.executable).parent
SOURCE = "push/main"
TAP = "tap-saas --config tap.json --state state.json 2>> tap.log"
PIPE = f"{TAP} | target-postgres --config target.json --config ENV 2>> target.log"
PIPE = f"set -o pipefail; {PIPE} | saasctl state save state.json"
PATIENCE_S = 120.0


def body_of(number: int) -> bytes:
    """An event of about 1 KiB that tells of an order of its own."""
    now = datetime.now(UTC).isoformat()
    record = {"id": number, "status": "paid", "amount": 12.5, "updated_at": now, "note": "x" * 800}
    event = {"type": "order.updated", "occurred_at": now, "data": {"object": record}}
    return json.dumps(event).encode()


class Place:
    """A folder with a connector, a prepared table and an empty state, as a cron line would have."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.secret = folder, database, new_secret()
        shutil.copy(CONNECTORS / "push.yaml", folder)
        self._write("tap.json", {"connector": "push.yaml", "feeds": ["webhooks"]})
        self._write("target.json", {**shipped(), "default_target_schema": "push"})
        self._write("state.json", {})
        self.environment: Mapping[str, str] = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SANDBOX_URL": "http://127.0.0.1:9",  # the list is not read
            "SANDBOX_KEY": "none",
            "HOOK_SECRET": self.secret,
            "TARGET_POSTGRES_SQLALCHEMY_URL": target_url(database),
            "TAP_SAAS_HOME": str(folder / "home"),
            "PGTZ": "UTC",
        }
        self.run("saasctl target prepare push.yaml --schema push 2>> prepare.log")

    def _write(self, name: str, value: object) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def run(self, command: str) -> float:
        """Seconds that a shell command takes; it must end well."""
        begun = time.monotonic()
        subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=dict(self.environment), check=True
        )
        return time.monotonic() - begun

    @contextlib.contextmanager
    def looping(self, every: str) -> Iterator[None]:
        """`saasctl loop` over the pipe until the block ends."""
        command = [BIN / "saasctl", "loop", "--every", every, "--", "bash", "-c", PIPE]
        loop = subprocess.Popen(command, cwd=self.folder, env=dict(self.environment))
        try:
            yield
        finally:
            loop.terminate()
            loop.wait(PATIENCE_S)

    def post(self, session: requests.Session, url: str, number: int) -> None:
        """An event, signed; it must be taken."""
        body = body_of(number)
        headers = sign("standard", self.secret, f"ev_{number}", int(time.time()), body)
        session.post(url, data=body, headers=headers, timeout=30).raise_for_status()


def watch(database: str, wanted: int, seen: dict[int, float]) -> None:
    """Note when each row is there for the first time, until all are."""
    until = time.monotonic() + PATIENCE_S
    with psycopg.connect(database, autocommit=True) as connection:
        while len(seen) < wanted and time.monotonic() < until:
            rows = connection.execute("SELECT id FROM push.orders").fetchall()
            now = time.monotonic()
            for (number,) in rows:
                seen.setdefault(number, now)
            time.sleep(0.02)


def latency(place: Place, every: str, events: int, gap_s: float) -> tuple[list[float], int]:
    """Seconds from POST to row of so many events, one each `gap_s`, sorted; and how many runs."""
    posted: dict[int, float] = {}
    seen: dict[int, float] = {}
    receiver = Receiver(place.folder, "push.yaml", place.environment)
    watcher = threading.Thread(target=watch, args=(place.database, events, seen))
    try:
        url = receiver.url
        with place.looping(every), requests.Session() as session:
            watcher.start()
            for number in range(1, events + 1):
                posted[number] = time.monotonic()
                place.post(session, url, number)
                time.sleep(gap_s)
            watcher.join()
    finally:
        receiver.stop()
    assert len(seen) == events, f"{len(seen)} of {events} rows are there"
    runs = len(list((place.folder / "home" / "runs").glob("*.json")))
    return sorted(seen[number] - posted[number] for number in posted), runs


def fill(place: Place, events: int) -> None:
    """Put events into the queue as a receiver does, in groups."""
    home = place.folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    now = datetime.now(UTC)
    with contextlib.closing(open_queue(home / DEFAULT_NAME, write=True)) as queue:
        queue.declare(SOURCE, ["main"])
        for first in range(0, events, 1_000):
            numbers = range(first, min(first + 1_000, events))
            queue.append([
                Arrival(source=SOURCE, event_id=f"ev_{n}", received_at=now, body=body_of(n))
                for n in numbers
            ])  # fmt: skip


@contextlib.contextmanager
def places(server: str, name: str) -> Iterator[Place]:
    """A place with a database of its own."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with tempfile.TemporaryDirectory() as folder:
        yield Place(Path(folder), server.replace("/postgres?", f"/{name}?"))


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--gap-ms", type=int, default=150)
    parser.add_argument("--queued", type=int, default=20_000)
    given = parser.parse_args()
    with postgres_server() as server:
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for every in ("1s", "5s"):
            with places(server, f"loop_{every}") as place:
                times, runs = latency(place, every, given.events, given.gap_ms / 1_000)
            p95 = statistics.quantiles(times, n=20)[-1]
            print(
                f"POST to row, loop --every {every}: p50 {statistics.median(times):.2f} s,"
                f" p95 {p95:.2f} s, longest {times[-1]:.2f} s"
                f" ({given.events} events, one each {given.gap_ms} ms, {runs} runs)",
                flush=True,
            )
        with places(server, "drain") as place:
            fill(place, given.queued)
            alone, whole = place.run(f"{TAP} > /dev/null"), place.run(PIPE)
            with psycopg.connect(place.database) as connection:
                rows = connection.execute("SELECT count(*) FROM push.orders").fetchone()
        assert rows == (given.queued,), rows
        for what, seconds in (("tap alone", alone), ("tap | target-postgres", whole)):
            rate = given.queued / seconds
            print(
                f"drain of {given.queued:,} events, {what}: {seconds:.1f} s, {rate:,.0f} events/s"
            )


if __name__ == "__main__":
    main()
