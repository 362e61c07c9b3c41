"""Budgets as a connector states them, kept by a whole client and judged where requests arrive."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from clients import Asker, stream
from fleet import most_in
from loopback import Answer, Seen, serve

from tap_saas.client.client import Where
from tap_saas.client.limiter import BudgetSpentError, RequestsSpentError, StoppedError
from tap_saas.client.pager import walk
from tap_saas.client.walk_stop import WalkStop
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Page, Request

DAY = {"requests": 1, "per": "1d"}


def ask_all(askers: list[Asker], asks: list[dict[str, Any]], threads: int = 8) -> None:
    """Ask all of it, by turns with these clients, from several threads."""
    with ThreadPoolExecutor(threads) as pool:
        numbered = [(askers[n % len(askers)], more) for n, more in enumerate(asks)]
        list(pool.map(lambda pair: pair[0].ask(**pair[1]), numbered))


def test_every_budget_of_a_request_holds_at_the_server(tmp_path: Path) -> None:
    budgets = {
        # 20 a second less a quarter, of which two thirds are ours: 10.
        "all": {"limits": [{"requests": 20, "per": "1s", "reserve": "25%"}], "share": "66.7%"},
        "search": {"match": "/search/*", "limits": [{"requests": 3, "per": "600ms"}]},
        "base": {"key": "{base}", "limits": [{"requests": 4, "per": "600ms"}]},
    }
    asks = [
        {"path": path, "where": Where(stream="orders", context={"base": base})}
        for path, base in [("/search/a", "x"), ("/orders", "x"), ("/orders", "y"), ("/orders", "y")]
    ] * 6
    with serve(lambda _: Answer()) as server, ExitStack() as opened:
        askers = [
            opened.enter_context(
                Asker(server.url, home=tmp_path, budgets=budgets, auth=[key_of_base()])
            )
            for _ in range(2)
        ]
        ask_all(askers, asks)
    came: dict[str, list[float]] = {}
    for seen in server.seen:
        kind = "search" if seen.path.startswith("/search") else "orders"
        for name in ("all", kind, f"base {seen.headers['X-Base']}"):
            came.setdefault(name, []).append(seen.at)
    # The server shares its processor with those who ask, and notes the time late.
    most = {
        name: most_in(sorted(times), 0.9 if name == "all" else 0.5) for name, times in came.items()
    }
    assert len(came["all"]) == len(asks)
    assert 8 <= most["all"] <= 10, "kept and used"
    assert most["search"] <= 3
    assert most["base x"] <= 4
    assert most["base y"] <= 4


def test_spread_requests_of_two_clients_arrive_evenly(tmp_path: Path) -> None:
    budgets = {"all": {"limits": [{"requests": 10, "per": "1s"}], "spread": True}}
    with serve(lambda _: Answer()) as server, ExitStack() as opened:
        askers = [
            opened.enter_context(Asker(server.url, home=tmp_path, budgets=budgets))
            for _ in range(2)
        ]
        ask_all(askers, [{}] * 12)
    times = sorted(seen.at for seen in server.seen)
    assert len(times) == 12
    assert most_in(times, 0.3) <= 5, "not all ten of a second at once"


def key_of_base() -> dict[str, str]:
    return {"type": "key", "send": "header:X-Base", "value": "{base}"}


class Counting:
    """An API that allows `requests` in each window, and says what is left of it."""

    def __init__(self, requests: int, window_s: float) -> None:
        self.requests, self.window_s = requests, window_s
        self._lock = threading.Lock()
        self._window, self._used = 0, 0
        self.statuses: Counter[int] = Counter()

    def __call__(self, _: Seen) -> Answer:
        with self._lock:
            window, into = divmod(time.monotonic(), self.window_s)
            if window != self._window:
                self._window, self._used = int(window), 0
            self._used += 1
            status = 200 if self._used <= self.requests else 429
            self.statuses[status] += 1
            left = max(0, self.requests - self._used)
            headers = {"X-Left": f"{left}", "X-Reset": f"{self.window_s - into:.3f}"}
        return Answer(status=status, headers=headers, delay_s=0.01)


def test_the_count_of_the_api_is_learnt_and_never_exceeded(tmp_path: Path) -> None:
    learnt = {"remaining": "header:X-Left", "reset": {"take": "header:X-Reset", "as": "delta_s"}}
    api = Counting(requests=12, window_s=1.0)
    with serve(api) as server, ExitStack() as opened:
        askers = [
            opened.enter_context(Asker(server.url, home=tmp_path, budgets={"learnt": learnt}))
            for _ in range(2)
        ]
        askers[0].ask()  # until the first answer nothing is known
        began = time.monotonic()
        ask_all(askers, [{}] * 40)
    assert api.statuses == {200: 41}
    assert time.monotonic() - began < 5, "and it is used"


def test_what_others_keep_for_themselves_is_not_spent_of_what_the_api_counts() -> None:
    budget = {
        "limits": [{"requests": 100, "per": "1h", "reserve": "20%"}],
        "remaining": "header:X-Left",
        "reset": {"take": "header:X-Reset"},
    }
    left = [23]

    def answer(_: Seen) -> Answer:
        left[0] -= 1
        return Answer(headers={"X-Left": f"{left[0]}", "X-Reset": "3000"})

    end = time.monotonic() + 60
    with serve(answer) as server, Asker(server.url, budgets={"all": budget}, deadline=end) as asker:
        for _ in range(3):
            asker.ask()
        with pytest.raises(BudgetSpentError, match="budget all is spent"):
            asker.ask()
    assert left[0] == 20


def test_no_more_requests_than_the_run_may_make_whoever_asks() -> None:
    answers = iter([Answer(status=500), *[Answer()] * 50])
    with (
        serve(lambda _: next(answers)) as server,
        Asker(server.url, most_requests=7) as asker,
        ThreadPoolExecutor(4) as pool,
    ):
        errors = [future.exception() for future in [pool.submit(asker.ask) for _ in range(12)]]
    assert len(server.seen) == asker.report.requests == 7
    refused = [error for error in errors if error is not None]
    assert len(refused) == 6, "one of the seven was a second try"
    for error in refused:
        assert isinstance(error, RequestsSpentError)
        assert error.exit_code == 0
        assert error.what == "max_requests is reached (7)"


def paused_walk(asker: Asker) -> Iterator[Page]:
    """A list of two pages, of which the second has to wait."""
    form = stream(
        records={"at": "$.data"},
        pagination={"type": "cursor", "next": "$.next", "send": "param:cursor"},
    )
    return walk(
        asker.client,
        form,
        Request(url=f"{asker.url}/orders"),
        token=None,
        decode=lambda response: Decoded(read_records(form.records, response), "dict"),
        where=Where(stream="orders"),
        ahead_bytes=10**6,
    )


@pytest.mark.parametrize("why", ["budget", "retry"])
def test_a_closed_walk_waits_for_nothing(why: str) -> None:
    budgets = {"all": {"limits": [DAY]}} if why == "budget" else {}
    first = Answer(body=b'{"data": [{"id": 1}], "next": "2"}')

    def answer(seen: Seen) -> Answer:
        return Answer(status=500) if "cursor" in seen.path else first

    slow = {"first": "1h", "max": "1h", "total": "1d"}
    with serve(answer) as server, Asker(server.url, budgets=budgets, retry=slow) as asker:
        with closing(paused_walk(asker)) as pages:
            assert [record["id"] for record in next(pages).records] == [1]
            until(lambda: "waiting" in str(asker.report.snapshot()) or why == "retry")
            time.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        until(lambda: not [t for t in threading.enumerate() if t.name == "pager"])


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_stop_of_a_run_ends_its_walks_and_that_of_a_walk_nothing_else() -> None:
    run = threading.Event()
    one, other = WalkStop(run), WalkStop(run)
    one.set()
    assert (one.is_set(), one.wait(5), other.is_set(), run.is_set()) == (True, True, False, False)
    assert not other.wait(0.01)
    threading.Timer(0.05, run.set).start()
    began = time.monotonic()
    assert other.wait(5)
    assert time.monotonic() - began < 1


def test_a_signal_ends_the_wait_for_a_retry_and_for_a_budget() -> None:
    slow = {"first": "1h", "max": "1h", "total": "1d"}
    with (
        serve(lambda _: Answer(status=500)) as server,
        Asker(server.url, retry=slow, budgets={"all": {"limits": [DAY]}}) as asker,
        ThreadPoolExecutor(2) as pool,
    ):
        futures = [pool.submit(asker.ask) for _ in range(2)]
        until(lambda: server.seen)
        began = time.monotonic()
        asker.stop.set()
        assert {type(future.exception(5)) for future in futures} == {StoppedError}
        assert time.monotonic() - began < 1


def test_a_wait_that_an_api_asks_for_holds_all_who_spend_of_the_same_budget(
    tmp_path: Path,
) -> None:
    answers = iter([Answer(status=429, headers={"Retry-After": "1"}), *[Answer()] * 50])
    budgets = {"all": {"limits": [{"requests": 100, "per": "1s"}]}}
    with serve(lambda _: next(answers)) as server, ExitStack() as opened:
        askers = [
            opened.enter_context(Asker(server.url, home=tmp_path, budgets=budgets))
            for _ in range(2)
        ]
        first = threading.Thread(target=askers[0].ask)
        first.start()
        until(lambda: server.seen and "429" in str(askers[0].report.snapshot()))
        time.sleep(0.1)
        askers[1].ask()
        first.join()
    assert server.seen[1].at - server.seen[0].at >= 1
