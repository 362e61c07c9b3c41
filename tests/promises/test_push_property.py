"""The same rows by pull, webhooks and event log, in any order, with deletes and kills."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from push_api import BY_TIME, Shop, shop, shop_yaml

from tap_saas.sandbox.log import Entry

STREAMS = ("customers", "orders")
FEEDS = ("pull", "events", "webhooks")

changes = st.tuples(
    st.just("change"),
    st.sampled_from(STREAMS),
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 2), st.booleans()),
)
runs = st.tuples(
    st.just("run"),
    st.lists(st.sampled_from(FEEDS), min_size=1, max_size=3, unique=True),
    st.none() | st.floats(0, 1),
)
deliveries = st.tuples(st.just("deliver"), st.integers(1, 12), st.randoms(use_true_random=False))
steps = st.lists(changes | runs | deliveries, min_size=4, max_size=9)


class Provider:
    """Has events to deliver, in whatever order, some of them twice."""

    def __init__(self, mill: Shop) -> None:
        self._mill = mill
        self._waiting: list[Entry] = []

    def deliver(self, n: int | None, chance: random.Random) -> None:
        """Deliver so many of those that wait, or all; one in four will come again."""
        self._waiting += self._mill.new_events()
        chance.shuffle(self._waiting)
        n = len(self._waiting) if n is None else n
        sent, self._waiting = self._waiting[:n], self._waiting[n:]
        self._waiting += [entry for entry in sent if chance.random() < 0.25]
        self._mill.receive(sent)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=steps, chance=st.randoms(use_true_random=False))
def test_whatever_comes_by_whichever_way_the_table_is_the_truth(
    plan: list[tuple[str, object, object]], chance: random.Random, database: str
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        shop(Path(folder), shop_yaml(log=BY_TIME, size=7), database) as mill,
    ):
        mill.forget_tables()
        mill.prepare()
        provider = Provider(mill)
        for step in plan:
            match step:
                case ("change", str(stream), (int(n), int(new), int(gone), bool(again))):
                    # A fetched tombstone has the answer's second: what is back within it is late.
                    back = int(again and stream == "orders")
                    mill.world.change(stream, update=n, insert=new, delete=gone, restore=back)
                case ("deliver", int(n), random.Random() as order):
                    provider.deliver(n, order)
                case ("run", list(feeds), part):
                    mill.flow(*feeds, part=part if isinstance(part, float) else 1.0)
        provider.deliver(None, chance)
        mill.flow(*FEEDS)
        mill.assert_exact(mill.box, *STREAMS)
