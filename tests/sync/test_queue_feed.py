"""The queue as a log: read once, acknowledged by proof alone, told apart from other histories."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from push_api import ORDERS, WHOLE, Shop, shop, shop_yaml
from singer_output import Done

from tap_saas.errors import StateError

TEXT = shop_yaml(ORDERS, WHOLE)
NOTHING = timedelta(0)


@pytest.fixture
def sells(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, TEXT, customers=0) as made:
        yield made


def happen(mill: Shop, n: int) -> list[str]:
    """So many orders change and the queue is told; their ids."""
    ids = mill.world.change("orders", update=n).updated
    mill.receive(mill.new_events())
    return ids


def ids(done: Done) -> list[str]:
    assert done.code == 0, done.told
    return [str(row["id"]) for row in done.records("orders")]


def drained(mill: Shop, **config: Any) -> list[str]:
    """Drain, and take the state as proven; the ids that were written."""
    done = mill.drain(**config)
    mill.keep_state(done)
    return ids(done)


def purge(mill: Shop) -> int:
    with mill.queue() as queue:
        return queue.purge(keep=NOTHING)


def swept(done: Done) -> bool:
    """Whether the orders were read whole, as a sweep."""
    return any("version" in message for message in done.messages if message["type"] == "RECORD")


def test_only_the_state_that_a_run_begins_with_is_proof(sells: Shop) -> None:
    first = happen(sells, 3)
    done = sells.drain()
    assert ids(done) == first
    assert sells.acknowledged() == 0, "what this run writes may not arrive"
    assert ids(sells.drain()) == first, "the state was lost"
    sells.keep_state(done)
    second = happen(sells, 2)
    assert drained(sells) == second
    assert sells.acknowledged() == 3
    assert drained(sells) == []
    assert sells.acknowledged() == 5
    assert purge(sells) == 5


def test_what_waits_for_its_record_is_not_acknowledged(tmp_path: Path) -> None:
    with shop(tmp_path) as mill:
        for key in ("1", "2", "3"):
            mill.world.change("customers", update=[key])
        mill.receive(mill.new_events())
        mill.box.fault("/customers/2", "503", times=None)
        mill.keep_state(mill.drain())
        mill.keep_state(mill.drain())
        assert mill.acknowledged() == 1
        mill.box.calm()
        mill.keep_state(mill.drain(after=timedelta(minutes=3)))
        mill.drain()
        assert mill.acknowledged() == 3


def test_another_consumer_has_a_state_of_its_own(sells: Shop) -> None:
    happen(sells, 2)
    sells.consumers = ["audit", "main"]
    assert sells.acknowledged() == 0
    assert len(drained(sells)) == 2
    refused = sells.drain(consumer="audit")
    assert refused.code == StateError.exit_code
    assert "the state is that of the consumer main, this one is audit" in refused.told
    sells.drain()
    assert purge(sells) == 0, "audit has not had them"
    sells.state.unlink()
    assert len(drained(sells, consumer="audit")) == 2
    sells.drain(consumer="audit")
    assert purge(sells) == 2


def test_a_consumer_that_nobody_declared_acknowledges_nothing(
    sells: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    happen(sells, 2)
    assert len(drained(sells, consumer="stranger")) == 2
    assert drained(sells, consumer="stranger") == []
    assert "nobody declared this consumer" in caplog.text
    assert sells.acknowledged() == 0


def test_lost_state_reads_what_is_kept_and_asks_for_no_full_pass(sells: Shop) -> None:
    happen(sells, 3)
    drained(sells)
    drained(sells)
    assert purge(sells) == 3
    sells.state.unlink()
    kept = happen(sells, 2)
    done = sells.drain()
    assert ids(done) == kept
    assert not swept(done)


def test_old_state_reads_again_and_takes_nothing_back(sells: Shop) -> None:
    first = happen(sells, 2)
    drained(sells)
    old = sells.state.read_text()
    second = happen(sells, 2)
    drained(sells)
    drained(sells)
    assert sells.acknowledged() == 4
    sells.state.write_text(old)
    assert drained(sells) == second
    assert sells.acknowledged() == 4
    assert set(first) | set(second) == set(first + second)


def test_events_that_are_gone_for_an_old_state_are_a_gap(
    sells: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    happen(sells, 1)
    drained(sells)
    old = sells.state.read_text()
    happen(sells, 2)
    drained(sells)
    drained(sells)
    assert purge(sells) == 3
    sells.state.write_text(old)
    new = happen(sells, 1)
    done = sells.drain()
    assert "the queue no longer has all events of shop/main" in caplog.text
    assert swept(done), "webhooks alone were asked for, the gap needs the list"
    assert set(ids(done)) == {key for key, _ in sells.box.truth("orders")}
    assert ids(done)[-1:] == new
    sells.keep_state(done)
    assert drained(sells) == []


def test_another_epoch_is_read_from_its_first_event_and_is_a_gap(sells: Shop) -> None:
    happen(sells, 3)
    drained(sells)
    for file in sells.file.parent.glob("queue.db*"):
        file.unlink()
    new = happen(sells, 1)
    done = sells.drain()
    assert swept(done)
    assert ids(done)[-1:] == new
    assert sells.acknowledged() == 0
    sells.keep_state(done)
    assert drained(sells) == []
    assert sells.acknowledged() == 1


@pytest.mark.parametrize("later", [0, 1, 3], ids=["beyond the tail", "still beyond", "reused"])
def test_restored_queue_file_is_another_history(sells: Shop, later: int) -> None:
    happen(sells, 2)
    copy = shutil.copytree(sells.file.parent, sells.folder / "copy")
    happen(sells, 2)
    drained(sells)
    shutil.rmtree(sells.file.parent)
    shutil.move(copy, sells.file.parent)
    happen(sells, later)
    done = sells.drain()
    assert swept(done), "another event has the offset of the state, or none has"
    assert len(ids(done)) == 20 + 2 + later
    assert sells.acknowledged() == 0
    sells.keep_state(done)
    assert drained(sells) == []
    assert sells.acknowledged() == 2 + later


def test_a_gap_is_told_again_until_a_full_pass_is_written(sells: Shop) -> None:
    happen(sells, 3)
    drained(sells)
    for file in sells.file.parent.glob("queue.db*"):
        file.unlink()
    new = happen(sells, 1)
    sells.box.fault("/orders", "503", times=None)
    done = sells.drain()
    assert done.code == 5
    assert len(done.records("orders")) == len(new), "the queue is read all the same"
    sells.keep_state(done)
    sells.box.calm()
    again = sells.drain()
    assert swept(again)
    assert len(ids(again)) == 20
    sells.keep_state(again)
    assert not swept(sells.drain())


@pytest.mark.parametrize("broken", [["epoch"], ["e", "1", "m", "main"], [1, 2, 3, 4]])
def test_broken_place_is_one_clear_line(sells: Shop, broken: list[Any]) -> None:
    happen(sells, 1)
    sells.state.write_text(json.dumps({"bookmarks": {"webhooks.main": {"queue": broken}}}))
    done = sells.drain()
    assert done.code == StateError.exit_code
    assert "queue cannot be read" in done.told
    assert done.records("orders") == []


steps = st.lists(
    st.sampled_from(["event", "events", "run", "lost", "purge", "older"]), min_size=3, max_size=9
)


@settings(max_examples=8)
@given(steps=steps)
def test_nothing_is_purged_that_was_not_proven_written(steps: list[str]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        shop(Path(folder), TEXT, customers=0, orders=30) as mill,
    ):
        written: set[str] = set()
        states: list[tuple[str | None, set[str]]] = [(None, set())]
        for step in [*steps, "run"]:
            if step.startswith("event"):
                mill.world.change("orders", insert=3 if step == "events" else 1)
                mill.receive(mill.new_events())
            elif step == "purge":
                with mill.queue() as queue:
                    queue.purge(keep=NOTHING)
            elif step == "older":
                text, written = states[len(states) // 2]
                written = set(written)
                _restore(mill, text)
            else:
                done = mill.drain()
                assert done.code == 0, done.told
                if step == "run":  # else neither rows nor state arrive
                    written |= set(ids(done))
                    mill.keep_state(done)
                    states.append((mill.state.read_text(), set(written)))
        truth = {key for key, _ in mill.box.truth("orders") if int(key) > 30}
        assert truth <= written


def _restore(mill: Shop, text: str | None) -> None:
    if text is None:
        mill.state.unlink(missing_ok=True)
    else:
        mill.state.write_text(text)
