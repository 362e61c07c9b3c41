"""An event log replayed: in its order, resumed, with late commits, and when it has forgotten."""

from __future__ import annotations

import itertools
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from push_api import ORDERS, WHOLE, Shop, shop, shop_yaml
from singer_output import Done

CREATED = """\
    incremental:
      {key: created, format: epoch_s, start: {send: param:created_after, format: iso8601},
       order: asc, lag: LAG, retention: 30d}
"""
NUMBERED = """\
    pagination:
      {type: seek, field: seq, send: param:after, more: $.has_more,
       size: {send: param:limit, value: 10}}
    incremental:
      {key: seq, format: counter, start: {send: param:after, exclusive: true}, first: 1,
       order: asc, lookback: BACK}
"""
NEWEST = """\
    params: {sort: -created}
    incremental: {key: created, format: epoch_s, order: desc, lag: LAG}
"""
DAY = timedelta(days=1)


def sells(folder: Path, log: str, **more: Any) -> AbstractContextManager[Shop]:
    return shop(folder, shop_yaml(ORDERS, WHOLE, log=log), customers=0, orders=60, **more)


def lagging(log: str, lag: str = "0s") -> str:
    return log.replace("LAG", lag)


def looking_back(n: int) -> str:
    return NUMBERED.replace("BACK", str(n))


def replay(mill: Shop, **config: Any) -> list[str]:
    """Read the log, take the state as proven; the ids that were written."""
    done = mill.drain("events", **config)
    assert done.code == 0, done.told
    mill.keep_state(done)
    return ids(done)


def ids(done: Done) -> list[str]:
    return [str(row["id"]) for row in done.records("orders")]


def requests(mill: Shop) -> int:
    """How many pages of the log were asked for since the last call."""
    n = len(mill.box.arrivals("/log"))
    mill.box.calm()
    return n


ALL = [lagging(CREATED), looking_back(0), lagging(NEWEST)]


@pytest.mark.parametrize("log", ALL, ids=["created", "seq", "newest first"])
def test_all_events_once_and_then_only_new_ones(tmp_path: Path, log: str) -> None:
    seconds = itertools.count(int(time.time()) - 86_400)
    with sells(tmp_path, log, clock_ms=lambda: next(seconds) * 1_000) as mill:
        first = slowly(mill, range(1, 39))
        assert set(replay(mill)) == set(first)
        assert requests(mill) >= 4
        second = slowly(mill, range(39, 51))
        # What has the watermark's own second or number is read again; newest first also the first
        # page that is wholly before it.
        again = set(replay(mill))
        assert again >= {first[-1], *second}
        assert again == {first[-1], *second} or "-created" in log
        assert len(again) <= 30
        assert requests(mill) <= 4, "one page may have been fetched ahead"
        assert second[-1] in replay(mill)
        assert requests(mill) <= 3


def slowly(mill: Shop, numbers: range) -> list[str]:
    """These orders change, a second after the other; their ids."""
    return [mill.world.change("orders", update=[str(n)]).updated[0] for n in numbers]


@pytest.mark.parametrize("log", ALL, ids=["created", "seq", "newest first"])
def test_a_run_that_is_killed_goes_on_where_its_state_says(tmp_path: Path, log: str) -> None:
    with sells(tmp_path, log) as mill:
        mill.box.tell("POST", "/_world/change", stream="orders", update=45)
        done = mill.drain("events", max_requests=3)
        assert done.code == 0
        mill.keep_state(done)
        before = set(ids(done))
        assert requests(mill) == 3
        rest = replay(mill)
        assert len(rest) == 15
        assert len(before | set(rest)) == 45
        assert requests(mill) == 2


def test_lag_reads_what_is_committed_late(tmp_path: Path) -> None:
    with sells(tmp_path, lagging(CREATED, "1m")) as mill:
        late = held(mill)
        assert not set(replay(mill)) & set(late)
        mill.box.tell("POST", "/_world/release")
        assert set(late) <= set(replay(mill))
        replay(mill, after=2 * timedelta(minutes=1))
        assert replay(mill, after=2 * timedelta(minutes=1)) != []


def held(mill: Shop) -> list[str]:
    """Two orders whose events are held back behind three others; their ids."""
    mill.box.tell("POST", "/_world/hold", n=2)
    late = mill.world.change("orders", update=["1", "2"]).updated
    mill.world.change("orders", update=["3", "4", "5"])
    return late


@pytest.mark.parametrize(("back", "has_late"), [(5, True), (3, False)])
def test_lookback_in_numbers_reads_what_is_committed_late(
    tmp_path: Path, back: int, has_late: bool
) -> None:
    with sells(tmp_path, looking_back(back)) as mill:
        late = held(mill)
        assert replay(mill) == ["3", "4", "5"]
        mill.box.tell("POST", "/_world/release")
        # The watermark is 5, so that 4 back begins at 1.
        assert (set(late) <= set(replay(mill))) is has_late


def test_a_log_that_has_forgotten_is_a_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sells(tmp_path, lagging(CREATED)) as mill:
        mill.world.change("orders", update=3)
        replay(mill)
        gone = mill.world.change("orders", delete=2, update=4).deleted
        mill.box.tell("POST", "/_world/forget", keep=0)
        done = mill.drain("events", after=31 * DAY)
        assert "the log events.log was read before its retention (1 times that ago)" in caplog.text
        versions = {
            message["version"]
            for message in done.messages
            if message["type"] == "RECORD" and message["stream"] == "orders"
        }
        assert len(versions) == 1
        assert set(ids(done)) == {key for key, _ in mill.box.truth("orders")}
        assert not set(ids(done)) & set(gone)
        mill.keep_state(done)
        (version,) = versions
        following = mill.drain("pull", after=31 * DAY)
        activated = [m for m in following.messages if m["type"] == "ACTIVATE_VERSION"]
        assert activated == [{"type": "ACTIVATE_VERSION", "stream": "orders", "version": version}]


def test_a_quiet_log_is_no_gap(tmp_path: Path) -> None:
    with sells(tmp_path, lagging(CREATED)) as mill:
        mill.world.change("orders", update=3)
        replay(mill)
        mill.box.tell("POST", "/_world/forget", keep=0)
        for days in (20, 40, 60, 80):
            assert replay(mill, after=days * DAY) == []
        assert mill.box.arrivals("/orders") == []


def test_a_bad_event_is_a_reject_and_the_watermark_goes_on(tmp_path: Path) -> None:
    with sells(tmp_path, lagging(CREATED).replace("key: created", "key: created_at")) as mill:
        mill.world.change("orders", update=2)
        assert len(replay(mill)) == 2
        assert mill.bookmark("events.log")["replication_key_value"] is None
