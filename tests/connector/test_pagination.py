"""One contract for all paginators, over an API in memory; then what each does in odd cases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.connector.exchange import Body, Headers, Page, Request, Response
from tap_saas.connector.links import links, without_params
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.pagination import Offset, Pagination
from tap_saas.connector.paginator import FirstPage, Paginator
from tap_saas.errors import ApiError, PageTokenExpiredError

URL = "https://api.acme.example/v1/orders"
NOW = datetime(2025, 1, 1, tzinfo=UTC)
SIZE = {"send": "param:limit", "value": 5}
MOST_PAGES = 500
Records = list[dict[str, Any]]


class Api:
    """A list that can be walked in every way; `cap` is the largest page that it gives."""

    def __init__(
        self,
        records: Records,
        *,
        cap: int = 1000,
        limit: int = 5,
        first: int = 1,
        gaps: bool = False,
    ) -> None:
        self.records = records
        self.cap, self.limit, self.first, self.gaps = cap, limit, first, gaps
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        asked = dict(parse_qsl(urlsplit(request.url).query)) | dict(request.params)
        asked |= {name.removeprefix("X-").lower(): value for name, value in request.headers}
        asked |= request.body.value if request.body else {}
        limit = min(int(asked.get("limit", self.limit)), self.cap)
        records, start = self.records, 0
        if "after" in asked:
            records = [one for one in records if one["by"] > int(asked["after"])]
        elif "before" in asked:
            records = [one for one in records if one["by"] < int(asked["before"])]
        elif "from" in asked:
            records = [one for one in records if one["by"] >= int(asked["from"])]
        if "page" in asked:
            start = (int(asked["page"]) - self.first) * limit
        elif "offset" in asked:
            start = int(asked["offset"]) - self.first
        elif "cursor" in asked:
            start = int(str(asked["cursor"]).removeprefix("c"))
        elif "skip" in asked:
            start = int(asked["skip"])
        return self._page(records, start, limit)

    def _page(self, records: Records, start: int, limit: int) -> Response:
        shown = records[start : start + limit]
        after = start + limit
        if self.gaps:  # every other page is an empty one
            shown, after = records[start // 2 : (start + 1) // 2], start + 1
        is_last = after >= (2 * len(records) if self.gaps else len(records))
        body = {
            "data": shown,
            "next": None if is_last else f"c{after}",
            "link": None if is_last else f"?{urlencode({'cursor': f'c{after}', 'limit': limit})}",
            "more": not is_last,
            "total": len(self.records),
            "pages": -(-len(self.records) // limit),
        }
        headers = {"X-Total": str(len(self.records)), "X-Next": "" if is_last else f"c{after}"}
        if not is_last:
            headers["Link"] = f'<{URL}>; rel="first", <{URL}{body["link"]}>; rel="next last"'
        return answered(json.dumps(body), headers)


def answered(body: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        status=200, headers=Headers(headers or {}), body=body.encode(), url=URL, received_at=NOW
    )


def made(**options: Any) -> Paginator:
    return msgspec.convert(options, Pagination, dec_hook=decode_notation)  # type: ignore[no-any-return]


def pages(
    paginator: Paginator, api: Callable[[Request], Response], token: Any = None
) -> Iterator[Page]:
    first: FirstPage | None = None
    number = 0
    while True:
        number += 1
        assert number < MOST_PAGES
        response = api(paginator.apply(Request(url=URL), token))
        records = json.loads(response.body)["data"]
        page = Page(
            number=number, token=token, response=response, records=records, received=len(records)
        )
        first = first or FirstPage(page.received)
        page = msgspec.structs.replace(page, next_token=paginator.next_token(page, first))
        yield page
        if page.next_token is None:
            return
        token = json.loads(json.dumps(page.next_token))


def rows(n: int, same: int = 1) -> Records:
    """Sorted records; `same` of them at a time share the value of `by`."""
    return [{"id": number, "by": 10 + number // same} for number in range(n)]


EXACT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "page": ({"type": "page"}, {}),
    "page-short": ({"type": "page", "stop": ["empty", "short"]}, {}),
    "page-from-0": ({"type": "page", "first": 0, "send": "body:$.page"}, {"first": 0}),
    "page-pages": ({"type": "page", "pages": "$.pages", "stop": []}, {}),
    "page-total": ({"type": "page", "total": "header:X-Total", "stop": []}, {}),
    "page-more": ({"type": "page", "more": "$.more"}, {}),
    "offset": ({"type": "offset"}, {"first": 0}),
    "offset-from-1": ({"type": "offset", "first": 1}, {}),
    "offset-short": ({"type": "offset", "stop": ["short"]}, {"first": 0}),
    "offset-total": ({"type": "offset", "total": "$.total"}, {"first": 0}),
    "cursor": ({"type": "cursor", "next": "$.next", "send": "param:cursor"}, {}),
    "cursor-body": ({"type": "cursor", "next": "next", "send": "body:cursor"}, {}),
    "cursor-header": ({"type": "cursor", "next": "header:X-Next", "send": "header:X-Cursor"}, {}),
    "cursor-first": ({"type": "cursor", "next": "next", "send": "param:cursor", "first": "c0"}, {}),
    "cursor-total": (
        {"type": "cursor", "next": "next", "send": "param:cursor", "total": "total"},
        {},
    ),
    "cursor-empty-pages": (
        {"type": "cursor", "next": "next", "send": "param:cursor", "stop": []},
        {"gaps": True},
    ),
    "next_url": ({"type": "next_url", "next": "$.link"}, {}),
    "next_url-total": ({"type": "next_url", "next": "$.link", "total": "total"}, {}),
    "link_header": ({"type": "link_header"}, {}),
    "seek": ({"type": "seek", "field": "by", "send": "param:after"}, {}),
    "seek-more": ({"type": "seek", "field": "$.by", "send": "body:after", "more": "more"}, {}),
}


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=30)
@given(n=st.integers(0, 30), limit=st.integers(1, 9), cap=st.integers(1, 9))
@example(n=10, limit=5, cap=9)
@example(n=10, limit=5, cap=2)
def test_walk_gives_all_once_in_order_and_resumes(name: str, n: int, limit: int, cap: int) -> None:
    options, server = EXACT[name]
    api = Api(rows(n), cap=cap, **server)
    paginator = made(**options, size={"send": "param:limit", "value": limit})
    seen = list(pages(paginator, api))
    read = once if paginator.overlapping else all_of
    assert read(seen) == api.records
    assert len(api.requests) <= 2 * n + 2
    for at, page in enumerate(seen):
        token = json.loads(json.dumps(page.token))
        assert read(list(pages(paginator, api, token))) == read(seen[at:])


@given(n=st.integers(0, 30))
def test_single_page_is_all(n: int) -> None:
    api = Api(rows(n))
    seen = list(pages(made(type="single", size={"send": "param:limit", "value": 50}), api))
    assert [page.records for page in seen] == [api.records]


TIED: dict[str, dict[str, Any]] = {
    "inclusive": {"field": "by", "send": "param:from", "inclusive": True},
    "inclusive-pair": {"field": ["by", "$.id"], "send": "param:from", "inclusive": True},
    "pair": {"field": ["by", "id"], "send": "param:after"},
}


@pytest.mark.parametrize("name", TIED)
@settings(max_examples=60)
@given(
    n=st.integers(0, 30), same=st.integers(1, 30), limit=st.integers(1, 9), cap=st.integers(1, 12)
)
@example(n=1, same=1, limit=5, cap=9)
@example(n=5, same=5, limit=5, cap=9)
@example(n=10, same=5, limit=5, cap=9)
@example(n=11, same=30, limit=5, cap=9)
def test_tied_records_are_all_read_with_an_offset(
    name: str, n: int, same: int, limit: int, cap: int
) -> None:
    unique = name == "inclusive"
    api = Api(rows(n, 1 if unique else same), cap=cap)
    size = {"send": "param:limit", "value": limit}
    paginator = made(type="seek", **TIED[name], size=size, offset="param:skip")
    seen = list(pages(paginator, api))
    assert once(seen) == api.records
    assert len(api.requests) <= 2 * n + 3
    assert all(one.token != other.token for one, other in pairwise(seen))
    for page in seen:
        token = json.loads(json.dumps(page.token))
        tail = [one for later in seen[seen.index(page) :] for one in later.records]
        resumed = [one for later in pages(paginator, api, token) for one in later.records]
        assert resumed == tail


def all_of(seen: list[Page]) -> Records:
    """All records, as often as they were seen."""
    return [one for page in seen for one in page.records]


def once(seen: list[Page]) -> Records:
    """The records in the order in which each was first seen."""
    return list({one["id"]: one for page in seen for one in page.records}.values())


@pytest.mark.parametrize("name", TIED)
@settings(max_examples=60)
@given(
    n=st.integers(0, 40), same=st.integers(1, 40), limit=st.integers(1, 9), cap=st.integers(9, 60)
)
def test_tied_records_are_never_left_out_without_an_offset(
    name: str, n: int, same: int, limit: int, cap: int
) -> None:
    api = Api(rows(n, 1 if name == "inclusive" else same), cap=cap)
    size = {"send": "param:limit", "value": limit}
    paginator = made(type="seek", **TIED[name], size=size)
    seen, failure = attempted(paginator, api)
    assert failure is None or "records and maybe more have the value" in failure
    assert failure is not None or once(seen) == api.records


def attempted(paginator: Paginator, api: Api) -> tuple[list[Page], str | None]:
    seen: list[Page] = []
    try:
        seen.extend(pages(paginator, api))
    except ApiError as error:
        return seen, str(error)
    return seen, None


@pytest.mark.parametrize("name", ["inclusive-pair", "pair"])
def test_larger_page_gets_past_many_of_one_value(name: str) -> None:
    api = Api([*rows(12, 12), {"id": 99, "by": 50}])
    seen = list(pages(made(type="seek", **TIED[name], size=SIZE), api))
    assert once(seen) == api.records
    assert max(page.received for page in seen) == 13


@pytest.mark.parametrize("name", ["inclusive-pair", "pair"])
def test_page_of_one_value_fails_where_nothing_gets_past_it(name: str) -> None:
    api = Api(rows(12, 12), cap=5)
    with pytest.raises(ApiError, match="5 records and maybe more have the value 10") as raised:
        list(pages(made(type="seek", **TIED[name], size=SIZE), api))
    assert "; say pagination.offset, or a larger size" in str(raised.value)
    assert len(api.requests) <= 3


def test_descending_list_is_walked_backwards() -> None:
    api = Api(rows(12)[::-1])
    options = {"type": "seek", "field": "by", "send": "param:before", "order": "desc"}
    assert once(list(pages(made(**options, size=SIZE), api))) == api.records


# A page's value as it is sent


def sent(record: Any, **options: Any) -> Any:
    paginator = made(type="seek", send="param:after", field="at", **options)
    page = Page(
        number=1, token=None, response=answered("{}"), records=[{"id": 1}, record], received=2
    )
    return paginator.next_token(page, FirstPage(2))


@pytest.mark.parametrize(
    ("options", "value", "expected"),
    [
        ({}, "a1", "a1"),
        ({}, 7, 7),
        ({}, 1.5, 1.5),
        ({"format": "epoch_s"}, "2025-01-01T00:00:00Z", 1735689600),
        ({"format": "epoch_s"}, "2025-01-01T00:00:00.5Z", 1735689600),
        ({"format": "epoch_s", "order": "desc"}, "2025-01-01T00:00:00.5Z", 1735689601),
        ({"format": "epoch_s", "order": "desc"}, "2025-01-01T00:00:00Z", 1735689600),
        ({"format": "date", "order": "desc"}, "2025-01-01T00:00:01Z", "2025-01-02"),
        ({"format": "%Y-%m-%d %H:%M@Asia/Tokyo"}, "2025-01-01T00:00:00", "2025-01-01 00:00"),
        ({"format": "epoch_ms"}, 1735689600123, 1735689600123),
    ],
)
def test_last_value_is_sent_in_the_format(options: Any, value: Any, expected: Any) -> None:
    assert sent({"at": value}, **options) == expected


def test_decimal_is_sent_without_losing_a_digit() -> None:
    decimals = msgspec.json.Decoder(float_hook=Decimal)
    assert sent(decimals.decode(b'{"at": 1503435956.000247}')) == 1503435956.000247
    assert sent(decimals.decode(b'{"at": 3.0}')) == 3
    assert sent(decimals.decode(b'{"at": 1.00000000000000000001}')) == "1.00000000000000000001"


def test_struct_of_the_fast_lane_gives_its_value() -> None:
    kind = msgspec.defstruct("Record", [("f0", int), ("f1", str)], rename={"f0": "id", "f1": "at"})
    assert sent(kind(f0=1, f1="x")) == "x"


@pytest.mark.parametrize("record", [{}, {"at": None}, {"at": {"x": 1}}, {"at": True}])
def test_record_without_the_field_stops_the_walk(record: Any) -> None:
    with pytest.raises(
        ApiError, match=r"the last record has .* at \$\.at, so the next page cannot"
    ):
        sent(record)


def test_value_that_is_no_instant_stops_the_walk() -> None:
    with pytest.raises(ApiError, match=r"last record's \$\.at cannot be sent as epoch_s"):
        sent({"at": "soon"}, format="epoch_s")


# Ends and failures


def one_page(paginator: Paginator, body: dict[str, Any], **more: Any) -> Any:
    response = answered(json.dumps(body), more.pop("headers", None))
    records = body.get("data", [{"id": 1}])
    page = Page(
        number=2, token=more.get("token"), response=response, records=records, received=len(records)
    )
    return paginator.next_token(page, FirstPage(more.get("first", len(records))))


CURSOR = {"type": "cursor", "next": "next", "send": "param:cursor"}


@pytest.mark.parametrize("nothing", [None, "", False, 0])
def test_empty_cursor_is_the_end(nothing: Any) -> None:
    assert one_page(made(**CURSOR), {"next": nothing}) is None
    assert one_page(made(**CURSOR), {}) is None


def test_cursor_may_be_any_json_value() -> None:
    assert one_page(made(**CURSOR), {"next": {"id": [1]}}) == {"id": [1]}


def test_empty_page_ends_a_cursor_unless_stop_says_otherwise() -> None:
    assert one_page(made(**CURSOR), {"next": "a", "data": []}) is None
    assert one_page(made(**CURSOR, stop=[]), {"next": "a", "data": []}) == "a"


def test_short_page_is_measured_by_the_first_one() -> None:
    paginator = made(type="page", stop=["empty", "short"], size=500)
    assert one_page(paginator, {"data": [{}] * 100}, token=2, first=100) == 3
    assert one_page(paginator, {"data": [{}] * 99}, token=3, first=100) is None


def test_total_that_is_not_told_ends_nothing() -> None:
    paginator = made(type="page", total="total")
    assert one_page(paginator, {"total": None}) == [2, 1, 1]
    assert one_page(paginator, {"total": -1}) == [2, 1, 1]
    assert one_page(paginator, {"total": 1}) is None
    assert one_page(paginator, {"total": 2}, token=[2, 1, 1]) is None


def test_total_that_is_no_number_fails() -> None:
    with pytest.raises(ApiError, match=r"\$\.total is 'many', not a number"):
        one_page(made(type="page", total="total"), {"total": "many"})


@pytest.mark.parametrize("kind", [CURSOR, {"type": "single"}, {"type": "next_url", "next": "next"}])
def test_more_without_a_next_page_fails(kind: Any) -> None:
    paginator = made(**kind, more="more")
    assert one_page(paginator, {"more": False}) is None
    with pytest.raises(ApiError, match="says that there is more, but gives no next page"):
        one_page(paginator, {"more": True})


def test_incomplete_list_fails() -> None:
    paginator = made(**CURSOR, incomplete="$.partial == true")
    assert one_page(paginator, {"partial": False}) is None
    with pytest.raises(ApiError, match="this list is incomplete; narrow the request"):
        one_page(paginator, {"partial": True})


@pytest.mark.parametrize(
    ("options", "token"),
    [
        ({"type": "page"}, "c1"),
        ({"type": "offset"}, [1, 2]),
        ({"type": "page", "total": "total"}, 3),
        ({"type": "next_url", "next": "next"}, 3),
        ({"type": "link_header"}, {}),
        ({"type": "seek", "field": "id", "send": "param:after"}, ["a", 1, 0]),
        ({"type": "seek", "field": ["at", "id"], "send": "param:after", "size": 5}, "a"),
    ],
)
def test_token_of_another_pagination_is_as_expired(options: Any, token: Any) -> None:
    with pytest.raises(PageTokenExpiredError, match="is of another kind of pagination"):
        made(**options).apply(Request(url=URL), token)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"type": "page", "stop": []}, "nothing ends this list; leave out `stop`"),
        ({"type": "seek", "field": ["a", "b"], "send": "param:x"}, "this list needs `offset`"),
        ({"type": "seek", "field": ["a", "b", "c"], "send": "param:x"}, r"`field` is one field"),
        ({"type": "cursor", "next": "param:x", "send": "param:x"}, "cannot be used here"),
        ({"type": "cursor", "next": "x", "send": "status"}, "cannot be used here"),
        ({"type": "offset", "size": 0}, ">= 1"),
        ({"type": "cursor"}, "missing required field"),
        ({"type": "page", "overlap": 1}, "unknown field"),
    ],
)
def test_wrong_options_are_refused(options: Any, line: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=line):
        made(**options)


def test_frozen_paginator_says_that_its_cursor_works_once() -> None:
    assert made(**CURSOR, once=True).is_consuming
    assert not made(**CURSOR).is_consuming


# Links


def test_link_is_used_as_it_is() -> None:
    paginator = made(type="next_url", next="next", size={"send": "param:limit", "value": 5})
    request = Request(
        url=URL, params=(("sort", "id"),), headers=(("A", "b"),), body=Body("json", {})
    )
    first = paginator.apply(request, None)
    assert first.params == (("sort", "id"), ("limit", "5"))
    link = "https://other.example/p?cursor=a%2Fb&limit=5"
    following = paginator.apply(request, link)
    assert following == msgspec.structs.replace(request, url=link, params=())


def test_size_in_a_header_goes_with_each_link() -> None:
    paginator = made(type="link_header", size={"send": "header:X-Limit", "value": 5})
    assert paginator.apply(Request(url=URL), "https://x.example/").headers == (("X-Limit", "5"),)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("/v2/x?p=2", "https://api.acme.example/v2/x?p=2"),
        ("?p=2", f"{URL}?p=2"),
        ("https://b.example/x", "https://b.example/x"),
    ],
)
def test_relative_link_starts_at_its_page(link: str, url: str) -> None:
    assert one_page(made(type="next_url", next="next"), {"next": link}) == url
    header = {"Link": f"<{link}>; rel=next"}
    assert one_page(made(type="link_header"), {}, headers=header) == url


def test_link_that_is_no_text_fails() -> None:
    with pytest.raises(ApiError, match=r"the next link at \$\.next is 3, not a URL"):
        one_page(made(type="next_url", next="next"), {"next": 3})


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ("<a>; rel=next", [("a", ["next"])]),
        ('<a,b;c>; rel="next last"; title="x, <y>; rel=prev"', [("a,b;c", ["next", "last"])]),
        ('<a>; rel="prev", <b>;rel=NEXT ,<c>', [("a", ["prev"]), ("b", ["next"]), ("c", [])]),
        ("<a>; rel=next; rel=prev", [("a", ["next"])]),
        ('<a> ; anchor="#x\\"y" ; rel = "next"', [("a", ["next"])]),
        ("nonsense", []),
    ],
)
def test_link_header_is_read_as_rfc_8288_says(header: str, found: Any) -> None:
    assert list(links(header)) == found


def test_credential_leaves_a_link_and_the_rest_stays() -> None:
    link = "https://a.example/x?cursor=a%2Fb&api_key=secret&empty=#f"
    assert without_params(link, lambda name, _: name == "api_key") == (
        "https://a.example/x?cursor=a%2Fb&empty=#f"
    )
    assert without_params(link, lambda name, _: name == "key") == link


@given(st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)))
def test_descending_value_is_never_sent_earlier_than_it_is(instant: datetime) -> None:
    value = instant.isoformat() + "Z"
    for name in ("epoch_s", "epoch_ms", "%Y-%m-%d %H:%M"):
        paginator = made(
            type="seek", send="param:before", field="at", format=name, order="desc", more="more"
        )
        token = one_page(paginator, {"data": [{"at": value}], "more": True})
        back = paginator.format.read(token)  # type: ignore[attr-defined]
        assert instant <= back.replace(tzinfo=None) < instant + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "overlap"),
    [({}, 1), ({"size": 1}, 0), ({"size": 2}, 1), ({"overlap": 0}, 0), ({"overlap": 7}, 7)],
)
def test_offset_pages_overlap_unless_that_would_never_end(options: Any, overlap: int) -> None:
    offset = made(type="offset", **options)
    assert isinstance(offset, Offset)
    assert offset.overlapping == overlap
