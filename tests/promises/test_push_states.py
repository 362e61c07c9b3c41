"""What the tap may take for written: the state that came back, whoever died or kept silent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from harness import BIN, PATIENCE_S
from push_api import ORDERS, WHOLE, Shop, shop, shop_yaml

# A target that writes everything and echoes all states, those up to the first place, or none.
TARGET = """
import json, sys
messages = [json.loads(line) for line in sys.stdin.buffer]
states = [message["value"] for message in messages if message["type"] == "STATE"]
placed = [n for n, state in enumerate(states, 1) if state["bookmarks"]["webhooks.main"]["queue"]]
count = {"all": len(states), "older": placed[0], "none": 0}[sys.argv[1]]
for state in states[:count]:
    print(json.dumps(state), flush=True)
"""
# The tap, killed when its last STATE has left and before it ends.
KILLED = """
import os, signal
from tap_saas.__main__ import main
from tap_saas.sync.run import Run
Run.close = lambda run: os.kill(os.getpid(), signal.SIGKILL)
main()
"""
NOTHING = timedelta(0)


@pytest.fixture
def sells(folder: Path) -> Iterator[Shop]:
    with shop(folder, shop_yaml(ORDERS, WHOLE), customers=0) as mill:
        mill.configure(feeds=["webhooks"])
        yield mill


def happen(mill: Shop, n: int) -> list[str]:
    """So many orders come, and the queue is told; their ids."""
    made = mill.world.change("orders", insert=n).inserted
    mill.receive(mill.new_events())
    return made


def run(mill: Shop, echoes: str, tap: Sequence[str | Path] = (BIN / "tap-saas",)) -> int:
    """`tap | target | saasctl state save`; how the tap ended."""
    state: list[str | Path] = ["--state", mill.state] if mill.state.exists() else []
    pipe = subprocess.PIPE
    command = [*tap, "--config", mill.config, *state]
    with (
        subprocess.Popen(command, stdout=pipe, env=mill.environment) as first,
        subprocess.Popen(
            [sys.executable, "-c", TARGET, echoes], stdin=first.stdout, stdout=pipe
        ) as second,
        subprocess.Popen(
            [BIN / "saasctl", "state", "save", mill.state], stdin=second.stdout
        ) as last,
    ):
        for each in (first, second):
            assert each.stdout is not None
            each.stdout.close()
        assert [second.wait(PATIENCE_S), last.wait(PATIENCE_S)] == [0, 0]
        return first.wait(PATIENCE_S)


def drained(mill: Shop) -> list[str]:
    """The ids that one more run writes; its state comes back."""
    done = mill.drain()
    assert done.code == 0, done.told
    mill.keep_state(done)
    return [str(row["id"]) for row in done.records("orders")]


def purge(mill: Shop) -> int:
    with mill.queue() as queue:
        return queue.purge(keep=NOTHING)


def test_killed_after_its_last_state_it_has_acknowledged_nothing(sells: Shop) -> None:
    happen(sells, 3)
    assert run(sells, "all", [sys.executable, "-c", KILLED]) == -signal.SIGKILL
    assert sells.bookmark("webhooks.main")["queue"][1] == 3, "the state came back"
    assert sells.acknowledged() == 0
    assert purge(sells) == 0
    new = happen(sells, 2)
    assert drained(sells) == new, "nothing again, nothing left out"
    assert sells.acknowledged() == 3
    assert purge(sells) == 3


def test_a_target_that_echoes_no_state_has_everything_again(sells: Shop) -> None:
    first = happen(sells, 3)
    assert run(sells, "none") == 0
    assert sells.kept() == {}
    assert (sells.acknowledged(), purge(sells)) == (0, 0)
    assert drained(sells) == first
    assert (sells.acknowledged(), purge(sells)) == (0, 0)


def test_a_target_that_echoes_an_older_state_has_the_rest_again(sells: Shop) -> None:
    orders = happen(sells, 1_050)
    assert run(sells, "older") == 0
    place = sells.bookmark("webhooks.main")["queue"][1]
    assert 0 < place < len(orders)
    assert (sells.acknowledged(), purge(sells)) == (0, 0)
    assert drained(sells) == orders[place:]
    assert sells.acknowledged() == place, "the state that the run began with"
    assert purge(sells) == place
