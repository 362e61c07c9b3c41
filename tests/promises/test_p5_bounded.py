"""P5: neither memory nor state grows with the number of records."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from harness import Pipeline
from sandbox_api import connector, sandbox

FEW, MANY = 20_000, 100_000
MOST_GROWTH_KB = 15 * 1024
CONNECTOR = connector(
    "  orders:\n    path: /orders\n"
    "    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}\n",
    size=500,
)


class Cost(NamedTuple):
    """What a run took: records, peak memory in KB, bytes of its largest STATE line."""

    records: int
    peak_kb: int
    state: int


def _cost(folder: Path, orders: int) -> Cost:
    with sandbox(customers=10, orders=orders, events=0) as box:
        shop = Pipeline(folder / str(orders), box.url, CONNECTOR)
        tap = shop.start_tap()
        records = state = peak_kb = 0
        for line in tap.stdout:
            if line.startswith(b'{"type":"RECORD","stream":"orders"'):
                records += 1
            elif line.startswith(b'{"type":"STATE"'):
                state, peak_kb = max(state, len(line)), tap.peak_kb()
        assert tap.wait() == 0, tap.told()
        tap.told()
        return Cost(records, peak_kb, state)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs proc(5)")
def test_five_times_the_records_need_no_more_memory_and_state(folder: Path) -> None:
    few, many = _cost(folder, FEW), _cost(folder, MANY)
    print(few, many)
    assert (few.records, many.records) == (FEW, MANY)
    assert many.peak_kb - few.peak_kb < MOST_GROWTH_KB
    assert abs(many.state - few.state) < 50
    assert many.state < 4_000
