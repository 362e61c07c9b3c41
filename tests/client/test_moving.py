"""Lists that change while they are walked: no untouched record is lost, requests stay bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from clients import stream
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.client.client import Where
from tap_saas.client.moving import MAX_BACKS, Counted, Totals
from tap_saas.client.steps import Steps
from tap_saas.connector.exchange import Headers, Page, Request, Response
from tap_saas.connector.model import Stream
from tap_saas.errors import ApiError, PageTokenExpiredError

URL = "http://api/orders"
NOW = datetime(2025, 1, 1, tzinfo=UTC)
MOST = 2_000
Change = tuple[str, int]
SORTS: dict[str, Callable[[dict[str, int]], tuple[int, int]]] = {
    "id": lambda one: (one["id"], 0),
    "updated": lambda one: (one["updated"], one["id"]),
    "-updated": lambda one: (-one["updated"], -one["id"]),
    "-created": lambda one: (-one["id"], 0),
}


class Server:
    """A list in one order; before each answer the next of `changes` happen."""

    def __init__(self, n: int, sort: str, size: int, changes: list[list[Change]]) -> None:
        self.records = {one: {"id": one, "updated": one} for one in range(1, n + 1)}
        self.clock = n
        self.sort, self.size, self.changes = sort, size, list(changes)
        self.untouched = set(self.records)
        self.requests = 0

    def change(self, what: str, at: int) -> None:
        """Insert a record, or update or delete one that is there."""
        self.clock += 1
        ids = sorted(self.records)
        if what == "insert":
            self.records[self.clock] = {"id": self.clock, "updated": self.clock}
        elif ids:
            chosen = ids[at % len(ids)]
            self.untouched.discard(chosen)
            if what == "update":
                self.records[chosen] = {"id": chosen, "updated": self.clock}
            else:
                del self.records[chosen]

    def answer(self, request: Request) -> Response:
        """The page that is asked for, by whichever parameter."""
        self.requests += 1
        assert self.requests < MOST
        for change in self.changes.pop(0) if self.changes else ():
            self.change(*change)
        asked = dict(parse_qsl(urlsplit(request.url).query)) | dict(request.params)
        order = SORTS[self.sort]
        found = sorted(self.records.values(), key=order)
        if "page" in asked:
            start = (int(asked["page"]) - 1) * self.size
        elif "offset" in asked:
            start = int(asked["offset"])
        else:
            start = 0
            if "cursor" in asked:
                place = tuple(map(int, asked["cursor"].split(",")))
                found = [one for one in found if order(one) > place]
            elif "after" in asked:
                name = self.sort.removeprefix("-").replace("created", "id")
                is_down = self.sort.startswith("-")
                after = int(asked["after"])
                found = [one for one in found if (one[name] < after) == is_down]
                found = [one for one in found if one[name] != after]
        shown = found[start : start + self.size]
        is_last = start + self.size >= len(found)
        cursor = None if is_last or not shown else "{},{}".format(*order(shown[-1]))
        body = {
            "data": shown,
            "next": cursor,
            "link": cursor and f"{URL}?cursor={cursor}",
            "total": len(self.records),
        }
        links = {"Link": f'<{body["link"]}>; rel="next"'} if cursor else {}
        return Response(
            status=200, headers=Headers(links), body=json.dumps(body).encode(), url=URL,
            received_at=NOW + timedelta(seconds=self.requests),
        )  # fmt: skip


class Reader:
    """Walks a server's list; `told` is what the report would say."""

    def __init__(
        self, server: Server, form: Stream, token: Any = None, *, full: bool = False
    ) -> None:
        self.server, self.form = server, form
        self.told: list[str] = []
        where = Where(stream="orders")
        if form.pagination.is_counted:
            self.steps: Steps = Counted(
                form, token, where, rereads_head=full, tell=self.told.append
            )
        else:
            self.steps = Steps(form, token, where)

    def fetch(self, token: Any) -> Page:
        """A page as the server has it now."""
        response = self.server.answer(self.form.pagination.apply(Request(url=URL), token))
        records = json.loads(response.body)["data"]
        return Page(number=0, token=token, response=response, records=records,
                    received=len(records))  # fmt: skip

    def pages(self, ahead: int = 0) -> Iterator[Page]:
        """The pages of the walk; up to `ahead` are fetched before the one that is given."""
        early: list[Page] = []
        while self.steps.spot is not None:
            self.steps.admit(self.steps.spot)
            token = self.steps.spot.token
            fetched = early.pop(0) if early and early[0].token == token else self.fetch(token)
            page = self.steps.take(fetched)
            if page is None:
                early.clear()
                continue
            wanted = list(islice(self.steps.ahead(fetched), ahead))
            known = [one for one, token in zip(early, wanted, strict=False) if one.token == token]
            later = [self.fetch(token) for token in reversed(wanted[len(known) :])]
            early = known + later[::-1]
            yield page


