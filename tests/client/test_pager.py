"""Walks over a real server: every page once, one page ahead, and out of every circle."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import Message
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from clients import FAST, KEY, Asker, stream
from loopback import Answer, Seen, serve

from tap_saas.client import ahead, circles
from tap_saas.client.client import Where
from tap_saas.client.pager import RestartPass, SkipPartition, walk
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Page, Request
from tap_saas.connector.model import Stream
from tap_saas.errors import ApiError

CURSOR = {"type": "cursor", "next": "$.next", "send": "param:cursor"}
WHERE = Where(stream="orders", partition='{"region":"eu"}')


def asked(seen: Seen) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(seen.path).query))


def body(records: list[Any], **beside: Any) -> Answer:
    return Answer(body=json.dumps({"data": records, **beside}).encode())


def numbered(pages: int, size: int = 3) -> Callable[[Seen], Answer]:
    """A list of so many pages, walked by cursor."""

    def answer(seen: Seen) -> Answer:
        at = int(asked(seen).get("cursor", "0"))
        records = [{"id": at * size + n} for n in range(size)]
        return body(records, next=str(at + 1) if at + 1 < pages else None)

    return answer


def second_is(answer: Answer) -> Callable[[Seen], Answer]:
    """A list of nine pages with this answer instead of the second."""
    return lambda seen: answer if asked(seen).get("cursor") == "1" else numbered(9)(seen)


def orders(**keys: Any) -> Stream:
    return stream(**{"records": {"at": "$.data"}, "pagination": CURSOR, "retry": FAST, **keys})


def start(
    asker: Asker, form: Stream, *, token: Any = None, ahead_bytes: int = 10**6
) -> Iterator[Page]:
    return walk(
        asker.client,
        form,
        Request(url=f"{asker.url}/orders"),
        token=token,
        decode=lambda response: Decoded(read_records(form.records, response), "dict"),
        where=WHERE,
        ahead_bytes=ahead_bytes,
    )


def walked(
    answer: Callable[[Seen], Answer], form: Stream, *, seen: list[Page] | None = None, **more: Any
) -> list[Page]:
    """The pages of a whole walk; those before a failure are in `seen`."""
    pages = [] if seen is None else seen
    with serve(answer) as server, Asker(server.url) as asker:
        pages.extend(islice(start(asker, form, **more), 100))
    return pages


def ids(pages: list[Page]) -> list[int]:
    return [record["id"] for page in pages for record in page.records]


def pagers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pager"]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("ahead_bytes", [0, 10**6])
def test_walk_gives_every_page_in_order(ahead_bytes: int) -> None:
    pages = walked(numbered(5), orders(), ahead_bytes=ahead_bytes)
    assert ids(pages) == list(range(15))
    assert [page.number for page in pages] == [1, 2, 3, 4, 5]
    assert [page.token for page in pages] == [None, "1", "2", "3", "4"]
    assert [page.next_token for page in pages] == ["1", "2", "3", "4", None]
    assert {page.received for page in pages} == {3}
    assert pagers() == []


def test_resumed_walk_gives_the_same_tail() -> None:
    whole = walked(numbered(5), orders())
    for page in whole:
        token = json.loads(json.dumps(page.next_token))
        if token is not None:
            assert ids(walked(numbered(5), orders(), token=token)) == ids(whole[page.number :])


def test_next_page_is_fetched_while_the_caller_works() -> None:
    with serve(numbered(4)) as server, Asker(server.url) as asker:
        with closing(start(asker, orders())) as pages:  # type: ignore[type-var]
            next(pages)
            wait_until(lambda: len(server.seen) == 2)
            time.sleep(0.05)
            assert len(server.seen) == 2  # one page ahead, no more
            assert next(pages).number == 2
            wait_until(lambda: len(server.seen) == 3)
        assert pagers() == []


def test_page_larger_than_the_bound_is_fetched_only_when_asked_for() -> None:
    with serve(numbered(3)) as server, Asker(server.url) as asker:
        pages = start(asker, orders(), ahead_bytes=10)
        next(pages)
        time.sleep(0.05)
        assert len(server.seen) == 1
        assert len(list(pages)) == 2
        assert pagers() == []


def test_failure_comes_after_the_pages_before_it() -> None:
    def answer(seen: Seen) -> Answer:
        return Answer(status=418) if asked(seen).get("cursor") == "2" else numbered(9)(seen)

    seen: list[Page] = []
    with pytest.raises(ApiError, match=r"orders: partition .*: page 3: 418"):
        walked(answer, orders(), seen=seen)
    assert ids(seen) == list(range(6))
    assert pagers() == []


def test_closing_early_ends_the_thread() -> None:
    slow = Answer(body=b'{"data": [{"id": 1}], "next": "x"}', delay_s=0.2)
    with serve(second_is(slow)) as server, Asker(server.url) as asker:
        pages = start(asker, orders())
        next(pages)
        assert len(pagers()) == 1
        pages.close()  # type: ignore[attr-defined]
        assert pagers() == []
        assert len(server.seen) <= 2


def test_thread_that_waits_for_long_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "CLOSE_S", 0.05)
    slow = Answer(delay_s=0.6)
    with serve(second_is(slow)) as server, Asker(server.url) as asker:
        pages = start(asker, orders())
        next(pages)
        wait_until(lambda: len(server.seen) == 2)
        before = time.monotonic()
        pages.close()  # type: ignore[attr-defined]
        assert time.monotonic() - before < 0.4
        wait_until(lambda: not pagers())


# Circles


def test_cursor_that_comes_again_fails() -> None:
    def answer(seen: Seen) -> Answer:
        at = int(asked(seen).get("cursor", "0"))
        return body([{"id": at}], next=str(at % 3 + 1), at=time.monotonic_ns())

    seen: list[Page] = []
    with pytest.raises(ApiError) as raised:
        walked(answer, orders(), seen=seen)
    assert str(raised.value) == (
        'orders: partition {"region":"eu"}: page 5: '
        "the page token '1' comes again: the list never ends; check pagination of the stream"
    )
    assert ids(seen) == [0, 1, 2, 3]


def test_cursor_circle_is_noticed_beside_a_total() -> None:
    def answer(seen: Seen) -> Answer:
        return body([{"id": seen.at}], next="same", total=100)

    with pytest.raises(ApiError, match="'same' comes again"):
        walked(answer, orders(pagination={**CURSOR, "total": "total"}))


def test_ignored_page_number_fails_at_the_second_page() -> None:
    same = body([{"id": 1}, {"id": 2}])
    with pytest.raises(ApiError, match="page 2: the page is the same as the one before"):
        walked(lambda _: same, orders(pagination={"type": "page"}))


def test_equal_empty_pages_are_no_circle() -> None:
    def answer(seen: Seen) -> Answer:
        at = int(asked(seen)["page"])
        return body([{"id": 1}] if at == 4 else [], pages=4) if at < 5 else Answer(status=500)

    pages = walked(answer, orders(pagination={"type": "page", "pages": "pages", "stop": []}))
    assert ids(pages) == [1]
    assert len(pages) == 4


def test_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circles, "REMEMBERED", 10)
    guard = circles.Circles()
    for number in range(1000):
        guard.token(number, ApiError)
    assert len(guard._tokens) == len(guard._order) == 10
    with pytest.raises(ApiError, match="'995' comes again"):
        guard.token(995, ApiError)


def test_full_page_without_a_next_token_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tap_saas")
    sized = {**CURSOR, "size": {"send": "param:limit", "value": 3}}
    full = [{"id": 1}, {"id": 2}, {"id": 3}]
    walked(lambda _: body(full, next=None), orders(pagination=sized))
    assert caplog.records == []
    walked(lambda _: body(full), orders(pagination=sized))
    assert [record.getMessage() for record in caplog.records] == [
        "orders: page 1 is full (3 records) and names no next page; "
        "if the list goes on, check pagination of the stream"
    ]


def test_end_that_the_api_tells_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tap_saas")
    told = lambda _: body([{"id": 1}], more=False)  # noqa: E731
    walked(told, orders(pagination={**CURSOR, "size": 1, "more": "more"}))
    walked(numbered(2), orders(pagination={**CURSOR, "size": 4}))
    assert caplog.records == []


def test_paginator_says_where_it_cannot_go_on() -> None:
    wrong = orders(pagination={"type": "next_url", "next": "$.next"})
    with pytest.raises(ApiError, match=r"orders: .*page 1: the next link at \$\.next is 5"):
        walked(lambda _: body([{"id": 1}], next=5), wrong)


# Verdicts


def ruled(then: str, **more: Any) -> Stream:
    return orders(responses=[{"when": "$.stop == true", "then": then, **more}])


def test_done_ends_the_walk() -> None:
    assert ids(walked(second_is(body([], stop=True)), ruled("done"))) == [0, 1, 2]


def test_skip_is_raised_with_its_verdict() -> None:
    with pytest.raises(SkipPartition, match="status 200: gone") as raised:
        walked(second_is(body([], stop=True, why="gone")), ruled("skip", message="why"))
    assert raised.value.verdict.then == "skip"


def test_restart_is_raised() -> None:
    with pytest.raises(RestartPass, match="status 200"):
        walked(second_is(body([], stop=True)), ruled("restart"))


def test_broken_page_is_asked_for_again() -> None:
    broken = [Answer(body=b"<html>"), Answer(body=b'{"data": [')]
    pages = walked(lambda seen: broken.pop() if broken else numbered(2)(seen), orders())
    assert ids(pages) == list(range(6))


def test_page_without_its_list_fails_at_once() -> None:
    with serve(lambda _: Answer(body=b'{"items": []}')) as server, Asker(server.url) as asker:
        with pytest.raises(ApiError, match=r"page 1: no list at \$\.data; the body has: items"):
            list(start(asker, orders()))
        assert len(server.seen) == 1


# A cursor that works once


ONCE = {**CURSOR, "once": True}


def test_consuming_cursor_leaves_no_place_to_resume_at() -> None:
    pages = walked(numbered(3), orders(pagination=ONCE))
    assert ids(pages) == list(range(9))
    assert [page.next_token is None for page in pages] == [False, False, True]
    again = walked(numbered(3), orders(pagination=ONCE), token=pages[0].next_token)
    assert ids(again) == list(range(9))


def test_consuming_cursor_is_never_asked_for_twice() -> None:
    with serve(second_is(Answer(status=500))) as server, Asker(server.url) as asker:
        with pytest.raises(RestartPass, match="page 2: 500"):
            list(start(asker, orders(pagination=ONCE)))
        assert len(server.seen) == 2


def test_first_page_of_a_consuming_cursor_is_retried() -> None:
    failures = [Answer(status=500)]
    pages = walked(
        lambda seen: failures.pop() if failures else numbered(2)(seen), orders(pagination=ONCE)
    )
    assert ids(pages) == list(range(6))


def test_final_refusal_of_a_consuming_cursor_is_an_error() -> None:
    with pytest.raises(ApiError, match="page 2: 418"):
        walked(second_is(Answer(status=418)), orders(pagination=ONCE))


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_consuming_cursor_that_is_forgotten_restarts_the_pass(status: int) -> None:
    with pytest.raises(RestartPass, match=f"page 2: {status}"):
        walked(second_is(Answer(status=status)), orders(pagination=ONCE))


# Many pages at once


def counted(pages: int, size: int = 4, delay_s: float = 0.0) -> Callable[[Seen], Answer]:
    """A list of so many full pages, walked by page number or offset."""

    def answer(seen: Seen) -> Answer:
        at = asked(seen)
        start = int(at["offset"]) if "offset" in at else (int(at["page"]) - 1) * size
        records = [{"id": n} for n in range(start, min(start + size, pages * size))]
        shown = body(records, total=pages * size)
        return Answer(body=shown.body, delay_s=delay_s)

    return answer


AT_ONCE = {
    "page": {"type": "page", "total": "total", "size": 4},
    "offset": {"type": "offset", "total": "total", "size": 4, "overlap": 1},
    "offset-0": {"type": "offset", "total": "total", "size": 4, "overlap": 0},
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_pages_at_once_come_in_order_and_resume(kind: str) -> None:
    form = orders(primary_key=["id"], pagination={**AT_ONCE[kind], "parallel": 3})
    pages = walked(counted(6), form)
    assert ids(pages) == list(range(24))
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    token = json.loads(json.dumps(pages[2].next_token))
    rest = walked(counted(6), form, token=token)
    assert ids(rest) == ids(pages[3:])
    assert pagers() == []


@pytest.mark.parametrize("kind", AT_ONCE)
@pytest.mark.parametrize("width", [2, 4])
def test_as_many_pages_are_fetched_at_once_as_asked_for(kind: str, width: int) -> None:
    form = orders(primary_key=["id"], pagination={**AT_ONCE[kind], "parallel": width})
    with serve(counted(12, delay_s=0.05)) as server, Asker(server.url) as asker:
        with closing(start(asker, form)) as pages:  # type: ignore[type-var]
            next(pages)
            wait_until(lambda: len(server.seen) == 1 + width)
            time.sleep(0.1)
            assert len(server.seen) == 1 + width  # nobody takes them, so no more is fetched
            arrived = sorted(seen.at for seen in server.seen[1:])
            assert arrived[-1] - arrived[0] < 0.05  # at once, not one after the other
            next(pages)
            wait_until(lambda: len(server.seen) == 2 + width)
        assert pagers() == []


def test_pages_ahead_hold_no_more_bytes_than_allowed() -> None:
    form = orders(primary_key=["id"], pagination={**AT_ONCE["page"], "parallel": 8})
    with serve(counted(20)) as server, Asker(server.url) as asker:
        size = len(counted(20)(Seen("GET", "/x?page=9", Message(), b"", 0.0, 0)).body)
        with closing(start(asker, form, ahead_bytes=3 * size)) as pages:  # type: ignore[type-var]
            for taken in range(1, 10):
                next(pages)
                wait_until(lambda: len(server.seen) >= taken + 2)  # noqa: B023 - called at once
                time.sleep(0.01)
                assert len(server.seen) <= taken + 3


def test_pages_at_once_leave_out_what_a_shorter_list_has_not() -> None:
    """The total was told by the first page, and the list became shorter then."""
    taken = iter([30, 30, 30])

    def answer(seen: Seen) -> Answer:
        start, most = (int(asked(seen)["page"]) - 1) * 4, next(taken, 14)
        if start >= most:
            return Answer(status=404)
        return body([{"id": n} for n in range(start, min(start + 4, most))], total=most)

    form = orders(primary_key=["id"], pagination={**AT_ONCE["page"], "parallel": 2})
    assert set(ids(walked(answer, form))) == set(range(14))


@pytest.mark.parametrize("width", [2, 5])
def test_pages_ahead_of_a_list_that_moved_are_not_taken(width: int) -> None:
    """Twice as many records as a page has go from the beginning while it is read."""
    gone = iter([0] * 5)

    def answer(seen: Seen) -> Answer:
        removed = next(gone, 8)
        start = int(asked(seen)["offset"]) + removed
        return body([{"id": n} for n in range(start, min(start + 4, 40))], total=40 - removed)

    form = orders(primary_key=["id"], pagination={**AT_ONCE["offset"], "parallel": width})
    assert set(ids(walked(answer, form))) == set(range(40))


def test_failure_of_a_page_ahead_comes_in_its_turn() -> None:
    def answer(seen: Seen) -> Answer:
        return Answer(status=418) if asked(seen)["page"] == "4" else counted(6)(seen)

    seen: list[Page] = []
    form = orders(primary_key=["id"], pagination={**AT_ONCE["page"], "parallel": 4})
    with pytest.raises(ApiError, match="page 4: 418"):
        walked(answer, form, seen=seen)
    assert ids(seen) == list(range(12))
    assert pagers() == []


# Secrets


@pytest.mark.parametrize("select", [False, True])
def test_credential_in_a_link_is_not_kept(select: bool) -> None:
    key = {"type": "key", "send": "param:api_key", "value": "{api_key}"}
    auth = [{"type": "select", "by": "login", "of": {"key": [key]}}] if select else [key]

    def answer(seen: Seen) -> Answer:
        assert seen.path.count(KEY) == 1
        if "p" in asked(seen):
            return body([{"id": 2}], next=None)
        return body([{"id": 1}], next=f"/orders?p=2&api_key={KEY}")

    with serve(answer) as server, Asker(server.url, values={"login": "key"}) as asker:
        links = {"type": "next_url", "next": "next"}
        pages = list(start(asker, orders(pagination=links, auth=auth, base_url=server.url)))
        assert [page.next_token for page in pages] == [f"{server.url}/orders?p=2", None]
        assert ids(pages) == [1, 2]
