"""An API as a connector says it is, with so many records: it answers what the runtime asks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import UNSET

from tap_saas.authoring.explain.assumed import share
from tap_saas.authoring.explain.documents import Draft, put, sent
from tap_saas.client.client import Client, Outcome
from tap_saas.client.sender import Where
from tap_saas.client.walk_stop import WalkStop
from tap_saas.connector.decode import Decoded
from tap_saas.connector.exchange import Headers, Request, Response
from tap_saas.connector.incremental import Incremental, Interval, Key, instant_format
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.pagination import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Seek
from tap_saas.connector.paginator import Paginator, Size
from tap_saas.connector.place import TakenFrom
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.responses import Verdict

GRAIN = timedelta(seconds=1)
_LINK = TakenFrom.parse("header:Link")
_PLACE_OF_END = TakenFrom.parse("$.imagined_end")


class Lists(msgspec.Struct, frozen=True, kw_only=True):
    """What the walks of one stream in one pass find: `total` records, spread evenly.

    Over `lists` partitions, one after the other, and over the `windows` of each. `fresh` are the
    records newer than the watermark, where the lists hold older ones too (newest first).
    """

    total: int
    lists: int
    windows: Sequence[Interval]
    fresh: int | None = None

    def size(self, walk: int) -> int:
        """How many records the walk of this number finds."""
        at, window = divmod(walk, len(self.windows))
        return share(share(self.total, self.lists, at), len(self.windows), window)

    def fresh_of(self, walk: int) -> int:
        """How many of them are newer than the watermark."""
        if self.fresh is None:
            return self.size(walk)
        return min(self.size(walk), msgspec.structs.replace(self, total=self.fresh).size(walk))

    def before(self, walk: int) -> int:
        """How many records the walks before it have found."""
        at, window = divmod(walk, len(self.windows))
        inner = share(self.total, self.lists, at) * window // len(self.windows)
        return self.total * at // self.lists + inner

    def bounds(self, walk: int) -> Interval:
        """Between which replication keys they are."""
        return self.windows[walk % len(self.windows)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request that the runtime made, and which records of the list its page has."""

    stream: str
    page: int
    request: Request
    context: Mapping[str, Any]
    begins_at: int
    ends_at: int


class _Walk(msgspec.Struct):
    """A walk in progress: its number among those of its stream, and where its last page ended."""

    number: int
    end: int = 0


