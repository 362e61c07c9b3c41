"""Sweeps: which count, when they are due, and who may say that the rest is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from push_api import ORDERS, WHOLE, Shop, shop, shop_yaml
from singer_output import Done

from tap_saas.connector.deletes import Sweep
from tap_saas.connector.units import Duration, Percent
from tap_saas.errors import StateError
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.columns import Columns
from tap_saas.sync.shape import Batch
from tap_saas.sync.sweeps import MARGIN_MS, Sweeping, forced

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = Sweep(every=Duration(days=7), max=Percent(0.10), allow=2)


def page(received: int, rejected: int = 0) -> Batch:
    return Batch(rows=[], rejects=[None] * rejected, columns=Columns(()), received=received)


def sweep(
    bookmark: Bookmark, now: datetime, pages: list[Batch], *, rules: Sweep | None = RULES,
    skipped: int = 0, restarts: int = 0,
) -> int | None:  # fmt: skip
    """One run that begins a sweep and ends it; its version, None where it is not due."""
    sweeping = Sweeping("orders", rules, bookmark, now)
    if not sweeping.begin(expired=False):
        return None
    assert sweeping.flight is not None
    version = sweeping.flight.version
    for batch in pages:
        sweeping.note(batch, skipped, restarts)
    sweeping.end(skipped, restarts)
    return version


def activation(bookmark: Bookmark, now: datetime = NOW) -> int | None:
    return Sweeping("orders", RULES, bookmark, now).take_activation()


@pytest.fixture
def bookmark() -> Bookmark:
    return Bookmark({}, "orders")


def test_a_sweep_that_counts_is_activated_once_by_the_run_that_follows(bookmark: Bookmark) -> None:
    version = sweep(bookmark, NOW, [page(60), page(40)])
    assert version == int(NOW.timestamp() * 1_000) - MARGIN_MS
    assert activation(bookmark) == version
    assert activation(bookmark) is None


@pytest.mark.parametrize(
    ("pages", "more", "counts"),
    [
        ([page(100)], {}, True),
        ([page(90)], {}, True),
        ([page(89)], {}, False),
        ([page(50), page(50, 2)], {}, True),
        ([page(50, 1), page(50, 2)], {}, False),
        ([page(100)], {"skipped": 1}, False),
        ([page(100)], {"restarts": 1}, False),
        ([page(1_000)], {}, True),
    ],
)
def test_which_sweeps_count(
    bookmark: Bookmark, pages: list[Batch], more: dict[str, int], counts: bool
) -> None:
    sweep(bookmark, NOW, [page(100)])
    activation(bookmark)
    assert sweep(bookmark, NOW + 7 * DAY, pages, **more) is not None
    assert (activation(bookmark) is not None) is counts


def test_a_list_that_is_empty_says_nothing(bookmark: Bookmark) -> None:
    for days in (0, 7, 14):
        assert sweep(bookmark, NOW + days * DAY, [page(0)]) is not None
        assert activation(bookmark) is None


def test_what_did_not_count_is_no_measure_for_the_next(bookmark: Bookmark) -> None:
    sweep(bookmark, NOW, [page(100)])
    activation(bookmark)
    for days in (7, 14):
        sweep(bookmark, NOW + days * DAY, [page(50)])
        assert activation(bookmark) is None
    sweep(bookmark, NOW + 21 * DAY, [page(95)])
    assert activation(bookmark) is not None


def test_due_by_its_period_since_the_last_one_began(bookmark: Bookmark) -> None:
    assert sweep(bookmark, NOW, [page(10)]) is not None
    assert sweep(bookmark, NOW + 6 * DAY, [page(10)]) is None
    assert sweep(bookmark, NOW + 7 * DAY, [page(10)]) is not None


def test_a_gap_forces_one_where_there_are_no_rules(bookmark: Bookmark) -> None:
    assert sweep(bookmark, NOW, [page(10)], rules=None) is None
    bookmark.data["due"] = ["a gap"]
    assert sweep(bookmark, NOW, [page(10)], rules=None) is not None
    assert bookmark.data["due"] == []
    assert sweep(bookmark, NOW, [page(10)], rules=None) is None


def test_a_gap_whose_pass_did_not_count_is_tried_again_later(bookmark: Bookmark) -> None:
    bookmark.data["due"] = ["a gap"]
    assert sweep(bookmark, NOW, [page(10, 1)], rules=None) is not None
    assert activation(bookmark) is None
    assert forced(bookmark, NOW + DAY / 2) is None
    assert sweep(bookmark, NOW + DAY / 2, [page(10)], rules=None) is None
    assert forced(bookmark, NOW + DAY) == "a gap"
    assert sweep(bookmark, NOW + DAY, [page(10)], rules=None) is not None
    assert activation(bookmark) is not None
    assert forced(bookmark, NOW + 9 * DAY) is None


def test_a_pass_in_flight_ends_first(bookmark: Bookmark) -> None:
    bookmark.data["resume"] = [{"started_at": "2026-02-28T00:00:00Z", "since": "2026-01-01"}]
    assert sweep(bookmark, NOW, [page(10)]) is None
    bookmark.data["resume"] = []
    assert sweep(bookmark, NOW, [page(10)]) is not None


@given(st.lists(st.timedeltas(-2 * DAY, 20 * DAY), max_size=8))
def test_versions_only_grow_whatever_the_clock_says(moves: list[timedelta]) -> None:
    bookmark, now, last = Bookmark({}, "orders"), NOW, 0
    for move in moves:
        now += move
        bookmark.data["due"] = ["a gap"]
        version = sweep(bookmark, now, [page(10)])
        assert version is not None
        assert version > last
        last = version


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    cuts=st.sets(st.integers(0, 5)),
    bad=st.integers(0, 3),
)
def test_a_sweep_in_many_runs_counts_as_one_in_one_run(
    sizes: list[int], cuts: set[int], bad: int
) -> None:
    """Each run that begins takes the flight from the bookmark: the counts are those of all."""
    pages = [page(size, bad if n == 0 else 0) for n, size in enumerate(sizes)]
    whole, parted = Bookmark({}, "orders"), Bookmark({}, "orders")
    for bookmark in (whole, parted):
        sweep(bookmark, NOW - 30 * DAY, [page(50)])
        activation(bookmark)
    sweep(whole, NOW, pages)
    sweeping = Sweeping("orders", RULES, parted, NOW)
    assert sweeping.begin(expired=False)
    for n, batch in enumerate(pages):
        parted.data["resume"] = [{"started_at": "2026-03-01T00:00:00Z", "page_token": n}]
        sweeping.note(batch, 0, 0)
        if n in cuts:
            sweeping = Sweeping("orders", RULES, parted, NOW + n * DAY)
            assert sweeping.begin(expired=False)
    sweeping.end(0, 0)
    assert parted.data["activate"] == whole.data["activate"]
    assert parted.data["swept"] == whole.data["swept"]


def test_a_run_that_ends_between_the_last_page_and_the_end_has_swept(bookmark: Bookmark) -> None:
    sweeping = Sweeping("orders", RULES, bookmark, NOW)
    assert sweeping.begin(expired=False)
    sweeping.note(page(10), 0, 0)
    bookmark.succeed(NOW + timedelta(seconds=1))
    assert not Sweeping("orders", RULES, bookmark, NOW + DAY).begin(expired=False)
    assert activation(bookmark) == int(NOW.timestamp() * 1_000) - MARGIN_MS


def test_a_sweep_whose_pass_was_not_begun_counts_from_its_beginning(bookmark: Bookmark) -> None:
    bookmark.succeed(NOW - DAY)
    sweeping = Sweeping("orders", RULES, bookmark, NOW)
    assert sweeping.begin(expired=False)
    sweeping.note(page(10), 0, 0)
    again = Sweeping("orders", RULES, bookmark, NOW + DAY)
    assert again.begin(expired=False)
    assert again.flight is not None
    assert again.flight.received == 0


def test_a_flight_that_cannot_be_read_is_one_clear_line(bookmark: Bookmark) -> None:
    bookmark.data["sweep"] = ["soon"]
    with pytest.raises(StateError, match="sweep cannot be read"):
        Sweeping("orders", RULES, bookmark, NOW)


# From here on whole runs.

SWEPT = ORDERS + "    deletes: {sweep: {every: 1d}}\n"


def drained(mill: Shop, **config: Any) -> Done:
    done = mill.drain("pull", **config)
    assert done.code == 0, done.told
    mill.keep_state(done)
    return done


def activated(done: Done) -> list[int]:
    return [m["version"] for m in done.messages if m["type"] == "ACTIVATE_VERSION"]


def versions(done: Done) -> set[int | None]:
    return {
        message.get("version")
        for message in done.messages
        if message["type"] == "RECORD" and message["stream"] == "orders"
    }


def test_the_run_whose_state_is_lost_marks_nothing(tmp_path: Path) -> None:
    with shop(tmp_path, shop_yaml(SWEPT, WHOLE), customers=0) as mill:
        first = mill.drain("pull")
        (version,) = versions(first)
        assert activated(first) == []
        again = mill.drain("pull")
        assert activated(again) == [], "the state of the first run did not arrive"
        mill.keep_state(first)
        following = drained(mill)
        assert activated(following) == [version]
        kinds = [m["type"] for m in following.messages if m.get("stream") == "orders"]
        assert kinds[:2] == ["SCHEMA", "ACTIVATE_VERSION"], "before any record"
        assert activated(drained(mill)) == []


def test_a_sweep_goes_on_over_several_runs_under_one_version(tmp_path: Path) -> None:
    with shop(tmp_path, shop_yaml(SWEPT, WHOLE, size=5), customers=0) as mill:
        seen = [drained(mill, max_requests=1) for _ in range(4)]
        assert [len(done.records("orders")) for done in seen] == [5, 5, 5, 5]
        (version,) = set.union(*map(versions, seen))
        assert [activated(done) for done in seen] == [[], [], [], []]
        following = drained(mill)
        assert activated(following) == [version]
        assert versions(following) <= {None}, "it does not begin again"


def test_records_outside_of_a_sweep_have_no_version(tmp_path: Path) -> None:
    with shop(tmp_path, shop_yaml(SWEPT, WHOLE), customers=0) as mill:
        drained(mill)
        mill.world.change("orders", update=2)
        assert versions(drained(mill)) == {None}


def test_a_gap_is_closed_by_runs_that_read_the_queue_alone(tmp_path: Path) -> None:
    with shop(tmp_path, shop_yaml(ORDERS, WHOLE), customers=0) as mill:
        mill.world.change("orders", update=1)
        mill.receive(mill.new_events())
        mill.keep_state(mill.drain())
        for file in mill.file.parent.glob("queue.db*"):
            file.unlink()
        mill.world.change("orders", delete=1)
        mill.receive([])
        done = mill.drain()
        mill.keep_state(done)
        (version,) = versions(done)
        assert len(done.records("orders")) == 19
        following = mill.drain()
        assert activated(following) == [version]
        assert following.records("orders") == [], "no event came, and still it is told once"
        mill.keep_state(following)
        last = mill.drain()
        assert activated(last) == []
        assert last.records("orders") == []


def test_a_bad_record_is_one_too_many_unless_it_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strict = SWEPT.replace("status: {type: string}", "status: {type: string, enum: [none]}")
    with shop(tmp_path, shop_yaml(strict, WHOLE), customers=0, orders=3) as mill:
        text = mill.yaml.read_text()
        mill.yaml.write_text(text.replace("deletes:", "max_rejects: 100%\n    deletes:"))
        drained(mill)
        assert activated(drained(mill)) == []
        assert "the sweep does not count: 3 records were rejected (allow: 0)" in caplog.text
        mill.yaml.write_text(mill.yaml.read_text().replace("every: 1d", "every: 1d, allow: 3"))
        drained(mill, after=2 * DAY)
        assert len(activated(drained(mill, after=2 * DAY))) == 1
