"""P5: neither memory nor state grows with the number of records, pages and parents."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from footprints import CHILDREN, RECORDS, Footprint, Watched, large_api

FEW, MANY = 10_000, 60_000
FEW_PARENTS, MANY_PARENTS = 60, 600
MOST_GROWTH_KB = 15 * 1024
MOST_STATE = 4_000
"""Bytes: what is in flight is at most four windows, or the parents of two small pages."""
STALL_S = 2.0
MB = 1_000_000
AT_ONCE = "    pagination: {parallel: 16}\n"
WIDE = f"  records:\n    path: /records\n{AT_ONCE}"

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs proc(5)")


def took(folder: Path, streams: str, stream: str, **sizes: int) -> Footprint:
    """What a whole run takes."""
    with large_api(**sizes) as (_, url):
        return Watched(folder, url, streams, stream=stream).end()


@pytest.mark.parametrize("kind", ["incremental, asc", "windows side by side"])
def test_six_times_the_records_need_no_more_memory_and_state(kind: str, folder: Path) -> None:
    few = took(folder / "few", RECORDS[kind], "records", records=FEW)
    many = took(folder / "many", RECORDS[kind], "records", records=MANY)
    print(few, many)
    assert (few.records, many.records) == (FEW, MANY)
    assert many.peak_kb - few.peak_kb < MOST_GROWTH_KB
    assert max(few.state, many.state) < MOST_STATE


@pytest.mark.parametrize("kind", ["children, one bookmark", "children, parents.since"])
def test_ten_times_the_parents_need_no_more_memory_and_state(kind: str, folder: Path) -> None:
    sizes = {"page": 20}  # STATE may hold the parents of the pages in flight
    few = took(folder / "few", CHILDREN[kind], "children", parents=FEW_PARENTS, **sizes)
    many = took(folder / "many", CHILDREN[kind], "children", parents=MANY_PARENTS, **sizes)
    print(few, many)
    assert (few.records, many.records) == (2 * FEW_PARENTS, 2 * MANY_PARENTS)
    assert many.peak_kb - few.peak_kb < MOST_GROWTH_KB
    assert max(few.state, many.state) < MOST_STATE


def test_a_target_that_stalls_stops_the_fetching(folder: Path) -> None:
    with ExitStack() as stack:
        watched = {}
        for kind, streams in RECORDS.items():
            api, url = stack.enter_context(large_api(records=MANY, page_bytes=MB))
            tap = Watched(folder / kind, url, streams, stream="records")
            stack.callback(tap.kill)
            watched[kind] = (tap, api)
        for tap, _ in watched.values():
            next(tap.lines())
        time.sleep(STALL_S)
        asked = {kind: api.asked["records"] for kind, (_, api) in watched.items()}
        time.sleep(STALL_S)
        print(asked, {kind: tap.peak_kb for kind, (tap, _) in watched.items()})
        for kind, (tap, api) in watched.items():
            assert api.asked["records"] == asked[kind] <= 12, kind
            assert tap.peak_kb < 120 * 1024, kind


@pytest.mark.parametrize(
    ("streams", "page_mb", "most"),
    [(WIDE, 16, 6), (RECORDS["windows side by side"] + AT_ONCE, 6, 4 * 3)],
    ids=["pages", "windows of pages"],
)
def test_pages_that_wait_are_bounded_in_bytes(
    streams: str, page_mb: int, most: int, folder: Path
) -> None:
    """All that wait hold 64 MB, whatever is read at once: of 17 pages, or 20 in four windows."""
    with large_api(records=MANY, page_bytes=page_mb * MB) as (api, url), ExitStack() as stack:
        tap = Watched(folder / "wide", url, streams, stream="records")
        stack.callback(tap.kill)
        next(tap.lines())
        time.sleep(STALL_S)
        print(api.asked, tap.peak_kb)
        assert api.asked["records"] <= most
        assert tap.peak_kb < 320 * 1024
