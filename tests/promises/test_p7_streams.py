"""P7: standard streams that are closed, full or slow, and a full disk: one line, and a code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness import finish, start
from hostile_api import Hostile, hostile
from hostile_shop import BIN, DAY, Shop, connector, page, right
from singer_output import Done

from tap_saas.queues import open_queue
from tap_saas.queues.base import Arrival

CONFIG, QUEUE, TARGET = 2, 8, 9
ORDERS = 4  # three of the list, and one that is deleted
PATIENCE_S = 60


@pytest.fixture
def api() -> Iterator[Hostile]:
    with hostile(right) as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, api: Hostile) -> Shop:
    return Shop(tmp_path, api.url, connector("orders", "links"))


def shell(shop: Shop, script: str, *arguments: object) -> Done:
    """A script in which `"$@"` is a run of the tap."""
    done = subprocess.run(
        ["bash", "-c", script, "bash", *shop.command(*arguments)],
        capture_output=True,
        env=shop.environment,
        timeout=PATIENCE_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def assert_one_line(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.told
    assert len(done.lines) == 1, done.told
    assert [word for word in words if word not in done.lines[0]] == [], done.lines
    for bad in ("Traceback", "internal error", "Exception ignored", "Logging error"):
        assert bad not in done.told


STREAMS: dict[str, tuple[str, list[str], int, list[str]]] = {
    "stdout is closed": ('"$@" >&-', [], TARGET, ["standard output is closed"]),
    "stdout is closed, in discovery": (
        '"$@" >&-', ["--discover"], TARGET, ["standard output is closed"],
    ),
    "stdout is full": ('"$@" >/dev/full', [], TARGET, ["takes no more (No space left on device)"]),
    "stdout is full, in discovery": (
        '"$@" >/dev/full', ["--discover"], CONFIG, ["No space left on device"],
    ),
    "the target is gone at once": (
        'set -o pipefail; "$@" | true', [], TARGET, ["the target has closed its input"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STREAMS)
def test_an_output_that_cannot_be_written(case: str, shop: Shop) -> None:
    script, arguments, code, words = STREAMS[case]
    done = shell(shop, script, *arguments)
    assert_one_line(done, code, *words)
    if "closed" in case:
        assert not shop.home.exists()


@pytest.mark.parametrize("script", ['"$@" 2>/dev/full', '"$@" <&- 2>&-'])
def test_a_run_that_nobody_listens_to(script: str, shop: Shop) -> None:
    done = shell(shop, script)
    assert done.code == 0
    done.assert_singer()
    assert len(done.records("orders")) == ORDERS


def test_a_failure_that_nobody_hears_has_its_code(shop: Shop) -> None:
    shop.config.unlink()
    assert shell(shop, '"$@" 2>&-').code == CONFIG


NONBLOCKING = """\
import os, sys, time
read, write = os.pipe()
if not os.fork():
    os.dup2(write, 1)
    os.set_blocking(1, False)
    os.execv(sys.argv[1], sys.argv[1:])
os.close(write)
while piece := os.read(read, 2_000):
    os.write(1, piece)
    time.sleep(0.002)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_does_not_block_loses_nothing(
    unbuffered: str, api: Hostile, tmp_path: Path
) -> None:
    orders = [{"id": n, "updated_at": DAY.format(1), "pad": "x" * 900} for n in range(400)]
    whole, gone = page(*orders, next=None), page(next=None)
    api.answer = lambda asked: whole if asked.path == "/orders" else gone
    shop = Shop(tmp_path, api.url, connector("orders"))
    environment = {**shop.environment, "PYTHONUNBUFFERED": unbuffered}
    done = finish(start([BIN / "python", "-c", NONBLOCKING, *shop.command()], environment))
    assert done.code == 0, done.told
    done.assert_singer()
    assert len(done.records("orders")) == 400


def test_a_new_home_on_a_full_disk(shop: Shop) -> None:
    done = shell(shop, 'ulimit -f 0; "$@"')
    assert_one_line(done, CONFIG, "the budgets cannot be kept", "check the disk")
    assert shell(shop, '"$@"').code == 0


def test_a_token_that_cannot_be_kept_is_not_used(api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url, connector("links"))
    shop.home.mkdir()
    (shop.home / "tokens").write_text("")  # a file where the folder should be
    assert_one_line(shell(shop, '"$@"'), CONFIG, "tokens cannot be kept: ")
    assert not [asked for asked in api.asked if asked.path == "/links"]


def test_what_is_learnt_and_told_may_be_lost(api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url, connector("orders"))
    shop.home.mkdir()
    for name in ("schemas", "runs"):
        (shop.home / name).write_text("")
    done = shell(shop, '"$@"')
    assert done.code == 0, done.told
    done.assert_singer()
    assert len(done.records("orders")) == ORDERS
    told = "\n".join(done.warnings)
    assert "the learnt schema cannot be kept" in told
    assert "the run file cannot be kept" in told


WEBHOOKS = {
    "main": {
        "signature": {"type": "none"},
        "type": "$.type",
        "routes": [{"stream": "orders", "record": "$.order"}],
    }
}


def arrived(shop: Shop) -> None:
    """Ten events in the queue."""
    shop.home.mkdir(exist_ok=True)
    queue = open_queue(shop.home / "queue.db", write=True)
    queue.declare("shop/main", ["main"])
    orders = [{"id": n, "updated_at": DAY.format(2)} for n in range(10)]
    bodies = [json.dumps({"type": "order", "order": order}).encode() for order in orders]
    queue.append(
        [Arrival(source="shop/main", received_at=datetime.now(UTC), body=body) for body in bodies]
    )
    queue.close()


def test_a_queue_on_a_full_disk_forgets_nothing(api: Hostile, tmp_path: Path) -> None:
    text = connector("orders", webhooks=WEBHOOKS)
    shop = Shop(tmp_path, api.url, text, feeds=["webhooks"])
    arrived(shop)
    first = shell(shop, '"$@"')
    assert len(first.records("orders")) == 10
    shop.state.write_text(json.dumps(first.last_state))
    arrived(shop)
    full = shell(shop, 'ulimit -f 0; "$@"')  # what the state proves written cannot be acknowledged
    assert_one_line(full, QUEUE, "queue.db: the queue cannot be used")
    assert full.records("orders") == []
    shop.state.write_text(json.dumps(full.last_state))
    again = shell(shop, '"$@"')
    assert again.code == 0, again.told
    assert len(again.records("orders")) == 10
