"""Passes: resumed wherever they were left, the watermark never past what was not written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.client.spot import Spot
from tap_saas.connector.exchange import Headers, Page, Response
from tap_saas.connector.incremental import Distance, Incremental, ReplicationKey, Window
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.units import Duration
from tap_saas.errors import ApiError, ConfigError, StateError
from tap_saas.sync.bookmark import LISTS, SCALARS, Bookmark
from tap_saas.sync.columns import Columns
from tap_saas.sync.passes import Pass
from tap_saas.sync.shape import Batch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2025, 1, 1, tzinfo=UTC)
PAGE = 3


def response(at: datetime, date: datetime | None = None) -> Response:
    """An answer that came at that instant; `date` is the API's own clock."""
    headers = {} if date is None else {"Date": format_datetime(date, usegmt=True)}
    return Response(
        status=200, headers=Headers(headers), body=b"", url="http://api/x", received_at=at
    )


class Api:
    """A list of (id, minutes after START); a page token is an offset into what the bounds leave.

    With `once` page tokens work once: what may be kept of them begins the list again. `clock` is
    its own one.
    """

    def __init__(
        self, records: list[tuple[int, int]], *, forgets: bool = False, once: bool = False
    ) -> None:
        self.records, self.once = records, once
        self.clock: datetime | None = None
        self.asked: list[tuple[Any, Any, Any]] = []
        self.forgets = forgets

    def ask(self, since: Any, until: Any, token: Any) -> Iterator[Page]:
        if self.forgets and token is not None and not self.asked:
            self.asked.append((since, until, token))
            raise ApiError("400 Bad Request", status=400)
        found = [
            (key, minute)
            for key, minute in self.records
            if (since is None or START + timedelta(minutes=minute) >= since)
            and (until is None or START + timedelta(minutes=minute) < until)
        ]
        offset = 0 if self.once else token or 0
        while True:
            self.asked.append((since, until, offset))
            records = found[offset : offset + PAGE]
            after = offset + PAGE if offset + PAGE < len(found) else None
            yield Page(
                number=1, token=offset or None,
                next_token=Spot().kept if self.once and after else after,
                response=response(NOW, self.clock), records=records, received=len(records),
            )  # fmt: skip
            if after is None:
                return
            offset = after