def listed(sort: str, **pagination: Any) -> Stream:
    """A stream of such a list, as a connector's author would write it."""
    order = {"updated": "asc", "-updated": "desc"}.get(sort, "none")
    key = {"key": {"field": "updated"}, "format": "counter", "filter": "client", "order": order}
    more = {"incremental": key} if "updated" in sort else {}
    return stream(primary_key=["id"], pagination=pagination, **more)


def ids(pages: list[Page]) -> set[int]:
    return {record["id"] for page in pages for record in page.records}


SAME = "the page is the same as the one before: the list never ends"
"""As many records as a page has came before it: that looks like a parameter that is ignored."""
LOST = "the list moves while it is read: no place of it was found again in 3 restarts"


def attempted(reader: Reader, ahead: int = 0) -> tuple[set[int], str]:
    """The ids that a walk gave, and how it failed."""
    pages: list[Page] = []
    try:
        pages.extend(reader.pages(ahead))
    except ApiError as error:
        return ids(pages), error.what
    return ids(pages), ""


def n_changes(changes: list[list[Change]]) -> int:
    """How many there are."""
    return sum(map(len, changes))


BETWEEN = st.lists(
    st.tuples(st.sampled_from(["delete", "delete", "update", "insert"]), st.integers(0, 9)),
    max_size=12,
)
"""What happens while nobody reads: mostly deletes near the beginning of the list."""
LEFT = st.lists(st.tuples(BETWEEN, st.integers(0, 9)), max_size=3)
CHANGES = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["insert", "update", "delete"]), st.integers(0, 99)), max_size=4
    ),
    max_size=25,
)
SPARSE = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["insert", "update", "delete"]), st.integers(0, 99)), max_size=1
    ),
    max_size=25,
)
KINDS: dict[str, dict[str, Any]] = {
    "cursor": {"type": "cursor", "next": "next", "send": "param:cursor"},
    "cursor-total": {
        "type": "cursor", "next": "next", "send": "param:cursor", "total": "total",
    },
    "next_url": {"type": "next_url", "next": "link"},
    "link_header": {"type": "link_header"},
}  # fmt: skip
N = st.integers(0, 30)
ORDERS = st.sampled_from(sorted(SORTS))
SIZES = st.integers(3, 6)


@pytest.mark.parametrize("kind", KINDS)
@given(n=N, sort=ORDERS, size=SIZES, changes=CHANGES)
@example(n=6, sort="id", size=2, changes=[[], [("delete", 0), ("delete", 0)]])
def test_named_pages_lose_nothing(
    kind: str, n: int, sort: str, size: int, changes: list[list[Change]]
) -> None:
    server = Server(n, sort, size, changes)
    pages = list(Reader(server, listed(sort, **KINDS[kind], size=size)).pages())
    assert server.untouched <= ids(pages)
    assert server.requests <= 2 + (n + server.clock - n) // size + len(changes)


@given(n=N, sort=ORDERS, size=SIZES, changes=CHANGES)
def test_seek_loses_nothing(n: int, sort: str, size: int, changes: list[list[Change]]) -> None:
    field = "updated" if "updated" in sort else "id"
    server = Server(n, sort, size, changes)
    form = listed(sort, type="seek", field=field, send="param:after")
    pages = list(Reader(server, form).pages())
    assert server.untouched <= ids(pages)
    assert server.requests <= 2 + server.clock // size + len(changes)


