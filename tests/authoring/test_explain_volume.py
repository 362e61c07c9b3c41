"""Pages and lists are counted as the runtime walks them, however many there are."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.authoring.explain.assumed import Assumed, share, shares
from tap_saas.authoring.explain.rehearsal import Checkpoint, Rehearsal
from tap_saas.authoring.explain.subject import Subject, read
from tap_saas.authoring.explain.volume import Volume, watermark_of
from tap_saas.connector.load import Loaded, outline
from tap_saas.connector.mistake import LineMap
from tap_saas.sync.ends import Limits, Stop
from tap_saas.sync.run import Run

NOW = datetime(2025, 4, 12, 9, 33, tzinfo=UTC)
FILE = Path(__file__).parent / "explained.yaml"
STREAMS = list(outline(FILE).streams)
LISTS = STREAMS[: STREAMS.index("tied") + 1]


@functools.cache
def subject() -> Subject:
    return read(str(FILE), {})


def volume(stream: str, records: int, changed: int = 1) -> Volume:
    loaded = Loaded(
        connector=subject().connector, values={}, secrets=[], path=Path("a"), lines=LineMap({})
    )
    assumed = Assumed(
        records={"": records}, changed={"": changed}, runs_per_day=24, answer_s=0.1, now=NOW
    )
    run = Run(loaded, {}, Path(), Stop(), Limits(None, None))
    return Volume(subject(), subject().connector.streams[stream], assumed, run)


@settings(max_examples=8)
@given(records=st.integers(0, 700))
@example(records=0)
@pytest.mark.parametrize("stream", LISTS)
def test_pages_of_a_long_list_are_those_of_its_walk(stream: str, records: int) -> None:
    one = volume(stream, records)
    found = one.lists(one.first_windows(), later=False)
    walked = Rehearsal(subject(), one.stream, found, 100).run(Checkpoint(stream), NOW)
    assert one.pages(one.stream, records) == len(walked)
    assert {asked.stream for asked in walked} == {stream}


@settings(max_examples=8)
@given(records=st.integers(1, 60), changed=st.integers(0, 60))
@pytest.mark.parametrize("stream", STREAMS[len(LISTS) :])
def test_a_run_makes_the_requests_that_are_counted(stream: str, records: int, changed: int) -> None:
    one = volume(stream, records, changed)
    checkpoint = Checkpoint(stream)
    found = one.lists(one.first_windows(), later=False)
    first = Rehearsal(subject(), one.stream, found, 100).run(checkpoint, NOW)
    counted = one.first()
    assert counted.own + sum(counted.parents.values()) == len(first)
    watermark = watermark_of(one.stream, checkpoint.data)
    found = one.lists(one.later_windows(watermark), later=True)
    later = Rehearsal(subject(), one.stream, found, 100).run(checkpoint, one.assumed.later)
    assert one.later(watermark).total == len(later)


@given(total=st.integers(0, 10**6), parts=st.integers(1, 300))
def test_shares_are_the_whole(total: int, parts: int) -> None:
    each = [share(total, parts, index) for index in range(parts)]
    assert sum(each) == total
    assert {size: each.count(size) for size in set(each)} == shares(total, parts)
