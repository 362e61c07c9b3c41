"""Any order of arrivals, reads, acknowledgements, purges, restarts loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from arrivals import NOON, Opener, arrival, place, walk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_saas.queues.base import Arrival, Event, Place, Queue, SourceStatus

HOUR = timedelta(hours=1)
LONG_AGO = NOON - timedelta(days=1000)
CONSUMERS = ("audit", "main")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 30), max_size=6)),
        st.tuples(st.just("read"), st.sampled_from(CONSUMERS), st.integers(1, 5)),
        st.tuples(st.just("acknowledge"), st.sampled_from(CONSUMERS)),
        st.tuples(st.just("old state"), st.sampled_from(CONSUMERS)),
        st.tuples(st.just("purge"), st.integers(0, 30)),
        st.tuples(st.just("replay"), st.integers(1, 30), st.integers(0, 5)),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)
_sources = iter(f"acme/h{number}" for number in range(10**9))


class World:
    """One source, its consumers with their states, and what must be true of them."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self.source = next(_sources)
        self.queue: Queue = opener(write=True)
        self.queue.declare(self.source, CONSUMERS)
        self.now: datetime = NOON
        self.kept: list[Event] = []
        self.ids: dict[int, datetime] = {}
        self.states: dict[str, list[Place | None]] = {name: [None] for name in CONSUMERS}
        self.acknowledged: dict[str, list[tuple[datetime, int]]] = {n: [] for n in CONSUMERS}

    def append(self, numbers: list[int]) -> None:
        sent = [arrival(str(n), source=self.source, received_at=self.now) for n in numbers]
        new = []
        for number in numbers:
            new.append(self.ids.get(number, LONG_AGO) < self.now - 7 * 24 * HOUR)
            if new[-1]:
                self.ids[number] = self.now
        assert self.queue.append(sent) == new
        self._take_over([each for each, is_new in zip(sent, new, strict=True) if is_new])

    def _take_over(self, expected: Sequence[Arrival]) -> None:
        last = self.kept[-1].offset if self.kept else self._purged()
        added = list(walk(self.queue, self.source, last))
        assert [(e.event_id, e.body) for e in added] == [(a.event_id, a.body) for a in expected]
        self.kept += added

    def _purged(self) -> int:
        return self._mine().purged_offset or 0

    def _mine(self) -> SourceStatus:
        return next(s for s in self.queue.status().sources if s.source == self.source)

    def read(self, consumer: str, count: int) -> None:
        state = self.states[consumer][-1]
        start = self.queue.start(self.source, state)
        purged = self._purged()
        assert start.gap == ((state.offset if state else 0) < purged)
        assert start.known == (state is not None)
        events = self.queue.read(self.source, start.after, max_events=count)
        assert events == [e for e in self.kept if e.offset > start.after][:count]
        if events:
            self.states[consumer].append(place(self.queue, events[-1]))

    def acknowledge(self, consumer: str) -> None:
        state = self.states[consumer][-1]
        if state is not None:
            self.queue.acknowledge(self.source, consumer, state, now=self.now)
            self.acknowledged[consumer].append((self.now, state.offset))

    def old_state(self, consumer: str) -> None:
        states = self.states[consumer]
        states.append(states[len(states) // 2])

    def purge(self, hours: int) -> None:
        self.now += hours * HOUR
        cutoff = self.now - 24 * HOUR
        proven = min(
            max((off for at, off in self.acknowledged[name] if at <= cutoff), default=0)
            for name in CONSUMERS
        )
        gone = [event for event in self.kept if event.offset <= proven]
        assert self.queue.purge(self.now) == len(gone)
        self.kept = self.kept[len(gone) :]
        assert list(walk(self.queue, self.source)) == self.kept

    def replay(self, first: int, count: int) -> None:
        wanted = [e for e in self.kept if first <= e.offset <= first + count]
        assert self.queue.replay(self.source, first, first + count) == len(wanted)
        self._take_over(wanted)

    def restart(self) -> None:
        self.queue.close()
        self.queue = self.opener(write=True)

    def end(self) -> None:
        found = self._mine()
        assert found.events == len(self.kept)
        self.queue.drop(self.source, 1 << 60)
        assert (self._mine().events, self._mine().bytes) == (0, 0)
        self.queue.close()


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(steps=steps)
def test_any_history_loses_and_doubles_nothing(
    opener: Opener, steps: list[tuple[str, object]]
) -> None:
    world = World(opener)
    for name, *arguments in steps:
        getattr(world, name.replace(" ", "_"))(*arguments)
    world.end()