@pytest.mark.parametrize("total", [False, True])
@settings(max_examples=300)
@example(
    n=12, sort="id", size=3, overlap=1, ahead=0,
    changes=[[], [], [], [("delete", 0)] * 8],
)  # fmt: skip
@given(
    n=N, sort=ORDERS, size=SIZES, overlap=st.integers(1, 2), ahead=st.integers(0, 3),
    changes=CHANGES | SPARSE,
)  # fmt: skip
def test_offsets_lose_nothing_or_fail(
    total: bool, n: int, sort: str, size: int, overlap: int, ahead: int,
    changes: list[list[Change]],
) -> None:  # fmt: skip
    server = Server(n, sort, size, changes)
    more = {"total": "total", "parallel": 4} if total else {}
    form = listed(sort, type="offset", overlap=overlap, size=size, **more)
    seen, failure = attempted(Reader(server, form), ahead)
    assert failure in ("", SAME, LOST)
    assert failure or server.untouched <= seen
    # A page that is kept brings a new record, or the list ends; it takes at most so many tries.
    assert server.requests <= (n + n_changes(changes) + 2) * (1 + MAX_BACKS) * (1 + ahead)


@given(n=N, sort=ORDERS, size=SIZES, changes=SPARSE)
def test_a_list_that_moves_slowly_is_read_to_its_end(
    n: int, sort: str, size: int, changes: list[list[Change]]
) -> None:
    """One change every third request is no reason to fail."""
    slow = [one for change in changes for one in (change, [], [])]
    server = Server(n, sort, size, slow)
    pages = list(Reader(server, listed(sort, type="offset", size=size)).pages())
    assert server.untouched <= ids(pages)


def test_a_list_that_moves_with_every_request_fails_after_three_restarts() -> None:
    server = Server(200, "id", 4, [[]] * 6 + [[("delete", 0)] * 20] * 9)
    seen, failure = attempted(Reader(server, listed("id", type="offset", size=4)))
    assert failure == LOST
    assert seen == set(range(1, 20))  # six pages, each with a record of the one before
    assert server.requests == 6 + 1 + MAX_BACKS


@pytest.mark.parametrize(("sort", "at"), [("updated", 0), ("id", 29)])
def test_a_last_record_that_changes_all_the_time_does_not_keep_the_walk(sort: str, at: int) -> None:
    server = Server(30, sort, 5, [[("update", at)]] * 500)
    form = listed("updated", type="offset", size=5)
    seen, failure = attempted(Reader(server, form))
    assert failure == ""
    assert server.untouched <= seen
    assert server.requests < 30


@pytest.mark.parametrize("sort", ["id", "-created", "-updated"])
def test_a_list_that_moved_once_overlaps_more_from_then_on(sort: str) -> None:
    """One record goes with each request: pages that share two records go on without restarts."""
    server = Server(300, sort, 10, [[("delete", 0 if sort == "id" else -1)]] * 500)
    seen, failure = attempted(Reader(server, listed(sort, type="offset", size=10)))
    assert failure == ""
    assert server.untouched <= seen
    assert server.requests < 50


def test_a_list_that_stands_still_costs_one_overlap_a_page() -> None:
    server = Server(30, "id", 4, [])
    pages = list(Reader(server, listed("id", type="offset", size=4)).pages())
    assert [record["id"] for page in pages for record in page.records] == list(range(1, 31))
    assert server.requests == 10 + 1  # in steps of 3, and the last record alone
    assert not any(page.is_again for page in pages)


@given(n=N, size=SIZES, changes=LEFT, sort=ORDERS)
def test_a_resumed_offset_walk_finds_its_place_or_begins_again(
    n: int, size: int, sort: str, changes: list[tuple[list[Change], int]]
) -> None:
    server = Server(n, sort, size, [])
    form = listed(sort, type="offset", size=size)
    _resumed(server, form, changes)


@pytest.mark.parametrize("sort", ["id", "-created", "-updated"])
@given(n=N, size=SIZES, changes=LEFT)
@example(n=20, size=3, changes=[([], 3), ([("delete", 0)] * 7, 1)])
def test_a_resumed_page_walk_finds_its_place_or_begins_again(
    sort: str, n: int, size: int, changes: list[tuple[list[Change], int]]
) -> None:
    """What changes between the runs is noticed even where pages cannot overlap."""
    server = Server(n, sort, size, [])
    form = listed(sort, type="page", size=size)
    _resumed(server, form, changes)


