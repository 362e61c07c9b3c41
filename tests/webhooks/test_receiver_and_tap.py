"""A receiver, taps, purges and a second receiver on one file at once: sound, and nothing missing."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import apsw
from harness import BIN
from push_api import ORDERS, SOURCE, WHOLE, Shop, shop, shop_yaml
from receivers import PATIENCE_S, Receiver, receiving

from tap_saas.errors import QueueError
from tap_saas.queues import open_queue

SECONDS = 2.0
ROUNDS = 6
# Purges and checkpoints that come every minute, or after 16 MB, come all the time.
BUSY = """
from tap_saas.queues import sqlite_file
sqlite_file.CHECKPOINT_PAGES = 20
committer.PURGE_S = committer.ROOM_S = 0.05
"""


class Provider:
    """Posts bodies one by one until each is accepted; several at once."""

    def __init__(self, running: Receiver) -> None:
        self._running = running
        self._waiting: list[bytes] = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._post) for _ in range(4)]

    def __enter__(self) -> Provider:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert self._waiting == [], "nobody took them"

    def deliver(self, bodies: list[bytes]) -> None:
        """Some day soon."""
        self._waiting += bodies

    def _post(self) -> None:
        connection = http.client.HTTPConnection(*self._running.address, timeout=PATIENCE_S)
        with closing(connection):
            while self._waiting or not self._ends.is_set():
                try:
                    body = self._waiting.pop()
                except IndexError:
                    time.sleep(0.001)
                    continue
                connection.request("POST", f"/webhooks/{SOURCE}", body)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self._waiting.append(body)


def drain(mill: Shop, url: str) -> set[str]:
    """One run of the tap, whose state is proven by the next; the orders that it wrote."""
    done = mill.drain(queue=url)
    assert done.code == 0, done.told
    mill.keep_state(done)
    return {str(row["id"]) for row in done.records("orders")}


def purge(url: str) -> int:
    """What a person does, or cron."""
    with closing(open_queue(url, write=False)) as queue:
        return queue.purge(keep=timedelta(0))


def test_all_at_once_on_one_file_and_it_stays_sound(tmp_path: Path) -> None:
    text = shop_yaml(ORDERS, WHOLE)
    with shop(tmp_path / "shop", text, customers=0, orders=0) as mill:
        given = {"url": mill.box.url, "key": "a-key-of-tests"}
        with receiving(
            tmp_path / "r", more=BUSY, limits="keep=timedelta(0)", connector=text, **given
        ) as running:
            second = [
                BIN / "saasctl", "webhooks", "serve", mill.yaml, "--port", "0", "--queue",
                running.queue, *(f"--set={name}={value}" for name, value in given.items()),
            ]  # fmt: skip
            written: set[str] = set()
            with ThreadPoolExecutor(1) as pool, Provider(running) as provider:
                ending = pool.submit(
                    subprocess.run, second, capture_output=True, check=False, timeout=PATIENCE_S
                )
                until, rounds = time.monotonic() + SECONDS, 0
                while time.monotonic() < until or rounds < ROUNDS:
                    rounds += 1
                    mill.world.change("orders", insert=40)
                    provider.deliver([entry.text() for entry in mill.new_events()])
                    written |= drain(mill, running.queue)
                    purge(running.queue)
            refused = ending.result()
            assert refused.returncode == QueueError.exit_code, refused.stderr
            assert b"another receiver (process %d)" % running.process.pid in refused.stderr
            written |= drain(mill, running.queue) | drain(mill, running.queue)
            assert written == {key for key, _ in mill.box.truth("orders")}
            purge(running.queue)
            with closing(open_queue(running.queue, write=False)) as queue:
                (source,) = queue.status().sources
                assert (source.events, source.purged_offset) == (0, len(written))
            assert running.stop() == 0
            assert "damaged" not in running.told
        with closing(apsw.Connection(running.queue)) as db:
            assert db.pragma("integrity_check") == "ok"
