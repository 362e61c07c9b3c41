"""Waiting for a budget: in turn, interruptible, told of, ended where it would be too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tap_saas.client import limiter as module
from tap_saas.client.limiter import BudgetSpentError, Limiter, StoppedError, Wait
from tap_saas.client.stores import Store, StoreLostError
from tap_saas.client.stores.memory import MemoryStore
from tap_saas.client.stores.sqlite import SqliteStore
from tap_saas.connector.budget import Budget
from tap_saas.connector.exchange import Headers, Response
from tap_saas.connector.notation import decode_notation

ONE_A_MINUTE: list[dict[str, Any]] = [{"requests": 1, "per": "1m"}]
ONE_A_DAY: list[dict[str, Any]] = [{"requests": 1, "per": "1d", "spent": "stop"}]


def budgets(**raw: Any) -> dict[str, Budget]:
    return msgspec.convert(raw, dict[str, Budget], dec_hook=decode_notation)


class Asker:
    """A limiter with all budgets of one connector at hand."""

    def __init__(self, store: Store, **raw: Any) -> None:
        self.budgets = budgets(**raw)
        self.stop = threading.Event()
        self.limiter = Limiter(store, scope="acme")
        self.waits: list[Wait] = []
        self.has_waited = threading.Event()

    def buckets(self, method: str = "GET", path: str = "/orders", **values: Any) -> module.Buckets:
        return self.limiter.buckets(self.budgets, method, path, values)

    def ask(self, path: str = "/orders", deadline: float | None = None) -> module.Slot:
        buckets = self.buckets(path=path)
        return self.limiter.acquire(
            buckets, stop=self.stop, deadline=deadline, on_wait=self._on_wait
        )

    def _on_wait(self, wait: Wait) -> None:
        self.waits.append(wait)
        self.has_waited.set()


@contextmanager
def asking(store: Store | None = None, **raw: Any) -> Iterator[Asker]:
    asker = Asker(store or MemoryStore(), **raw)
    with asker.limiter:
        yield asker


@contextmanager
def waiting(asker: Asker, **more: Any) -> Iterator[Future[module.Slot]]:
    """A thread that waits for a slot of which there is none."""
    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(asker.ask, **more)
            assert asker.has_waited.wait(5)
            yield future
        finally:
            asker.stop.set()


def test_a_request_spends_all_budgets_that_apply() -> None:
    every = {
        "all": {"limits": ONE_A_MINUTE},
        "search": {"match": "POST /search/*", "limits": [{"requests": 5, "per": "1s"}]},
        "base": {"key": "{base_id}", "limits": [{"concurrent": 2}]},
    }
    with asking(**every) as asker:
        named = asker.buckets("POST", "/search/a", base_id="b1")
        assert [claim.budget for claim in named] == ["all", "search", "base"]
        assert [claim.budget for claim in asker.buckets("GET", "/search/a")] == ["all"]
        assert named[0].bucket == "acme/all"
        assert named[2].bucket != asker.buckets("POST", "/search/a", base_id="b2")[2].bucket


def test_the_margin_follows_the_window() -> None:
    per = ["100ms", "1s", "10s", "1d"]
    with asking(all={"limits": [{"requests": 9, "per": text} for text in per]}) as asker:
        (claim,) = asker.buckets()
        margins = {rate.per_s: round(rate.span_s - rate.per_s, 6) for rate in claim.rates}
    assert margins == {0.1: 0.04, 1: 0.04, 10: 0.3, 86400: 1}


def test_of_two_limits_of_one_window_the_smaller_holds() -> None:
    limits = [{"requests": number, "per": "1m"} for number in (3, 2, 4)]
    with asking(all={"limits": limits}) as asker:
        assert [rate.requests for rate in asker.buckets()[0].rates] == [2]


def test_a_wait_is_counted_and_told_once() -> None:
    with asking(all={"limits": [{"requests": 1, "per": "200ms"}]}) as asker:
        assert asker.ask().waited == {}
        start = time.monotonic()
        slot = asker.ask()
        assert 0.2 <= slot.waited_s <= time.monotonic() - start
        assert slot.waited == {"budget": slot.waited_s}
        assert [(wait.cause, wait.budget) for wait in asker.waits] == [("budget", "all")]


def test_stop_ends_a_wait() -> None:
    with asking(all={"limits": ONE_A_MINUTE}) as asker:
        asker.ask()
        with waiting(asker) as future:
            start = time.monotonic()
            asker.stop.set()
            with pytest.raises(StoppedError):
                future.result(5)
            assert time.monotonic() - start < 1


def test_who_was_stopped_leaves_its_place() -> None:
    with asking(all={"limits": [{"requests": 1, "per": "300ms"}]}) as asker:
        asker.ask()
        with waiting(asker) as future:
            asker.stop.set()
            assert isinstance(future.exception(5), StoppedError)
        asker.stop.clear()
        assert asker.ask().waited_s < 0.5


def test_a_wait_beyond_the_end_of_the_run_is_spent() -> None:
    with asking(all={"limits": ONE_A_MINUTE}) as asker:
        asker.ask(deadline=time.monotonic() + 30)
        with pytest.raises(BudgetSpentError, match=r"budget all is spent, .* in 61 s") as caught:
            asker.ask(deadline=time.monotonic() + 30)
        assert caught.value.budget == "all"
        assert caught.value.exit_code == 0
        assert caught.value.seconds == pytest.approx(61, abs=1)


def test_spent_stop_ends_a_run_without_an_end(tmp_path: Path) -> None:
    for made in range(2):
        store = SqliteStore(tmp_path / "budgets.db")
        with asking(store, all={"limits": ONE_A_DAY}) as asker:
            if made == 0:
                asker.ask()
            alarm = threading.Timer(5, asker.stop.set)  # else a failure would last a day
            alarm.start()
            with pytest.raises(BudgetSpentError, match="allowed in 25 h"):
                asker.ask()
            alarm.cancel()
        store.close()


def test_short_waits_do_not_end_it() -> None:
    with asking(all={"limits": [{"requests": 1, "per": "100ms", "spent": "stop"}]}) as asker:
        asker.ask()
        assert asker.ask().waited_s > 0.1


def test_a_pause_holds_requests_without_a_budget() -> None:
    with asking() as asker:
        asker.ask()
        asker.limiter.pause(asker.buckets(), 0.2)
        slot = asker.ask("/other")
        assert 0.2 <= slot.waited["api"] < 1
        assert asker.waits[0].cause == "api"


def test_a_long_pause_ends_who_waits_already() -> None:
    with asking(all={"limits": ONE_A_MINUTE}) as asker:
        asker.ask()
        with waiting(asker, deadline=time.monotonic() + 300) as future:
            asker.limiter.pause(asker.buckets(), 3600)
            error = future.exception(5)
        assert isinstance(error, BudgetSpentError)
        assert error.seconds > 3500


def test_a_long_pause_is_remembered_by_the_next_run(tmp_path: Path) -> None:
    for made in range(2):
        store = SqliteStore(tmp_path / "budgets.db")
        with asking(store) as asker:
            if made == 0:
                asker.limiter.pause(asker.buckets(), 7200)
            with pytest.raises(BudgetSpentError, match="allowed in"):
                asker.ask(deadline=time.monotonic() + 60)
        store.close()


def test_no_more_in_flight_than_allowed() -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def work(asker: Asker) -> None:
        with asker.limiter.slot(asker.buckets(), stop=asker.stop):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.01)
            with lock:
                running[0] -= 1

    with asking(all={"limits": [{"concurrent": 3}]}) as asker, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [asker] * 40))
    assert most[0] == 3


def test_the_slot_ends_when_the_request_fails() -> None:
    with asking(all={"limits": [{"concurrent": 1}]}) as asker:
        with (
            pytest.raises(ValueError, match="broken"),
            asker.limiter.slot(asker.buckets(), stop=asker.stop),
        ):
            raise ValueError("broken")
        assert asker.ask().waited_s == 0


def test_leases_live_as_long_as_their_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0)
    offset = [0.0]
    store = MemoryStore(lambda: time.monotonic() + offset[0])
    with asking(store, all={"limits": [{"concurrent": 1}]}) as asker:
        slot = asker.ask()
        for _ in range(2):
            offset[0] += 20
            time.sleep(0.6)
        with pytest.raises(BudgetSpentError):
            asker.ask(deadline=time.monotonic())
        asker.limiter.release(slot)
        assert asker.ask().waited_s == 0


def test_leases_that_cannot_be_renewed_stop_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0)
    store = SqliteStore(tmp_path / "budgets.db")
    with asking(store, all={"limits": [{"concurrent": 1}]}) as asker:
        asker.ask()
        with waiting(asker) as future:
            store.path.unlink()
            assert isinstance(future.exception(5), StoreLostError)
        with pytest.raises(StoreLostError):
            asker.ask()
    store.close()


def test_what_the_api_counts_holds_the_next_request() -> None:
    reset = {"take": "header:X-Reset", "as": "delta_s"}
    with asking(learnt={"remaining": "header:X-Left", "reset": reset}) as asker:
        with asker.limiter.slot(asker.buckets(), stop=asker.stop) as slot:
            asker.limiter.learn(slot, answer({"X-Left": "0", "X-Reset": "500"}))
        with pytest.raises(BudgetSpentError, match="budget learnt is spent"):
            asker.ask(deadline=time.monotonic() + 60)


def answer(headers: dict[str, str]) -> Response:
    now = datetime.now(UTC)
    return Response(
        status=200, headers=Headers(headers), body=b"", url="http://x/", received_at=now
    )


@pytest.mark.parametrize("harm", ["close", "unlink"])
def test_a_lost_store_never_lets_a_waiter_go(tmp_path: Path, harm: str) -> None:
    store = SqliteStore(tmp_path / "budgets.db")
    harms: dict[str, Callable[[], object]] = {
        "close": store._db.close,
        "unlink": store.path.unlink,
    }
    with asking(store, all={"limits": [{"requests": 1, "per": "300ms"}]}) as asker:
        asker.ask()
        with waiting(asker) as future:
            harms[harm]()
            error = future.exception(5)
        assert isinstance(error, StoreLostError)
    store.close()
