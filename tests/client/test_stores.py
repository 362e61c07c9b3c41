"""What every store of budgets promises; the clock is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_saas.client.stores import Store
from tap_saas.client.stores.bucket import LEASE_S, Bucket, Claim, Grant, Rate, try_claims
from tap_saas.client.stores.memory import MemoryStore
from tap_saas.client.stores.postgres import PostgresStore
from tap_saas.client.stores.sqlite import SqliteStore


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[[Clock], Store]
kinds = pytest.mark.parametrize("make", ["memory", "sqlite", "postgres"], indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes empty stores of one kind, and closes them."""
    makers: dict[str, Make] = {
        "memory": MemoryStore,
        "sqlite": lambda clock: SqliteStore(tmp_path / f"{len(made)}.db", clock=clock),
        "postgres": lambda clock: emptied(request.getfixturevalue("postgres"), clock),
    }
    made: list[Store] = []

    def new(clock: Clock) -> Store:
        made.append(makers[request.param](clock))
        return made[-1]

    yield new
    for store in made:
        store.close()


def emptied(url: str, clock: Clock) -> PostgresStore:
    """The store in the maintenance database, as if nothing had been spent."""
    store = PostgresStore(url, clock=clock)
    store._db.execute("TRUNCATE budget_bucket")
    return store


def rate(requests: int, per_s: float, **more: bool) -> Rate:
    return Rate(requests, per_s, per_s, **more)


def claim(
    *rates: Rate, name: str = "all", concurrent: int | None = None, gap_s: float = 0
) -> Claim:
    return Claim(name, name, rates, concurrent=concurrent, gap_s=gap_s, entry_gap_s=0.1, entry_s=2)