def _resumed(server: Server, form: Stream, changes: list[tuple[list[Change], int]]) -> None:
    """A walk that is left several times; the list changes only meanwhile."""
    token, seen = None, set[int]()
    for between, pages in [*changes, ([], None)]:
        for change in between:
            server.change(*change)
        try:
            for page in islice(Reader(server, form, token).pages(), pages):
                seen |= ids([page])
                token = json.loads(json.dumps(page.next_token))
                if token is None:
                    assert server.untouched <= seen
                    return
        except PageTokenExpiredError:
            token = None
            seen.clear()
    seen |= ids(list(Reader(server, form).pages())) if token is None else set()
    assert server.untouched <= seen


LEFT_AGAIN = "left"


def in_runs(
    server: Server, form: Stream, left: list[tuple[list[Change], int]], ahead: int, *, full: bool
) -> tuple[set[int], list[str], str]:
    """The ids that a walk gave which was left several times, what was told, and how it failed.

    The list changes while it is read and between the runs.
    """
    token, seen, told = None, set[int](), list[str]()
    for between, pages in [*left, ([], None)]:
        for change in between:
            server.change(*change)
        reader = Reader(server, form, token, full=full)
        try:
            for page in islice(reader.pages(ahead), pages):
                seen |= ids([page])
                token = json.loads(json.dumps(page.next_token))
                if token is None:
                    return seen, told + reader.told, ""
        except PageTokenExpiredError:
            token = None
            seen.clear()
        except ApiError as error:
            return seen, told, error.what
        told += reader.told
    return seen, told, LEFT_AGAIN


@settings(max_examples=300)
@given(
    n=N, sort=ORDERS, size=SIZES, overlap=st.integers(1, 2), ahead=st.integers(0, 3), left=LEFT,
    changes=CHANGES | SPARSE, full=st.booleans(),
)  # fmt: skip
def test_offset_walks_that_are_left_while_the_list_moves_lose_nothing_or_fail(
    n: int, sort: str, size: int, overlap: int, ahead: int,
    left: list[tuple[list[Change], int]], changes: list[list[Change]], full: bool,
) -> None:  # fmt: skip
    server = Server(n, sort, size, changes)
    form = listed(sort, type="offset", overlap=overlap, size=size, total="total", parallel=4)
    seen, _, failure = in_runs(server, form, left, ahead, full=full)
    assert failure in ("", SAME, LOST, LEFT_AGAIN)
    assert failure or server.untouched <= seen


# Page numbers