def minutes(after: int) -> str:
    """That many minutes after START, as STATE has it."""
    return (START + timedelta(minutes=after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def incremental(**more: Any) -> Incremental:
    return Incremental(key=ReplicationKey(field=Path.parse("at")), **more)


def batch_of(page: Page) -> Batch:
    instants = [START + timedelta(minutes=minute) for _, minute in page.records]
    return Batch(
        rows=page.records, rejects=[], columns=Columns(()), received=page.received,
        max_seen=max(instants, default=None), min_seen=min(instants, default=None),
    )  # fmt: skip


def run(
    api: Api,
    state: dict[str, Any],
    of: Incremental | None,
    *,
    pages: int | None = None,
    **more: Any,
) -> tuple[set[int], dict[str, Any], bool]:
    """What a run writes until it is killed, the last state, and whether it ended."""
    bookmark = Bookmark(state, "orders")
    now = more.get("now", NOW)
    work = Pass(
        stream="orders", bookmark=bookmark, ask=api.ask, constant={}, incremental=of,
        start_date=more.get("start_date"), now=lambda: now, parallel=more.get("parallel", 1),
    )  # fmt: skip
    written: set[int] = set()
    kept = json.loads(json.dumps(bookmark.data))
    for number, fed in enumerate(work.pages()):
        if pages is not None and number >= pages:
            return written, kept, False
        written |= {key for key, _ in fed.page.records}
        fed.written(batch_of(fed.page))
        kept = json.loads(json.dumps(bookmark.data))
    return written, json.loads(json.dumps(bookmark.data)), True


RECORDS = st.lists(st.integers(0, 2_000), max_size=20).map(lambda minutes: list(enumerate(minutes)))
KILLS = st.lists(st.integers(0, 4), max_size=4)
KINDS = st.sampled_from(["full", "none", "asc", "windows"])


def of_kind(kind: str) -> Incremental | None:
    match kind:
        case "full":
            return None
        case "windows":
            return incremental(window=Window(size=Duration.parse("500m")), first="2025-01-01")
        case _:
            return incremental(order=kind)


@given(RECORDS, KILLS, KINDS)
def test_kills_lose_no_record(records: list[tuple[int, int]], kills: list[int], kind: str) -> None:
    ordered = sorted(records, key=lambda r: r[1]) if kind == "asc" else records
    api, state, seen = Api(ordered), {}, set[int]()
    for pages in [*kills, None]:
        written, state, ended = run(api, state, of_kind(kind), pages=pages)
        seen |= written
        if ended:
            break
    assert seen == {key for key, _ in records}
    assert state["resume"] == []
    assert state["last_success_ts"] is not None


@given(RECORDS, KILLS, KINDS)
def test_the_watermark_is_never_past_what_was_not_written(
    records: list[tuple[int, int]], kills: list[int], kind: str
) -> None:
    """Whoever starts at the watermark alone, without `resume`, misses nothing that was there."""
    of = of_kind(kind)
    if of is None:
        return
    ordered = sorted(records, key=lambda r: r[1]) if kind == "asc" else records
    api, state, seen = Api(ordered), {}, set[int]()
    for pages in kills:
        written, state, _ = run(api, state, of, pages=pages)
        seen |= written
        value = state["replication_key_value"]
        if value is not None:
            before = {k for k, m in records if START + timedelta(minutes=m) < of.restore(value)}
            assert before <= seen


@given(RECORDS.filter(bool))
def test_a_second_run_reads_from_the_watermark(records: list[tuple[int, int]]) -> None:
    _, state, _ = run(Api(records), {}, incremental())
    newest = max(minute for _, minute in records)
    assert state["replication_key_value"] == (
        (START + timedelta(minutes=newest)).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    again = Api([*records, (99, newest + 5)])
    written, _, _ = run(again, state, incremental())
    assert written == {key for key, minute in again.records if minute >= newest}


def test_the_watermark_keeps_its_distance_from_the_start_of_the_pass() -> None:
    now = START + timedelta(minutes=10)
    _, state, _ = run(Api([(1, 10)]), {}, incremental(), now=now)
    assert state["replication_key_value"] == "2025-01-01T00:09:00Z"


@pytest.mark.parametrize("kind", ["none", "asc", "windows"])
@pytest.mark.parametrize("parallel", [1, 2])
def test_the_watermark_is_not_later_than_the_clock_of_the_api(kind: str, parallel: int) -> None:
    """What the API notes after the pass, by a clock that is behind ours, is not left out."""
    api = Api([(n, n * 60) for n in range(24 * 365)])
    api.records, api.clock = api.records[-9:], NOW - timedelta(minutes=7)
    api.records.append((-1, 24 * 365 * 60 - 8))  # eight minutes before NOW
    of = of_kind(kind)
    assert of is not None
    _, state, ended = run(api, {}, of, pages=1)
    _, state, ended = run(api, state, of, parallel=parallel)
    assert ended
    lag = timedelta(minutes=1)
    watermark = of.restore(state["replication_key_value"])
    assert watermark == api.clock - lag


def test_an_order_that_is_a_lie_gives_the_watermark_back() -> None:
    records = [(n, minute) for n, minute in enumerate([10, 20, 30, 40, 5, 6, 50, 60])]
    api = Api(records)
    _, state, _ = run(api, {}, incremental(order="asc"), pages=1)
    assert state["replication_key_value"] == "2025-01-01T00:30:00Z"
    _, state, _ = run(api, state, incremental(order="asc"), pages=1)
    assert state["replication_key_value"] is None
    _, state, ended = run(api, state, incremental(order="asc"))
    assert ended
    assert state["replication_key_value"] == "2025-01-01T01:00:00Z"


@given(RECORDS, KILLS)
def test_an_order_that_is_a_lie_loses_nothing_where_page_tokens_are_kept(
    records: list[tuple[int, int]], kills: list[int]
) -> None:
    api, state, seen = Api(records), {}, set[int]()
    for pages in [*kills, None]:
        written, state, ended = run(api, state, incremental(order="asc"), pages=pages)
        seen |= written
        if ended:
            break
    assert seen == {key for key, _ in records}
    newest = max((minute for _, minute in records), default=None)
    assert state["replication_key_value"] == (None if newest is None else minutes(newest))


@pytest.mark.parametrize("order", ["asc", "none"])
def test_a_cursor_that_works_once_begins_again_at_the_last_key(
    order: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api([(n, n) for n in range(20)], once=True)
    _, state, _ = run(api, {}, incremental(order=order), pages=3)
    api.asked.clear()
    written, state, ended = run(api, state, incremental(order=order))
    assert ended
    assert written == set(range(8 if order == "asc" else 0, 20))
    assert state["replication_key_value"] == minutes(19)
    assert "order" not in caplog.text


@pytest.mark.parametrize("order", ["asc", "none"])
@given(records=RECORDS.filter(bool), new=st.integers(0, 2_000), pages=st.integers(1, 3))
def test_a_lookback_longer_than_a_run_comes_to_its_end(
    order: str, records: list[tuple[int, int]], new: int, pages: int
) -> None:
    """Each run is shorter than what it has to read again; the watermark never goes back."""
    records.sort(key=lambda one: one[1])
    of = incremental(order=order, lookback=Distance.parse("30d"))
    _, state, _ = run(Api(records), {}, of)
    api = Api(sorted([*records, (99, new)], key=lambda one: one[1]))  # committed late
    marks, seen = [state["replication_key_value"]], set[int]()
    for _ in range(1 + len(api.records) // (PAGE * pages)):
        written, state, ended = run(api, state, of, pages=pages)
        seen |= written
        marks.append(state["replication_key_value"])
        if ended:
            break
    assert ended
    assert seen == {key for key, _ in api.records}
    assert marks == sorted(marks)


class Unfiltered(Api):
    """One that cannot filter: it is read newest first."""

    def ask(self, since: Any, until: Any, token: Any) -> Iterator[Page]:
        return super().ask(None, None, token)


def test_newest_first_ends_behind_the_watermark() -> None:
    api = Unfiltered([(n, 100 - n) for n in range(60)])
    before = {"replication_key": "at", "replication_key_value": "2025-01-01T01:34:00Z"}
    written, state, _ = run(api, before, incremental(order="desc"))
    assert written >= set(range(7))
    assert len(api.asked) <= 4
    assert state["replication_key_value"] == "2025-01-01T01:40:00Z"


@given(RECORDS, st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2_000)), max_size=PAGE - 1))
def test_older_records_among_newer_ones_lose_none_newest_first(
    records: list[tuple[int, int]], lies: list[tuple[int, int]]
) -> None:
    records.sort(key=lambda one: -one[1])
    watermark = 1_000
    for n, (place, minute) in enumerate(lies):
        records.insert(place, (100 + n, minute))
    before = {
        "replication_key": "at",
        "replication_key_value": f"{(START + timedelta(minutes=watermark)).isoformat()}",
    }
    written, _, ended = run(Unfiltered(records), before, incremental(order="desc"))
    assert ended
    assert written >= {key for key, minute in records if minute >= watermark and key < 100}


def test_a_forgotten_page_token_begins_the_pass_again() -> None:
    records = [(n, n) for n in range(10)]
    _, state, _ = run(Api(records), {}, None, pages=2)
    api = Api(records, forgets=True)
    written, state, ended = run(api, state, None)
    assert ended
    assert written == set(range(10))


def test_the_bookmark_has_only_lists_and_scalars_and_loses_no_key() -> None:
    _, state, _ = run(Api([(1, 1)]), {}, incremental(), pages=1)
    _, state, _ = run(Api([(1, 1)]), state, incremental())
    assert {name for name, value in state.items() if isinstance(value, list)} == set(LISTS)
    assert set(state) == set(LISTS) | set(SCALARS)


def test_windows_without_a_beginning_say_what_to_set() -> None:
    windows = incremental(window=Window(size=Duration.parse("1d")))
    with pytest.raises(ConfigError, match="start_date"):
        run(Api([]), {}, windows)


def test_a_foreign_state_is_one_line() -> None:
    with pytest.raises(StateError, match="orders: resume is not a list"):
        Bookmark({"resume": {}}, "orders")
    with pytest.raises(StateError, match="resume cannot be read"):
        assert Bookmark({"resume": [5]}, "orders").walk
    with pytest.raises(StateError, match="is not an instant"):
        Bookmark({"replication_key": "at", "replication_key_value": "soon"}, "orders").watermark(
            incremental()
        )