class Fleet:
    """Threads that ask for slots one after another, and wait as they are told, in a fake time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.granted: list[tuple[float, str]] = []
        self._numbers = count()
        self._asking: list[tuple[float, int, str, str, tuple[Claim, ...], float | None]] = []

    def ask(self, who: str, *claims: Claim, at: float | None = None) -> None:
        """One more request by somebody."""
        number = next(self._numbers)
        start = self.clock.now if at is None else at
        heapq.heappush(self._asking, (start, number, who, f"{who}.{number}", claims, None))

    def run(self, until: float, again: bool = True) -> list[tuple[float, str]]:
        """Let the time pass; `again`: who got a slot asks for the next."""
        while self._asking and self._asking[0][0] <= until:
            at, number, who, ticket, claims, since = heapq.heappop(self._asking)
            self.clock.now = max(self.clock.now, at)
            grant = self.store.try_(ticket, claims, since)
            if grant.go:
                self.granted.append((self.clock.now, who))
                if again:
                    self.ask(who, *claims)
            else:
                wake = self.clock.now + min(grant.wait_s, 60)
                heapq.heappush(self._asking, (wake, number, who, ticket, claims, grant.since))
        self.clock.now = until
        return self.granted


def most_in(times: list[float], window_s: float) -> int:
    """The largest count in any window, open at its end."""
    first = most = 0
    for last, time in enumerate(times):
        while times[first] <= time - window_s + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


@kinds
def test_a_burst_goes_and_the_next_waits_for_the_window(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    for number in range(3):
        assert store.try_(f"{number}", [claim(rate(3, 10))]).go
        clock.now += 1
    assert store.try_("3", [claim(rate(3, 10))]) == Grant(False, 1003, 7, budget="all")
    clock.now = 1010
    assert store.try_("3", [claim(rate(3, 10))], 1003).go


limits = st.tuples(st.integers(1, 4), st.sampled_from([1.0, 3.0, 10.0]))
steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0, 2.5, 11.0]), st.sampled_from(["a", "b", "ab"])),
    max_size=60,
)


@kinds
@given(a=st.lists(limits, min_size=1, max_size=2), b=limits, steps=steps)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
def test_all_buckets_or_none_exactly_while_there_is_room(
    make: Make,
    a: list[tuple[int, float]],
    b: tuple[int, float],
    steps: list[tuple[float, str]],
) -> None:
    clock = Clock()
    store = make(clock)
    rates = {"a": [rate(*limit) for limit in {w: (n, w) for n, w in a}.values()]}
    rates["b"] = [rate(*b)]
    spent: dict[str, list[float]] = {"a": [], "b": []}
    for number, (pause, names) in enumerate(steps):
        clock.now += pause
        claims = [claim(*rates[name], name=name) for name in names]
        room = all(
            sum(time > clock.now - limit.span_s for time in spent[name]) < limit.requests
            for name in names
            for limit in rates[name]
        )
        grant = store.try_(f"{number}", claims)
        assert grant.go is room
        if room:
            for name in names:
                spent[name].append(clock.now)
        else:
            store.release(f"{number}", claims)


arrivals = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from(["a", "b", "ab"])), min_size=1, max_size=40
)


@given(
    arrivals=arrivals,
    a=limits,
    b=limits,
    gap_s=st.sampled_from([0.0, 0.2]),
    pauses=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), max_size=3),
)
@settings(deadline=None)
def test_no_window_holds_more_whoever_waits(
    arrivals: list[tuple[float, str]],
    a: tuple[int, float],
    b: tuple[int, float],
    gap_s: float,
    pauses: list[tuple[float, float]],
) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    fleet = Fleet(store, clock)
    claims = {"a": claim(rate(*a), name="a", gap_s=gap_s), "b": claim(rate(*b), name="b")}
    for at, names in arrivals:
        fleet.ask(names, *(claims[name] for name in names), at=1000 + at)
    silent: list[tuple[float, float]] = []
    for at, seconds in sorted(pauses):
        fleet.run(1000 + at, again=False)
        store.pause([claims["a"]], seconds)
        silent.append((clock.now, clock.now + seconds))
    granted = fleet.run(2000, again=False)
    assert len(granted) == len(arrivals), "everybody gets a slot at last"
    for name, (requests, per_s) in (("a", a), ("b", b)):
        assert most_in([time for time, who in granted if name in who], per_s) <= requests
    for start, end in silent:
        assert not [time for time, who in granted if "a" in who and start < time < end]


@kinds
def test_the_longest_waiter_goes_first(make: Make) -> None:
    clock = Clock()
    fleet = Fleet(make(clock), clock)
    for number in range(30):
        fleet.ask(f"{number:02}", claim(rate(4, 1)), at=1000 + number * 0.01)
    granted = fleet.run(1100, again=False)
    assert [who for _, who in granted] == [f"{number:02}" for number in range(30)]
    assert granted[-1][0] == pytest.approx(1007.01, abs=0.02)


@kinds
def test_shares_are_equal_and_the_budget_is_used(make: Make) -> None:
    clock = Clock()
    fleet = Fleet(make(clock), clock)
    for who in "abcde":
        fleet.ask(who, claim(rate(7, 1), rate(30, 6)))
    granted = fleet.run(1059.9)
    shares = [sum(who == name for _, who in granted) for name in "abcde"]
    assert max(shares) - min(shares) <= 3
    assert len(granted) == 30 * 10
    assert most_in([time for time, _ in granted], 1) == 7


@kinds
def test_a_waiter_of_a_spent_bucket_does_not_hold_up_the_others(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    small, large = claim(rate(1, 3600), name="small"), claim(rate(2, 1), name="large")
    assert store.try_("first", [small, large]).go
    for number in range(5):
        assert store.try_(f"blocked {number}", [small, large]).budget == "small"
    clock.now += 0.5
    assert store.try_("free", [large]).go


@kinds
def test_a_waiter_that_died_loses_its_place_and_no_more(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit = claim(rate(1, 10))
    assert store.try_("0", [limit]).go
    assert store.try_("dies", [limit]).wait_s == 10
    waits = store.try_("lives", [limit])
    assert waits.wait_s == 20
    clock.now += 10.5
    assert not store.try_("lives", [limit], waits.since).go
    clock.now += 0.6
    assert store.try_("lives", [limit], waits.since).go


@kinds
def test_who_gives_up_leaves_its_place(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit = claim(rate(1, 10))
    assert store.try_("0", [limit]).go
    store.try_("1", [limit])
    store.release("1", [limit])
    assert store.try_("2", [limit]).wait_s == 10


@kinds
def test_a_thousand_an_hour_is_exact(make: Make) -> None:
    clock = Clock()
    fleet = Fleet(make(clock), clock)
    for who in "ab":
        fleet.ask(who, claim(rate(1000, 3600), gap_s=1))
    times = [time for time, _ in fleet.run(1000 + 3600 + 199)]
    assert len(times) == 1201
    assert most_in(times, 3600) == 1000
    assert [time - 3600 for time in times[1000:]] == pytest.approx(times[:201])


@kinds
def test_a_large_limit_is_kept_in_bounded_parts(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit = claim(rate(1500, 86400))
    for number in range(1500):
        assert store.try_(f"{number}", [limit]).go
        clock.now += 20
    grant = store.try_("over", [limit])
    assert 86400 <= clock.now - 1000 + grant.wait_s <= 86400 * 1.001
    store.release("over", [limit])
    sizes: list[int] = []
    store._change(["all"], lambda buckets: sizes.append(len(buckets[0].logs[86400].times)))
    assert sizes[0] <= 1 + 1500 * 20 / 86.4


def test_a_large_limit_is_used_and_never_exceeded() -> None:
    clock = Clock()
    fleet = Fleet(MemoryStore(clock), clock)
    fleet.ask("slow", claim(rate(3000, 100), gap_s=0.033))
    fleet.run(1000 + 99)
    fleet.ask("fast", claim(rate(3000, 100)))
    times = [time for time, _ in fleet.run(1000 + 599)]
    assert most_in(times, 100) <= 3000
    assert len(times) >= 3000 * 6 * 0.95


@kinds
def test_spread_sends_evenly(make: Make) -> None:
    clock = Clock()
    fleet = Fleet(make(clock), clock)
    for who in "abc":
        fleet.ask(who, claim(rate(10, 1), gap_s=0.1))
    times = [time for time, _ in fleet.run(1010)]
    assert len(times) >= 98
    assert most_in(times, 0.3) <= 4


@kinds
def test_a_request_that_was_granted_late_leaves_the_window_late(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit, change = claim(rate(2, 10)), store._change
    assert store.try_("0", [limit]).go
    clock.now += 1

    def slowly(*given: Any) -> Any:
        result = change(*given)
        clock.now += 0.5
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_change", slowly)
        assert store.try_("1", [limit]).go
    assert store.try_("2", [limit]).wait_s == pytest.approx(8)
    store.release("2", [limit])
    clock.now = 1010
    assert store.try_("3", [limit]).go
    grant = store.try_("4", [limit])
    assert grant.wait_s == pytest.approx(1.5), "not 1 s"


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30), st.data())
def test_a_request_that_moves_is_counted_once(pauses: list[float], data: st.DataObject) -> None:
    bucket, limit = Bucket(0.0), claim(rate(100, 10))
    for pause in pauses:
        bucket.advance(bucket.at + pause)
        bucket.take(limit, "x")
    log = bucket.logs[10]
    at = data.draw(st.sampled_from(log.times))
    bucket.advance(bucket.at + 1e-6)
    times, used = (
        [t for t, n in zip(log.times, log.counts, strict=True) for _ in range(n)],
        log.used,
    )
    if at in times:
        times.remove(at)
        times.append(bucket.at)
    bucket.move(limit, at)
    assert [t for t, n in zip(log.times, log.counts, strict=True) for _ in range(n)] == times
    assert log.used == used == sum(log.counts)


@kinds
def test_a_pause_holds_everybody_and_ends_without_a_burst(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit, other = claim(rate(100, 1)), claim(rate(100, 1), name="other")
    store.pause([limit], 30)
    store.pause([limit], 5)
    grant = store.try_("0", [limit, other])
    assert (grant.go, grant.wait_s, grant.cause, grant.budget) == (False, 30, "api", "all")
    store.release("0", [limit, other])
    assert store.try_("1", [other]).go
    fleet = Fleet(store, clock)
    for who in range(20):
        fleet.ask(f"{who}", limit)
    granted = fleet.run(1031.9)
    assert granted[0][0] == 1030
    assert most_in([time for time, _ in granted], 1) <= 12
    assert len(fleet.run(1034)) > 100, "then bursts are fine again"


@kinds
def test_leases_end_with_the_request_or_its_process(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    two = claim(concurrent=2)
    assert store.try_("a", [two]).go
    assert store.try_("b", [two]).go
    assert not store.try_("c", [two]).go
    store.release("a", [two])
    assert store.try_("c", [two]).go
    clock.now += LEASE_S - 1
    store.renew({"c": [two]})
    clock.now += 2
    assert store.try_("d", [two]).go, "b was not renewed"
    assert not store.try_("e", [two]).go, "c was"


@kinds
def test_longest_waiter_gets_the_free_lease(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    one = claim(concurrent=1)
    assert store.try_("a", [one]).go
    first = store.try_("b", [one])
    clock.now += 0.001
    store.release("a", [one])
    assert not store.try_("c", [one]).go
    assert store.try_("b", [one], first.since).go


@kinds
def test_what_the_api_counts_is_spent_and_comes_back(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    learnt = Claim("all", "all", learns=True)
    assert store.try_("a", [learnt]).go
    store.learn("a", learnt, 2, 50)
    store.release("a", [learnt])
    assert store.try_("b", [learnt]).go
    assert store.try_("c", [learnt]).go
    grant = store.try_("d", [learnt])
    assert (grant.go, grant.wait_s) == (False, pytest.approx(50.1))
    clock.now += 50.2
    assert store.try_("d", [learnt], grant.since).go


@kinds
def test_every_window_of_an_api_is_learnt_anew(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    learnt = Claim("all", "all", learns=True)
    for left in (0, 1, 1):
        assert store.try_("a", [learnt]).go
        store.learn("a", learnt, left, 1)
        store.release("a", [learnt])
        goes = [store.try_(f"{number}", [learnt]).go for number in range(2)]
        assert goes == [left > 0, False]
        for number in range(2):
            store.release(f"{number}", [learnt])
        clock.now += 1.2


@kinds
def test_answers_of_an_api_may_overtake_each_other(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    learnt = Claim("all", "all", learns=True)
    for ticket in "abc":
        assert store.try_(ticket, [learnt]).go
    store.learn("b", learnt, 1, 50)
    store.release("b", [learnt])
    store.learn("a", learnt, 9, 50)
    assert not store.try_("d", [learnt]).go, "c may not be in the API's count yet"
    store.release("d", [learnt])
    store.release("a", [learnt])
    store.learn("c", learnt, 1, 50)
    assert store.try_("d", [learnt]).go


@kinds
def test_a_clock_that_jumps_neither_frees_nor_blocks(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    limit = claim(rate(2, 10))
    assert store.try_("a", [limit]).go
    assert store.try_("b", [limit]).go
    clock.now -= 900
    grant = store.try_("c", [limit])
    assert (grant.go, grant.wait_s) == (False, 10)
    store.release("c", [limit])
    clock.now += 3600
    assert store.try_("d", [limit]).go
    assert store.try_("e", [limit]).go
    assert not store.try_("f", [limit]).go


@kinds
def test_unused_buckets_are_forgotten(make: Make) -> None:
    clock = Clock()
    store = make(clock)
    for number in range(2500):
        limit = claim(rate(5, 10), name=f"key:{number}")
        assert store.try_("a", [limit]).go
        clock.now += 1
    assert rows_in(store) < 1100


def rows_in(store: Store) -> int:
    """How many buckets a store keeps."""
    if isinstance(store, MemoryStore):
        return len(store._buckets)
    assert isinstance(store, SqliteStore | PostgresStore)
    table = "bucket" if isinstance(store, SqliteStore) else "budget_bucket"
    found = store._db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0])


@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 5))
def test_a_wait_is_as_long_as_the_queue_before_it(requests: int, ahead: int, used: int) -> None:
    bucket = Bucket(0.0)
    limit = claim(rate(requests, 10))
    for number in range(min(used, requests)):
        bucket.advance(float(number))
        assert try_claims([bucket], [limit], f"{number}", None).go
    expected = sorted(log.times[0] for log in bucket.logs.values())
    times = list(bucket.logs[10].times) if expected else []
    bucket.advance(5.0)
    grants = [try_claims([bucket], [limit], f"w{number:02}", None) for number in range(ahead + 1)]
    for grant in grants:
        free = 5.0 if len(times) < requests else max(5.0, times[-requests] + 10)
        times.append(free)
        assert (0.0 if grant.go else grant.wait_s) == pytest.approx(free - 5.0)