@pytest.mark.parametrize("sort", ["id", "-created", "-updated"])
@given(n=N, size=SIZES, total=st.booleans(), changes=CHANGES)
def test_page_numbers_lose_nothing_where_nothing_is_deleted(
    sort: str, n: int, size: int, total: bool, changes: list[list[Change]]
) -> None:
    kept = [[one for one in several if one[0] != "delete"] for several in changes]
    server = Server(n, sort, size, kept)
    more = {"total": "total"} if total else {}
    reader = Reader(server, listed(sort, type="page", size=size, **more))
    seen, failure = attempted(reader)
    assert failure in ("", SAME)
    assert failure or server.untouched <= seen
    assert reader.told == []


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("sort", sorted(SORTS))
@given(n=N, size=SIZES, before=st.integers(0, 8), deleted=st.lists(st.integers(0, 99), max_size=9))
def test_pages_are_read_once_more_where_the_list_became_shorter(
    sort: str, ahead: int, n: int, size: int, before: int, deleted: list[int]
) -> None:
    changes = [*([[]] * before), [("delete", at) for at in deleted]]
    server = Server(n, sort, size, changes)
    form = listed(sort, type="page", size=size, total="total", parallel=4)
    reader = Reader(server, form)
    pages = list(reader.pages(ahead))
    assert server.untouched <= ids(pages)
    assert reader.told == []
    assert server.requests <= 2 * (n // size + 2 + ahead)


@pytest.mark.parametrize(
    ("told", "shrank", "grew"),
    [
        ([(9, 0), (9, 1)], False, False),
        ([(9, 0), (8, 1)], True, False),
        ([(9, 0), (10, 1)], False, False),
        ([(9, 0), (10, 2), (9, 1)], False, True),  # it was 9 before it was 10
        ([(9, 0), (9, 2), (10, 1)], True, False),  # it was 10 before it was 9
        ([(9, 0), (None, 1), (9, 2)], False, False),
    ],
)
def test_totals_are_judged_by_when_they_were_told(
    told: list[tuple[int | None, int]], shrank: bool, grew: bool
) -> None:
    """A later page that was answered before the list grew lacks what moved to it since."""
    for grows_at_head in (False, True):
        totals = Totals(None, grows_at_head=grows_at_head)
        for total, second in told:
            totals.note(total, NOW + timedelta(seconds=second))
        assert totals.shrank is (shrank or (grew and grows_at_head))


@pytest.mark.parametrize("sort", ["id", "-created", "-updated"])
@pytest.mark.parametrize("without", ["insert", "delete"])
@given(n=N, size=SIZES, ahead=st.integers(0, 3), left=LEFT, changes=CHANGES | SPARSE)
@example(n=7, size=3, ahead=2, left=[], changes=[[], [], [("update", 0)]])
@example(n=7, size=3, ahead=2, left=[], changes=[[], [], [("insert", 0)]])
def test_full_passes_of_pages_at_once_lose_nothing_or_tell(
    sort: str, without: str, n: int, size: int, ahead: int,
    left: list[tuple[list[Change], int]], changes: list[list[Change]],
) -> None:  # fmt: skip
    """Page numbers show a change by their `total`, or at the head: not one of each at once."""
    changes = [[one for one in several if one[0] != without] for several in changes]
    left = [([one for one in several if one[0] != without], pages) for several, pages in left]
    server = Server(n, sort, size, changes)
    form = listed(sort, type="page", size=size, total="total", parallel=4)
    seen, told, failure = in_runs(server, form, left, ahead, full=True)
    assert failure in ("", SAME, LOST, LEFT_AGAIN)
    assert failure or told or server.untouched <= seen
    listed_most = n + n_changes(changes) + sum(len(several) for several, _ in left)
    a_walk = (listed_most // size + 3) * (1 + ahead) + 2 * MAX_BACKS
    assert server.requests <= 3 * (1 + len(left)) * a_walk


def test_a_list_that_becomes_shorter_twice_is_told() -> None:
    server = Server(20, "id", 5, [[], [("delete", 0)], [], [], [], [("delete", 0)]])
    reader = Reader(server, listed("id", type="page", size=5, total="total"))
    list(reader.pages())
    assert reader.told == ["list_shrank"]
    assert server.requests == 8


def test_pages_at_once_of_a_list_that_only_grows_in_order_are_read_once() -> None:
    """New records at the head cost one more request, not the whole list again."""
    server = Server(30, "-created", 5, [*([[]] * 4), [("insert", 0)]])
    reader = Reader(
        server, listed("-created", type="page", size=5, total="total", parallel=4), full=True
    )
    pages = list(reader.pages(ahead=2))
    assert server.untouched <= ids(pages)
    assert server.requests <= 6 + 2


@given(n=N, size=SIZES, changes=CHANGES)
def test_a_full_pass_reads_what_moved_to_the_head(
    n: int, size: int, changes: list[list[Change]]
) -> None:
    """Newest first: whatever is there at the end was seen, updated or not, unless it is new."""
    kept = [[one for one in several if one[0] == "update"] for several in changes]
    kept = [several if at < 2 + n // size else [] for at, several in enumerate(kept)]
    server = Server(n, "-updated", size, kept[: max(n // size, 0)])
    seen, failure = attempted(Reader(server, listed("-updated", type="page", size=size), full=True))
    assert failure in ("", SAME)
    assert failure or seen == set(server.records)


def test_an_unmoved_head_costs_one_request_and_gives_no_page() -> None:
    server = Server(12, "-created", 5, [])
    pages = list(Reader(server, listed("-created", type="page", size=5), full=True).pages())
    assert [page.received for page in pages] == [5, 5, 2, 0]
    assert server.requests == 4 + 1  # the empty page, the head
    one = Server(3, "-created", 5, [])
    list(Reader(one, listed("-created", type="page", size=5, stop=["short"], total="total"),
                full=True).pages())  # fmt: skip
    assert one.requests == 1
