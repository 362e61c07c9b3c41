"""Lists of which the API shows only the beginning: split or sought, resumed, nothing left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.client.client import Where
from tap_saas.client.moving import Counted
from tap_saas.client.pager import OverCapError
from tap_saas.client.steps import Steps
from tap_saas.connector.exchange import Headers, Page, Request, Response
from tap_saas.connector.model import Stream
from tap_saas.connector.notation import decode_notation
from tap_saas.errors import ApiError, PageTokenExpiredError
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.passes import Pass
from tap_saas.sync.shape import Seen

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 1, 3, tzinfo=UTC)
SIZE = 3
Record = dict[str, Any]
OFFSET = {"type": "offset", "size": SIZE}
CURSOR = {"type": "cursor", "next": "next", "send": "param:cursor", "size": SIZE}


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


class Api:
    """Records by minute, in order; a list shows `cap` of them, and refuses to show more."""

    def __init__(self, minutes: list[int], cap: int, form: Stream, *, tells: str = "total") -> None:
        self.records = [{"id": n, "at": minute} for n, minute in enumerate(sorted(minutes))]
        self.cap, self.form, self.tells = cap, form, tells
        self.requests = 0
        self.written: set[int] = set()

    def ask(self, since: Any, until: Any, token: Any) -> Iterator[Page]:
        where, form = Where(stream="orders"), self.form
        steps = (
            Counted(form, token, where, rereads_head=False, tell=lambda _: None)
            if form.pagination.is_counted
            else Steps(form, token, where)
        )
        found = [one for one in self.records if since is None or at(one["at"]) >= since]
        found = [one for one in found if until is None or at(one["at"]) < until]
        while steps.spot is not None:
            steps.admit(steps.spot)
            page = steps.take(self.answer(found, form, steps.spot.token))
            if page is not None:
                yield page

    def answer(self, found: list[Record], form: Stream, token: Any) -> Page:
        self.requests += 1
        asked = dict(form.pagination.apply(Request(url="http://api/x"), token).params)
        start = int(asked.get("offset", asked.get("cursor", 0)))
        shown = found[start : min(start + SIZE, self.cap)]
        assert shown or start < self.cap, "the API refuses to go on"
        after = start + len(shown)
        body = {
            "next": str(after) if after < min(len(found), self.cap) else None,
            "total": min(len(found), self.cap),
            "cut": len(found) > self.cap,
        }
        if self.tells != "total":
            del body["total"]
        response = Response(
            status=200, headers=Headers({}), body=json.dumps(body).encode(), url="http://api/x",
            received_at=NOW,
        )  # fmt: skip
        return Page(number=1, token=token, response=response, records=shown, received=len(shown))


def stream(pagination: dict[str, Any], **incremental: Any) -> Stream:
    raw = {
        "path": "/x",
        "primary_key": ["id"],
        "pagination": pagination,
        "incremental": {"key": {"field": "at"}, "lag": "0s", **incremental},
    }
    return msgspec.convert(raw, Stream, dec_hook=decode_notation)


def split(tells: str, cap: int, **more: Any) -> Stream:
    told = {"total": "total"} if tells == "total" else {}
    if tells == "cut":  # the API alone knows how much it shows
        told, cap = {"incomplete": "cut"}, 1_000
    kind = OFFSET if tells == "total" else CURSOR
    window = {"size": "8h", "min": "2m"}
    pagination = {**kind, **told, "cap": {"records": cap, "then": "split"}}
    return stream(pagination, window=window, first="2025-01-01", precision="1m", **more)


def sought(kind: dict[str, Any], cap: int) -> Stream:
    return stream({**kind, "cap": {"records": cap, "then": "seek"}}, order="asc")


def run(
    api: Api,
    state: dict[str, Any],
    *,
    pages: int | None = None,
    parallel: int = 1,
    now: datetime = NOW,
) -> tuple[set[int], dict[str, Any], Exception | None]:
    """What a run writes until it is killed, its last state, and how it failed."""
    bookmark = Bookmark(state, "orders")
    work = Pass(
        stream="orders", bookmark=bookmark, ask=api.ask, constant={},
        incremental=api.form.incremental, start_date=None, now=lambda: now, parallel=parallel,
        token_lives=api.form.pagination.token_lives,
    )  # fmt: skip
    seen: set[int] = set()
    try:
        for number, fed in enumerate(work.pages()):
            if pages is not None and number >= pages:
                break
            minutes = [at(one["at"]) for one in fed.page.records]
            seen |= {one["id"] for one in fed.page.records}
            fed.written(
                Seen(max_seen=max(minutes, default=None), min_seen=min(minutes, default=None))
            )
            api.written |= seen
            check_watermark(api, bookmark)
    except (ApiError, PageTokenExpiredError) as error:
        return seen, json.loads(json.dumps(bookmark.data)), error
    return seen, json.loads(json.dumps(bookmark.data)), None


def check_watermark(api: Api, bookmark: Bookmark) -> None:
    """All before the watermark has been written, by this run or one before."""
    assert api.form.incremental is not None
    watermark = bookmark.watermark(api.form.incremental)
    if watermark is not None:
        assert {one["id"] for one in api.records if at(one["at"]) < watermark} <= api.written


def all_runs(
    api: Api, kills: list[int], parallel: int
) -> tuple[set[int], dict[str, Any], Exception | None]:
    state: dict[str, Any] = {}
    failure: Exception | None = None
    for pages in [*kills, None]:
        _, state, failure = run(api, state, pages=pages, parallel=parallel)
        if state["last_success_ts"] is not None or failure is not None:
            break
    return api.written, state, failure


MINUTES = st.lists(st.integers(0, 2_000), max_size=40)
KILLS = st.lists(st.integers(0, 5), max_size=4)


@pytest.mark.parametrize("tells", ["total", "cut", "walked"])
@settings(max_examples=60)
@given(minutes=MINUTES, cap=st.integers(3, 12), kills=KILLS, parallel=st.integers(1, 2))
@example(minutes=[7] * 12, cap=3, kills=[], parallel=1)
def test_windows_are_split_until_the_api_shows_all_of_them(
    tells: str, minutes: list[int], cap: int, kills: list[int], parallel: int
) -> None:
    api = Api(minutes, cap, split(tells, cap), tells=tells)
    seen, state, failure = all_runs(api, kills, parallel)
    at_once = most_within(api.records, 4)
    if failure is None:
        assert seen == {one["id"] for one in api.records}
        assert state["resume"] == []
    else:
        assert isinstance(failure, ApiError)
        assert f"{'1,000' if tells == 'cut' else cap} records or more between" in str(failure)
        assert at_once >= cap
    # Each of at most six windows of eight hours is split eight times, and each page is read once.
    assert api.requests <= (len(kills) + 1) * (6 + 8 * 2 * len(minutes) + len(minutes))


def most_within(records: list[Record], minutes: int) -> int:
    """The largest number of records within so many minutes."""
    return max(
        (sum(0 <= one["at"] - other["at"] < minutes for one in records) for other in records),
        default=0,
    )


def test_a_total_as_large_as_the_cap_is_over_it_at_once() -> None:
    api = Api([0, 1, 2, 3, 240, 241], 6, split("total", 6))
    seen, _, failure = run(api, {})
    assert failure is None
    assert seen == set(range(6))
    # The whole window and five that are empty; its halves: 4 records and the last of them, 2.
    assert api.requests == 1 + 5 + 2 + 1


def test_a_window_that_is_too_full_is_named_and_the_others_are_read() -> None:
    minutes = [10, 600, 600, 600, 601, 1_200]
    api = Api(minutes, 3, split("total", 3))
    seen, state, failure = run(api, {})
    assert str(failure) == (
        "3 records or more between 2025-01-01T10:00:00Z and 2025-01-01T10:03:00Z, and the "
        "API shows no more of a list; narrow the request, or say a smaller incremental.window.min; "
        "the watermark stays before this window"
    )
    assert seen >= {0, 5}
    assert state["replication_key_value"] == "2025-01-01T10:00:00Z"
    assert state["last_success_ts"] is None
    before = api.requests
    _, state, failure = run(api, state)
    assert failure is not None
    assert api.requests - before < before / 2  # what is done is not read again


def test_a_window_that_is_too_full_keeps_no_newer_record_waiting() -> None:
    capped = {**OFFSET, "total": "total", "cap": {"records": 3, "then": "split"}}
    window = {"size": "40m", "min": "2m"}  # one of them ends where the first pass does
    form = stream(capped, window=window, first="2025-01-01", precision="1m", lag="10m")
    api = Api([10, 600, 600, 600, 601, 2_000], 3, form)
    _, state, failure = run(api, {})
    assert failure is not None
    late, new = 2_875, 3_000  # one committed late, within `lag`; one of the day after
    api.records += [{"id": 6, "at": late}, {"id": 7, "at": new}]
    seen, state, failure = run(api, state, now=NOW + timedelta(days=1))
    assert failure is not None
    assert seen == {6, 7}
    assert state["replication_key_value"] == "2025-01-01T10:00:00Z"
    api.records = [one for one in api.records if one["at"] != 600]
    _, state, failure = run(api, state, now=NOW + timedelta(days=2))
    assert failure is None
    assert state["windows_done"] == []
    assert api.written >= {one["id"] for one in api.records}


@pytest.mark.parametrize("kind", ["offset", "cursor"])
@settings(max_examples=80)
@given(minutes=MINUTES, cap=st.integers(4, 12), kills=KILLS)
@example(minutes=[7] * 12, cap=4, kills=[])
def test_a_capped_list_goes_on_from_its_last_key(
    kind: str, minutes: list[int], cap: int, kills: list[int]
) -> None:
    form = sought(OFFSET if kind == "offset" else CURSOR, cap)
    api = Api(minutes, cap, form)
    seen, state, failure = all_runs(api, kills, 1)
    if failure is None:
        assert seen == {one["id"] for one in api.records}
        assert state["resume"] == []
    else:
        assert "records or more have the at 2025-01-0" in str(failure)
        assert max(map(minutes.count, minutes)) >= cap - SIZE
    assert api.requests <= (len(kills) + 1) * (2 + 2 * len(minutes))


def test_a_pass_without_windows_or_order_says_that_the_list_is_capped() -> None:
    form = split("total", 5)
    api = Api(list(range(9)), 5, msgspec.structs.replace(form, incremental=None))
    with pytest.raises(OverCapError, match="5 records or more, and the API shows no more of it"):
        list(Pass(
            stream="orders", bookmark=Bookmark({}, "orders"), ask=api.ask, constant={},
            incremental=None, start_date=None, now=lambda: NOW,
        ).pages())  # fmt: skip


# Page tokens that do not live long


def lives(order: str, **pagination: Any) -> Stream:
    return stream({**CURSOR, "token_lives": "1h", **pagination}, order=order)


@pytest.mark.parametrize(("order", "again"), [("asc", {5, 6, 7, 8}), ("none", set(range(9)))])
@pytest.mark.parametrize("age_m", [59, 61])
def test_an_old_page_token_is_not_asked_with(order: str, again: set[int], age_m: int) -> None:
    api = Api(list(range(9)), 100, lives(order))
    _, state, _ = run(api, {}, pages=2)
    told = state["resume"][0]["token_at"]
    assert told == "2025-01-03T00:00:00Z"
    state["resume"][0]["token_at"] = (NOW - timedelta(minutes=age_m)).isoformat()
    seen, state, _ = run(api, state)
    assert seen == (again if age_m > 60 else {6, 7, 8})
    assert state["resume"] == []


def test_a_later_beginning_is_kept_with_its_page_tokens() -> None:
    api = Api(list(range(12)), 100, lives("asc"))
    _, state, _ = run(api, {}, pages=2)
    state["resume"][0]["token_at"] = "2025-01-01T00:00:00Z"
    again, state, _ = run(api, state, pages=1)
    rest, _, _ = run(api, state)
    assert (again, rest) == ({5, 6, 7}, {8, 9, 10, 11})


@pytest.mark.parametrize("kind", ["offset", "cursor"])
@given(
    minutes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    kills=st.lists(st.integers(1, 5), max_size=6),
)
@example(minutes=list(range(20)), kills=[2, 2, 1])
def test_passes_that_begin_again_at_each_kill_lose_nothing(
    kind: str, minutes: list[int], kills: list[int]
) -> None:
    """Page tokens are of the list that was asked for: a later beginning has its own."""
    form = stream({**(OFFSET if kind == "offset" else CURSOR), "token_lives": "1h"}, order="asc")
    api, seen, state = Api(minutes, 100, form), set[int](), {}
    for number, pages in enumerate([*kills, None]):
        written, state, failure = run(api, state, pages=pages)
        assert failure is None
        seen |= written
        if state["resume"] and number % 2 == 0:
            state["resume"][0]["token_at"] = "2025-01-01T00:00:00Z"
        if state["last_success_ts"] is not None:
            break
    assert seen == {one["id"] for one in api.records}