class ImaginedApi(Client):
    """A client that sends nothing; `asked` is what it was asked for.

    `lists` say by stream what there is. `fields` are the answer of the token endpoint.
    """

    def __init__(
        self, connector: Connector, lists: Mapping[str, Lists], now: datetime, page_size: int
    ) -> None:
        self.asked: list[Asked] = []
        self.fields: dict[str, Any] = {}
        self._lists, self._now, self._page_size = lists, now, page_size
        self._walks: dict[str, _Walk] = {}
        self._paths = {name: _paths(connector, stream) for name, stream in _named(connector)}

    def token(self, form: RequestForm | None = None, where: Where | None = None) -> dict[str, Any]:
        """What stands for the fields of a token's answer."""
        return self.fields

    def walk_stop(self) -> WalkStop:
        """Nothing waits here."""
        return WalkStop(threading.Event())

    def bears_secret(self, text: str) -> bool:
        """Nothing here is a secret."""
        return False

    def send(
        self,
        form: RequestForm | None,
        request: Request,
        *,
        where: Where,
        decode: Any = None,
        stop: Any = None,
    ) -> Outcome:
        """A page of the list that is asked for."""
        assert isinstance(form, Stream)
        paginator = form.pagination
        walk = self._walk(form.name, where.page or 1)
        lists = self._lists[form.name]
        total = lists.size(walk.number)
        begin = self._begin(paginator, request, walk)
        end = min(total, begin + self._size(paginator, request))
        self.asked.append(
            Asked(
                stream=form.name,
                page=where.page or 1,
                request=request,
                context=where.context,
                begins_at=begin,
                ends_at=end,
            )
        )
        walk.end = max(end, begin)
        records = [self._record(form, lists, walk.number, at) for at in range(begin, end)]
        answer = self._answer(form, request, walk.end, total)
        decoded = Decoded(records, "dict")
        return Outcome(response=answer, verdict=Verdict("ok"), decoded=decoded)

    def close(self) -> None:
        """There is nothing to close."""

    def _walk(self, stream: str, page: int) -> _Walk:
        walk = self._walks.get(stream)
        if walk is None or page == 1:
            walk = _Walk(0 if walk is None else walk.number + 1)
            self._walks[stream] = walk
        return walk

    def _size(self, paginator: Paginator, request: Request) -> int:
        if isinstance(paginator.size, Size):
            asked = sent(request, paginator.size.send)
            return paginator.size.value if asked is UNSET else int(asked)
        return paginator.expected or self._page_size

    def _begin(self, paginator: Paginator, request: Request, walk: _Walk) -> int:
        """Where the page begins: as the request says, else where the page before ended."""
        if isinstance(paginator, PageNumber):
            number = int(sent(request, paginator.send)) - paginator.first
            return number * self._size(paginator, request)
        if isinstance(paginator, Offset):
            return int(sent(request, paginator.send)) - paginator.first
        if isinstance(paginator, Seek) and walk.end:
            return walk.end - (paginator.inclusive or len(paginator.field.paths) > 1)
        return walk.end

    def _answer(self, form: Stream, request: Request, end: int, total: int) -> Response:
        paginator = form.pagination
        draft = Draft(
            Response(
                status=200, headers=Headers({}), body=b"{}", url=request.url, received_at=self._now
            )
        )
        is_last = end >= total
        draft.settle(paginator.more, not is_last)
        draft.settle(paginator.incomplete, False)
        if paginator.total is not None:
            draft.tell(paginator.total, total)
        if paginator.pages is not None:
            draft.tell(paginator.pages, -(-total // self._size(paginator, request)) or 1)
        self._tell_next(draft, paginator, request, None if is_last else end)
        token = form.incremental.sync_token if form.incremental else None
        if token is not None and is_last:
            draft.tell(token.token, f"SYNC_TOKEN_OF_{self._now:%Y%m%d%H%M%S}")
        # Pages are told apart by their bytes.
        draft.tell(_PLACE_OF_END, end)
        return draft.answer

    def _tell_next(
        self, draft: Draft, paginator: Paginator, request: Request, end: int | None
    ) -> None:
        """Where the next page is, in the way of the list; `end` is None for the last one."""
        if isinstance(paginator, Cursor):
            draft.tell(paginator.next, None if end is None else f"CURSOR_AFTER_{end}")
        elif isinstance(paginator, NextUrl | LinkHeader):
            link = None if end is None else _next_link(request, end)
            if isinstance(paginator, NextUrl):
                draft.tell(paginator.next, link)
            elif link is not None:
                draft.tell(_LINK, f'<{link}>; rel="{paginator.rel}"')

    def _record(self, form: Stream, lists: Lists, walk: int, at: int) -> dict[str, Any]:
        number = lists.before(walk) + at + 1
        record: Any = {}
        for path in self._paths[form.name]:
            record = put(record, path.steps, number)
        incremental = form.incremental
        if incremental is not None and incremental.field is not None:
            key = _key(incremental, lists, walk, at)
            record = put(record, incremental.field.steps, _written(incremental, key))
        return record  # type: ignore[no-any-return]


def _named(connector: Connector) -> list[tuple[str, Stream]]:
    return list(connector.streams.items())


def _paths(connector: Connector, stream: Stream) -> list[Path]:
    """The fields that the runtime asks of a record of this stream."""
    key = stream.primary_key
    paths = list(key if isinstance(key, list) else key.hash if key else [])
    for _, child in _named(connector):
        for parent in child.parents:
            if parent.stream == stream.name:
                paths += parent.values.values()
    if isinstance(stream.pagination, Seek):
        paths += stream.pagination.field.paths
    return paths


def _key(incremental: Incremental, lists: Lists, walk: int, at: int) -> Key:
    """The replication key of a record: evenly between the walk's bounds, newest at their end."""
    since, until = lists.bounds(walk)
    total = lists.size(walk)
    if incremental.order == "desc":
        at = total - 1 - at
    fresh = lists.fresh_of(walk)
    place = at - (total - fresh)  # below 0: older than the watermark
    if isinstance(since, datetime) and isinstance(until, datetime):
        if place < 0:
            return since + place * GRAIN
        return max(since, since + (until - since) * ((place + 1) / fresh) - GRAIN)
    if isinstance(since, str):
        return f"{lists.before(walk) + at + 1:012d}"
    return since + place + 1  # type: ignore[operator]


def _written(incremental: Incremental, key: Key) -> Any:
    """A key as records write it."""
    if isinstance(key, datetime):
        return instant_format(incremental.format, incremental.zone).write(key)
    return key


def _next_link(request: Request, end: int) -> str:
    """The link to the page that begins at record `end`, with all that this one was asked with."""
    address, _, query = request.url.partition("?")
    kept = [pair for pair in parse_qsl(query) if pair[0] != "next"]
    return f"{address}?{urlencode([*kept, *request.params, ('next', str(end))])}"
